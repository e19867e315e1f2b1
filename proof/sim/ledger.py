"""What is true in the world, whatever the servers believe: leaders, votes, committed entries.

The reference is a database of its own, to which every committed entry is applied once and in order
by code that shares nothing with the servers'. Their tables must equal it at every index.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter

from oned.raft.types import Entry
from oned.state.entry import Row, Value
from oned.storage import tables
from proof.sim.disk import empty_content

TABLES = tuple(tables.REPLICATED)
_TARGET = re.compile(r"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)

Digests = dict[str, int]


def digest(connection: sqlite3.Connection, table: str) -> int:
    """A number that is equal for equal rows."""
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    return zlib.crc32(repr(rows).encode())


class Reference:
    """The tables as they must be after each committed entry."""

    def __init__(self, content: bytes, index: int) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.deserialize(content or empty_content())
        self.index = index
        self._now: Digests = {table: digest(self._connection, table) for table in TABLES}
        self._at: dict[int, Digests] = {index: dict(self._now)}
        self._touched: dict[int, set[str]] = {}

    def apply(self, data: bytes) -> None:
        """The next committed entry."""
        touched: set[str] = set()
        if data:
            execute = self._connection.execute
            execute("BEGIN")
            try:
                for sql, parameters in json.loads(data)[1]:
                    execute(sql, parameters)
                    found = _TARGET.match(sql.strip())
                    assert found is not None, sql
                    touched.add(found.group(1))
            except sqlite3.IntegrityError:
                execute("ROLLBACK")
                touched = set()
            else:
                execute("COMMIT")
        self.index += 1
        for table in touched:
            self._now[table] = digest(self._connection, table)
        self._at[self.index] = dict(self._now)
        self._touched[self.index] = touched

    def at(self, index: int, since: int | None = None) -> Digests:
        """Digests after an entry, of all tables or of those that were written after ``since``."""
        if since is None:
            return self._at[index]
        touched: set[str] = set()
        for number in range(since + 1, index + 1):
            touched |= self._touched[number]
        return {table: self._at[index][table] for table in sorted(touched)}

    def rows(self, sql: str, parameters: tuple[Value, ...] = ()) -> list[Row]:
        """``oned.state.entry.Reader``."""
        return self._connection.execute(sql, parameters).fetchall()


@dataclass(slots=True)
class Ledger:
    """What happened.

    Attributes:
        leaders: who won each term.
        votes: for whom a disk voted in a term.
        entries: of every index and term that was ever stored: its content, and the term before.
        committed: the term and content of each committed entry; the first is at ``first``.
    """

    reference: Reference
    leaders: dict[int, str] = field(default_factory=dict)
    votes: dict[tuple[str, int], int] = field(default_factory=dict)
    entries: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    committed: dict[int, tuple[int, int]] = field(default_factory=dict)
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)

    def acknowledge(self, at: float, index: int) -> None:
        """A leader has applied everything up to ``index``, and may tell its callers from now on."""
        if not self.acknowledged or index > self.acknowledged[-1][1]:
            self.acknowledged.append((at, index))

    def acknowledged_at(self, at: float) -> int:
        """The last entry that somebody may have been told of at a time."""
        place = bisect_right(self.acknowledged, at, key=itemgetter(0))
        return self.acknowledged[place - 1][1] if place else 0

    @property
    def last_committed(self) -> int:
        return self.reference.index

    def commit(self, entry: Entry) -> None:
        """The next entry is committed."""
        assert entry.index == self.last_committed + 1
        self.committed[entry.index] = (entry.term, zlib.crc32(entry.data))
        self.data.append(entry.data)
        self.reference.apply(entry.data)
