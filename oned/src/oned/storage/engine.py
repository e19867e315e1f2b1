"""Connections to the database, and all that differs between engines.

SQLite now; MySQL/MariaDB and PostgreSQL get their own ``Engine`` here, and nothing
outside this module asks which one it is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import sqlalchemy

from oned.errors import StorageError
from oned.storage import schema

STATEMENT_CACHE = 512
"""Prepared statements kept a connection; our statements are few and repeated."""

BUSY_SECONDS = 5.0
"""How long a statement waits for another process that holds the database (a backup tool)."""

CHECKPOINT_BYTES = 8 << 20
"""What is written ahead before it is worth copying into the database file."""

WAL_BYTES = 2 * CHECKPOINT_BYTES
"""Size of the write-ahead log from the start: there is a rest while a checkpoint runs."""

RejectedByTables = sqlite3.IntegrityError
"""Raised when a statement contradicts rows that are there: the same on every server."""

DriverError = sqlite3.Error


_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class SQLiteEngine:
    """One SQLite file, locked to one daemon, in WAL mode.

    A commit only hands its pages to the system, which takes microseconds, and ``sync`` puts them
    on the disk, which takes as long as the disk does: so a commit runs where the statements are
    made, and only ``sync`` needs a thread. WAL mode never loses a transaction without all that
    came after it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._wal = -1

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
            self._writer.execute("PRAGMA synchronous=NORMAL")
            self._writer.execute("PRAGMA wal_autocheckpoint=0")
            self._writer.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
            self._checkpointer = self.connect()
            self._checkpointer.execute("PRAGMA synchronous=NORMAL")
            self._wal = os.open(
                self.path.with_name(self.path.name + "-wal"), os.O_RDWR | os.O_CREAT
            )
            self._reserve()
            self._sync_directory()
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

    def _reserve(self) -> None:
        """Give the write-ahead log its space at once.

        A sync that need not record a new size as well takes half the time, and a disk that fills
        up later is still good for this much. To SQLite what follows the last frame is nothing.
        """
        missing = WAL_BYTES - os.fstat(self._wal).st_size
        if missing > 0:
            os.lseek(self._wal, 0, os.SEEK_END)
            os.write(self._wal, bytes(missing))
            os.fsync(self._wal)

    def _sync_directory(self) -> None:
        """Files that were just made are there after a crash, too."""
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, with no transactions behind our back."""
        return sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENT_CACHE,
        )

    def sync(self) -> None:
        """Return once everything that was committed is on the disk.

        Raises:
            OSError: it may or may not be.
        """
        _sync_data(self._wal)

    def checkpoint(self) -> bool:
        """Copy what was written ahead into the database file; whether all of it was copied.

        Writes may go on meanwhile, but then there is always a rest. After a checkpoint without a
        rest the next commit starts the write-ahead log from its beginning.
        """
        _, frames, copied = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(frames == copied)

    def close(self) -> None:
        self._checkpointer.close()
        self._writer.close()
        if self._wal >= 0:
            os.close(self._wal)
            self._wal = -1
        if self._lock is not None:
            self._lock.close()


Connection = sqlite3.Connection
Parameters = tuple[Any, ...]
