"""The database of one server: log, tables and what it must not forget, kept in step.

A write is one transaction: hard state, log, application of what is committed, and the
applied index. So a crash leaves all of it or none, and replay is exactly once.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from oned.errors import Nondeterminism, Rejected, StorageError
from oned.raft.machine import Write
from oned.raft.types import Configuration, Entry, HardState, Index, ServerId, Term
from oned.state.entry import Change, Row, Value, decode
from oned.storage import facts as facts_room
from oned.storage import schema, snapshot
from oned.storage.engine import (
    CHECKPOINT_BYTES,
    DriverError,
    RejectedByTables,
    SQLiteEngine,
)
from oned.storage.facts import decode_configuration, encode_configuration

NOT_FEDERATED = -1
"""``fed_index`` of a record that no federation shares (unsigned in OpenNebula)."""

BOOTSTRAP_INDEX = Index(1)
"""A new zone counts as a snapshot that ends here: it is in no log, so others must be sent it."""

PAGE = 4096
"""About what an entry adds to the write-ahead log beside its data."""

_REPLICATED = frozenset(table.name for table in schema.REPLICATED)
_TARGET = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_LOG_COLUMNS = "log_index, term, sqlcmd, members"


@lru_cache(maxsize=1024)
def written_table(sql: str) -> str:
    """The table that a statement writes; empty when it writes none that is replicated."""
    found = _TARGET.match(sql)
    name = found.group(1).lower() if found else ""
    return name if name in _REPLICATED else ""


@dataclass(slots=True)
class Applied:
    """What a write applied: refusals by log index, and the tables that it touched."""

    rejected: dict[Index, Rejected] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)


def _entry(row: Row) -> Entry:
    index, term, data, members = row
    assert isinstance(data, str)
    configuration = decode_configuration(str(members)) if members else None
    return Entry(Index(int(index or 0)), Term(int(term or 0)), data.encode(), configuration)


class Store:
    """The only writer of one database.

    ``write``, ``install``, ``purge``, ``adopt`` and ``bootstrap`` are called by one thread
    at a time; ``rows``, ``entries`` and ``term_at`` read through a connection of their own.
    """

    def __init__(self, path: Path) -> None:
        self._engine = SQLiteEngine(path)
        self._writer = self._engine.open()
        self._reader = self._engine.connect()
        self.facts = facts_room.load(self._writer)
        self.table_versions: Counter[str] = Counter()
        rows = self._writer.execute(
            f"SELECT {_LOG_COLUMNS} FROM logdb WHERE log_index>? ORDER BY log_index",  # noqa: S608
            (self.facts.applied,),
        ).fetchall()
        self._unapplied: deque[Entry] = deque(_entry(row) for row in rows)
        self._ahead = 0

    @property
    def path(self) -> Path:
        """The database's file."""
        return self._engine.path

    def close(self) -> None:
        self._reader.close()
        self._engine.close()

    # --- reading -------------------------------------------------------------------

    def rows(self, sql: str, parameters: tuple[Value, ...] = ()) -> list[Row]:
        """All rows of a SELECT on this server's tables, at its applied index."""
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except DriverError as error:
            raise StorageError(f"cannot read the database: {error}") from error

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """Stored entries, at least one, no more than ``max_bytes`` after the first."""
        found: list[Entry] = []
        size = 0
        cursor = self._reader.execute(
            f"SELECT {_LOG_COLUMNS} FROM logdb"  # noqa: S608
            " WHERE log_index BETWEEN ? AND ? ORDER BY log_index",
            (first, last),
        )
        for row in cursor:
            entry = _entry(row)
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        cursor.close()
        if not found or found[0].index != first:
            raise StorageError(f"log entry {first} is missing")
        return found

    def term_at(self, index: Index) -> Term:
        """The term of a stored entry."""
        found = self.rows("SELECT term FROM logdb WHERE log_index=?", (index,))
        if not found:
            raise StorageError(f"log entry {index} is missing")
        return Term(int(found[0][0] or 0))

    def last(self) -> tuple[Index, Term]:
        """Index and term of the last entry, or of the base when the log is empty."""
        found = self.rows("SELECT log_index, term FROM logdb ORDER BY log_index DESC LIMIT 1")
        if not found:
            return self.facts.base_index, self.facts.base_term
        return Index(int(found[0][0] or 0)), Term(int(found[0][1] or 0))

    def configurations(self) -> list[tuple[Index, Configuration]]:
        """The base's configuration, and those that the log holds after it."""
        found = self.rows(
            "SELECT log_index, members FROM logdb WHERE members<>'' ORDER BY log_index"
        )
        logged = [(Index(int(i or 0)), decode_configuration(str(text))) for i, text in found]
        return [(self.facts.base_index, self.facts.base_configuration), *logged]

    # --- writing -------------------------------------------------------------------

    @contextmanager
    def _transaction(self, *, sync: bool = True) -> Iterator[None]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._writer.execute("COMMIT")
            if sync:
                self._engine.sync()
        except BaseException as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            if isinstance(error, DriverError | OSError):
                raise StorageError(f"cannot write the database: {error}") from error
            raise

    def write(self, write: Write) -> Applied:
        """Carry out one write of the core; all of it or, when it raises, nothing.

        It is visible at once, and durable after the next ``sync``.

        Raises:
            StorageError: the database cannot be written.
            Nondeterminism: a committed statement fails here, by no fault of its tables.
        """
        applied = Applied()
        before = self.facts
        after = before if write.hard_state is None else before.with_hard_state(write.hard_state)
        pending = deque(self._unapplied)
        with self._transaction(sync=False):
            if write.truncate_from is not None:
                self._writer.execute("DELETE FROM logdb WHERE log_index>=?", (write.truncate_from,))
                while pending and pending[-1].index >= write.truncate_from:
                    pending.pop()
            if write.entries:
                self._append(write.entries)
                pending.extend(write.entries)
            if write.apply_to > before.applied:
                while pending and pending[0].index <= write.apply_to:
                    self._apply(pending.popleft(), applied)
                self._writer.execute(
                    "UPDATE logdb SET applied=1, timestamp=? WHERE log_index>? AND log_index<=?",
                    (int(time.time()), before.applied, write.apply_to),
                )
                after = replace(after, applied=write.apply_to)
            facts_room.save(self._writer, before, after)
        self.facts, self._unapplied = after, pending
        self.table_versions.update(applied.tables)
        self._ahead += sum(len(entry.data) + PAGE for entry in write.entries)
        return applied

    def sync(self) -> None:
        """Return once everything that was written is durable.

        Raises:
            StorageError: it is not known what is.
        """
        try:
            self._engine.sync()
        except OSError as error:
            raise StorageError(f"cannot write the database: {error}") from error

    @property
    def wants_checkpoint(self) -> bool:
        """Whether so much is written ahead that ``checkpoint`` should be called."""
        return self._ahead > CHECKPOINT_BYTES

    def checkpoint(self) -> bool:
        """Copy what was written ahead to its place; False while there is a rest.

        Raises:
            StorageError: the database cannot be written.
        """
        self._ahead = 0
        try:
            return self._engine.checkpoint()
        except DriverError as error:
            raise StorageError(f"cannot write the database: {error}") from error

    def _append(self, entries: Sequence[Entry]) -> None:
        self._writer.executemany(
            f"INSERT INTO logdb ({_LOG_COLUMNS}, timestamp, fed_index, applied)"  # noqa: S608
            " VALUES (?, ?, ?, ?, 0, ?, 0)",
            [
                (
                    entry.index,
                    entry.term,
                    entry.data.decode(),
                    encode_configuration(entry.configuration) if entry.configuration else "",
                    NOT_FEDERATED,
                )
                for entry in entries
            ],
        )

    def _apply(self, entry: Entry, applied: Applied) -> None:
        """Run one entry's statements, or none of them when the tables refuse one."""
        if not entry.data:
            return
        execute = self._writer.execute
        tables = set()
        execute("SAVEPOINT entry")
        try:
            for statement in decode(entry.data).statements:
                table = written_table(statement.sql)
                if not table:
                    raise Nondeterminism(f"log entry {entry.index} writes no replicated table")
                execute(statement.sql, statement.parameters)
                tables.add(table)
        except RejectedByTables as error:
            execute("ROLLBACK TO entry")
            applied.rejected[entry.index] = Rejected(str(error))
        except (DriverError, ValueError) as error:
            raise Nondeterminism(
                f"log entry {entry.index} cannot be applied here: {error}"
            ) from error
        else:
            applied.tables |= tables
        execute("RELEASE entry")

    def bootstrap(
        self, change: Change, *, zone_uuid: str, server_id: ServerId, configuration: Configuration
    ) -> None:
        """Make a new zone in an empty database.

        Raises:
            StorageError: the database holds a zone already.
        """
        if self.facts.initialised:
            raise StorageError(f"the database {self._engine.path} holds a zone already")
        after = replace(
            self.facts,
            zone_uuid=zone_uuid,
            server_id=server_id,
            initialised=True,
            applied=BOOTSTRAP_INDEX,
            base_index=BOOTSTRAP_INDEX,
            base_configuration=configuration,
        )
        with self._transaction():
            for statement in change.statements:
                self._writer.execute(statement.sql, statement.parameters)
            facts_room.save(self._writer, self.facts, after)
        self.facts = after
        self.table_versions.update(_REPLICATED)

    def adopt(self, *, zone_uuid: str, server_id: ServerId, hard_state: HardState) -> None:
        """Become the server that the zone's leader says this is.

        The leader's term is kept as one in which this server has voted for it: whatever
        this server promised under its former identity, it will not promise again.
        """
        newer = hard_state.term >= self.facts.term
        after = replace(
            self.facts.with_hard_state(hard_state) if newer else self.facts,
            zone_uuid=zone_uuid,
            server_id=server_id,
        )
        with self._transaction():
            facts_room.save(self._writer, self.facts, after)
        self.facts = after

    def purge(self, *, retention: int, limit: int) -> Index | None:
        """Delete up to ``limit`` of the oldest applied records beyond ``retention`` of them.

        Returns:
            The new base index, or None when there was nothing to delete.
        """
        target = Index(min(self.facts.applied - retention, self.facts.base_index + limit))
        if target <= self.facts.base_index:
            return None
        term = self.term_at(target)
        configuration = [c for index, c in self.configurations() if index <= target][-1]
        after = replace(
            self.facts, base_index=target, base_term=term, base_configuration=configuration
        )
        with self._transaction(sync=False):
            self._writer.execute("DELETE FROM logdb WHERE log_index<=?", (target,))
            facts_room.save(self._writer, self.facts, after)
        self.facts = after
        return target

    # --- snapshots -----------------------------------------------------------------

    def install(self, path: Path) -> snapshot.Header:
        """Replace log and tables by the snapshot in ``path``, in one transaction.

        Raises:
            StorageError: it is damaged, or of another zone; nothing has changed.
        """
        before = self.facts
        with self._transaction():
            header = snapshot.restore(self._writer, path)
            if before.zone_uuid and header.zone_uuid != before.zone_uuid:
                raise StorageError(f"the snapshot is of zone {header.zone_uuid}")
            if header.index < before.applied:
                raise StorageError(f"entry {before.applied} is applied here already")
            # Entries behind the snapshot may have been acknowledged: they stay if the logs agree
            # at its end (paper, figure 13).
            agrees = self._writer.execute(
                "SELECT 1 FROM logdb WHERE log_index=? AND term=?", (header.index, header.term)
            ).fetchone()
            self._writer.execute(
                "DELETE FROM logdb WHERE log_index<=?" if agrees else "DELETE FROM logdb",
                (header.index,) if agrees else (),
            )
            after = replace(
                before,
                zone_uuid=header.zone_uuid,
                initialised=True,
                applied=header.index,
                base_index=header.index,
                base_term=header.term,
                base_configuration=header.configuration,
            )
            facts_room.save(self._writer, before, after)
        self.facts = after
        kept = [e for e in self._unapplied if e.index > header.index] if agrees else []
        self._unapplied = deque(kept)
        self.table_versions.update(_REPLICATED)
        return header
