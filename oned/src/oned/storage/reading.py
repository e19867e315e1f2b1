"""What is read of a database, through a connection of its own: tables, and records of the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oned.errors import DatabaseDamaged, DatabaseFailed, StorageError
from oned.raft.types import Configuration, Entry, Index, Term
from oned.state.entry import Row, Value
from oned.storage import records
from oned.storage.engine import Connection, DriverError, translated
from oned.storage.facts import Facts


class Reading:
    """The reading half of a store.

    Attributes:
        facts: what the server knows of itself.
        trouble: told of an error that a read came upon, by the thread that read.
    """

    facts: Facts
    trouble: Callable[[StorageError], object]
    _reader: Connection

    def rows(self, sql: str, parameters: tuple[Value, ...] = ()) -> list[Row]:
        """All rows of a SELECT on this server's tables, at its applied index."""
        return self._read(sql, parameters)

    def _read(self, sql: str, parameters: tuple[Value, ...] = ()) -> list[Any]:
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except DriverError as error:
            trouble = translated(error, "read the database")
            if isinstance(trouble, DatabaseFailed | DatabaseDamaged):
                self.trouble(trouble)
            raise trouble from error

    def _entry(self, where: str, *parameters: Value) -> Entry | None:
        """One stored entry.

        Raises:
            DatabaseDamaged: it is not what was written.
        """
        rows = self._read(f"SELECT {records.COLUMNS} FROM logdb {where}", parameters)  # noqa: S608
        return records.entry(rows[0]) if rows else None

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """Stored entries, at least one, no more than ``max_bytes`` after the first.

        Raises:
            DatabaseDamaged: one is missing, or not what was written.
        """
        found: list[Entry] = []
        size = 0
        try:
            cursor = self._reader.execute(
                f"SELECT {records.COLUMNS} FROM logdb"  # noqa: S608
                " WHERE log_index BETWEEN ? AND ? ORDER BY log_index",
                (first, last),
            )
            for entry in records.look_through(cursor, Index(first - 1)):
                size += len(entry.data)
                if found and size > max_bytes:
                    break
                found.append(entry)
            cursor.close()
        except DriverError as error:
            raise translated(error, "read the log") from error
        if not found:
            raise DatabaseDamaged(f"log entry {first} is missing")
        return found

    def term_at(self, index: Index) -> Term:
        """The term of a stored entry.

        Raises:
            DatabaseDamaged: it is missing, or not what was written.
        """
        entry = self._entry("WHERE log_index=?", index)
        if entry is None:
            raise DatabaseDamaged(f"log entry {index} is missing")
        return entry.term

    def last(self) -> tuple[Index, Term]:
        """Index and term of the last entry, or of the base when the log is empty."""
        entry = self._entry("ORDER BY log_index DESC LIMIT 1")
        if entry is None:
            return self.facts.base_index, self.facts.base_term
        return entry.index, entry.term

    def configurations(self) -> list[tuple[Index, Configuration]]:
        """The base's configuration, and those that the log holds after it."""
        found = self._read(
            f"SELECT {records.COLUMNS} FROM logdb WHERE members<>'' ORDER BY log_index"  # noqa: S608
        )
        entries = [records.entry(row) for row in found]
        logged = [(e.index, e.configuration) for e in entries if e.configuration is not None]
        return [(self.facts.base_index, self.facts.base_configuration), *logged]
