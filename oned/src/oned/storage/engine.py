"""Connections to the database, and all that differs between engines.

SQLite now; MySQL/MariaDB and PostgreSQL get their own ``Engine`` here, and nothing
outside this module asks which one it is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import IO, Any

import sqlalchemy

from oned.errors import StorageError
from oned.storage import schema

STATEMENT_CACHE = 512
"""Prepared statements kept a connection; our statements are few and repeated."""

BUSY_SECONDS = 5.0
"""How long a statement waits for another process that holds the database (a backup tool)."""

RejectedByTables = sqlite3.IntegrityError
"""Raised when a statement contradicts rows that are there: the same on every server."""

DriverError = sqlite3.Error


class SQLiteEngine:
    """One SQLite file, locked to one daemon, in WAL mode.

    The writer's connection is used by one thread at a time; readers have their own and
    see the last committed transaction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._synchronous = ""

    def open(self) -> sqlite3.Connection:
        """Lock the file, make missing tables, and return the writer's connection.

        Raises:
            StorageError: another daemon has it, or it is no database.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            engine = sqlalchemy.create_engine(f"sqlite:///{self.path}")
            schema.metadata.create_all(engine)
            engine.dispose()
            self._writer = self.connect()
            self._writer.execute("PRAGMA journal_mode=WAL")
        except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise StorageError(f"cannot open the database {self.path}: {error}") from error
        return self._writer

    def _locked(self) -> IO[str]:
        lock = self.path.with_name(self.path.name + ".lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StorageError(f"another oned uses the database {self.path}") from error
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, with no transactions behind our back."""
        return sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENT_CACHE,
        )

    def begin(self, *, sync: bool) -> None:
        """Begin a write; with ``sync`` its commit is on disk when it returns.

        A transaction that only applies may reach the disk later: after a crash the log
        replays it, and WAL mode never loses one without all that came after it.
        """
        wanted = "FULL" if sync else "NORMAL"
        if wanted != self._synchronous:
            self._writer.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        self._writer.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        self._writer.close()
        if self._lock is not None:
            self._lock.close()


Connection = sqlite3.Connection
Parameters = tuple[Any, ...]
