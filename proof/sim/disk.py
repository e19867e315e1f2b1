"""A machine's disk: SQLite in memory, and what of it a crash leaves.

In WAL mode with the shipped settings a commit is visible at once and durable after the next
sync, and a crash keeps some commits after the last synced one: the first few, none, or all.
So the image of every commit since then is kept, and a crash picks one.
"""

from __future__ import annotations

import errno
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from oned.storage import tables

PAGE_BYTES = 1024
SYNC_SECONDS = 0.0005
"""About what a good disk takes for a sync."""


@dataclass(frozen=True, slots=True)
class Image:
    """The database after one commit, and what Raft needs to know of it.

    Attributes:
        terms: of the log's entries after ``base``, in their order.
    """

    content: bytes = b""
    disk: str = ""
    term: int = 0
    voted_for: int = -1
    base: int = 0
    terms: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        return self.base + len(self.terms)

    def term_at(self, index: int) -> int | None:
        """The term of an entry, None when it is not there or compacted."""
        return self.terms[index - self.base - 1] if self.base < index <= self.last else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is there, or was and is compacted."""
        return index <= self.base or self.term_at(index) == term


NOTHING = Image()


class Disk:
    """One disk.

    Attributes:
        durable: the image that no crash can take away.
        unsynced: those of the commits since then, oldest first.
        full: nothing can be written (ENOSPC).
        broken: a sync fails (EIO), and leaves open what it has kept.
        doubtful: one has failed, and nothing was looked at since.
        lying: a sync is answered and not done; ``durable`` is what it claims, ``kept`` what is.
        rotten: what it holds is not what was written to it.
        sync_seconds: about how long a sync takes.
    """

    def __init__(self, chance: random.Random) -> None:
        self.durable = NOTHING
        self.unsynced: list[Image] = []
        self.full = self.broken = self.doubtful = self.lying = False
        self.rotten = False
        self.kept = NOTHING
        self.sync_seconds = SYNC_SECONDS
        self.connection: Connection | None = None
        self.on_commit: Callable[[Image, Image], None] = lambda _before, _image: None
        self._chance = chance

    @property
    def newest(self) -> Image:
        return self.unsynced[-1] if self.unsynced else self.durable

    def work_seconds(self) -> float:
        """How long the next piece of work takes."""
        return self.sync_seconds * (0.5 + self._chance.random())

    def sync(self) -> None:
        """Everything committed is durable.

        Raises:
            OSError: it is not known what is.
        """
        if self.broken:
            self.doubtful = True
            raise OSError(errno.EIO, "Input/output error")
        self.durable, self.unsynced = self.newest, []
        if not self.lying:
            self.kept = self.durable

    def crash(self, *, power_lost: bool, truly: bool = False) -> None:
        """Some commit is the last that survives; a process that is killed loses none.

        What it committed is with the system, which writes it in its own time. A disk that lies
        loses what it claimed to have, where ``truly`` allows it.
        """
        count = len(self.unsynced)
        survivor = self._chance.randint(0, count) if power_lost else count
        if survivor:
            self.durable = self.unsynced[survivor - 1]
        if power_lost and truly and self.lying:
            self.durable = self.kept
        self.kept = self.durable
        self.unsynced, self.connection, self.doubtful = [], None, False

    def mend(self) -> None:
        """The disk works again."""
        self.full = self.broken = self.lying = False
        self.kept = self.durable
        self.sync_seconds = SYNC_SECONDS

    def wipe(self) -> None:
        """An empty disk takes the place of this one."""
        self.durable = self.kept = NOTHING
        self.rotten = False
        self.unsynced, self.connection, self.doubtful = [], None, False

    def rot(self, chance: random.Random) -> None:
        """Flip one bit of one record of the log, if there is any."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(self.durable.content or empty_content())
        rows = connection.execute("SELECT log_index, sqlcmd FROM logdb ORDER BY log_index")
        records = [row for row in rows.fetchall() if row[1]]
        if records:
            index, text = chance.choice(records)
            data = bytearray(text.encode())
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(7)
            connection.execute(
                "UPDATE logdb SET sqlcmd=? WHERE log_index=?", (data.decode(), index)
            )
            self.rotten = True
            self.durable = self.kept = replace(self.durable, content=connection.serialize())

    def committed(self) -> None:
        connection = self.connection
        assert connection is not None
        before, image = self.newest, _look(connection, self.newest)
        self.unsynced.append(image)
        self.on_commit(before, image)


def _look(connection: Connection, before: Image) -> Image:
    facts = dict(connection.query("SELECT name, value FROM raft_state"))
    base = int(facts["base_index"])
    if connection.log_cut or base != before.base:
        rows = connection.query("SELECT term FROM logdb ORDER BY log_index")
        terms = tuple(row[0] for row in rows)
    else:
        rows = connection.query(f"SELECT term FROM logdb WHERE log_index>{before.last}")
        terms = before.terms + tuple(row[0] for row in rows)
    connection.log_cut = False
    return Image(
        connection.serialize(),
        facts["disk"],
        int(facts["term"]),
        int(facts["voted_for"]),
        base,
        terms,
    )


class Connection(sqlite3.Connection):
    """The one connection to a disk's database; commits are seen, and refused when it is full."""

    disk: Disk
    log_cut = True

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT":
            if self.disk.full:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            cursor = super().execute(sql)
            self.disk.committed()
            return cursor
        if sql.startswith("DELETE FROM logdb"):
            self.log_cut = True
        return super().execute(sql, parameters)

    def query(self, sql: str) -> list[Any]:
        return super().execute(sql).fetchall()

    def close(self) -> None:
        """Kept open: readers and the writer are this one connection."""


@lru_cache(maxsize=1)
def empty_content() -> bytes:
    """A database with all tables and no rows."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
    for statement in tables.CREATE:
        connection.execute(statement)
    return connection.serialize()


class Engine:
    """In the place of ``oned.storage.engine.SQLiteEngine``, on the disk of who is running.

    Attributes:
        doubtful: as the shipped engine's; here the disk itself remembers.
    """

    disk_of: Callable[[], Disk]
    """Set by ``doors``: the disk of the machine whose process runs now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.doubtful = False
        self._disk = type(self).disk_of()

    def open(self) -> sqlite3.Connection:
        """What the disk holds; after a sync that failed, any commit may be the last."""
        disk = self._disk
        if disk.broken:
            raise OSError(errno.EIO, "Input/output error")
        if disk.doubtful:
            disk.crash(power_lost=True)
        connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=Connection
        )
        connection.deserialize(disk.newest.content or empty_content())
        connection.disk = disk
        disk.connection = connection
        return connection

    def connect(self) -> sqlite3.Connection:
        assert self._disk.connection is not None
        return self._disk.connection

    def sync(self) -> None:
        self._disk.sync()

    def checkpoint(self) -> bool:
        return True

    def close(self) -> None:
        pass

    @classmethod
    def put_aside(cls, path: Path) -> Path:
        cls.disk_of().wipe()
        return path
