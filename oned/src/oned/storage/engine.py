"""Connections to the database, and all that differs between engines.

SQLite now; MySQL/MariaDB and PostgreSQL get their own ``Engine`` here, and nothing
outside this module asks which one it is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oned.errors import DatabaseDamaged, DatabaseFailed, DatabaseFull, StorageError
from oned.storage import tables

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

FILES = ("-shm", "-wal", "")
"""What SQLite adds to the names of a database's files; the database itself comes last."""

COPIES_KEPT = 3
"""Databases put aside that are kept; older ones go, or they would fill the disk."""

_BLOCK_BYTES = 1 << 20
_SHARED_LOCK = (0x40000002, 510)
"""Start and length of the bytes of a database file that its users lock (sqlite.org/fileformat2)."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_PLACE = (errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM)
"""The path is wrong or forbidden: no disk gets well of that, and nobody need wait."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BY_STATEMENT = (
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT),
    *(sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE),
)

_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def _code(error: BaseException) -> int | None:
    """SQLite's primary result code; None when the error is Python's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_by_statement(error: BaseException) -> bool:
    """Whether it is the statement's own fault, and would be on any disk."""
    return _code(error) in (None, *_BY_STATEMENT)


def translated(error: BaseException, doing: str) -> StorageError:
    """What an error of the driver or of the system means for the database.

    Args:
        error: the driver's or the system's.
        doing: what could not be done.
    """
    text = f"cannot {doing}: {error}"
    code = _code(error)
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in _NO_SPACE):
        return DatabaseFull(text)
    # Text that is no text is not said by SQLite, which looks at none, but by the driver.
    if code in _DAMAGE or "decode to UTF-8" in str(error):
        return DatabaseDamaged(text)
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return StorageError(text)
    if isinstance(error, OSError) or not is_by_statement(error):
        return DatabaseFailed(text)
    return StorageError(text)


def lock(path: Path) -> int:
    """Keep everybody else from the database ``path`` until the descriptor is closed.

    Raises:
        StorageError: another process has it.
    """
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"another oned uses the database {path}") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_path(path: Path) -> None:
    """Return once a file, or the names in a directory, are durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SQLiteEngine:
    """One SQLite file, locked to one daemon, in WAL mode.

    A commit only hands its pages to the system, which takes microseconds, and ``sync`` puts them
    on the disk, which takes as long as the disk does: so a commit runs where the statements are
    made, and only ``sync`` needs a thread. WAL mode never loses a transaction without all that
    came after it.

    Attributes:
        doubtful: something failed, so that what was written ahead may not be on the disk:
            ``close`` must not copy it over what is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.doubtful = False
        self._lock = self._wal = -1
        self._connections: list[sqlite3.Connection] = []

    def open(self) -> sqlite3.Connection:
        """Lock the file, look it through, make missing tables, and return the writer's connection.

        What can be read afterwards is on the disk, also when the last sync before failed.

        Raises:
            StorageError: another daemon has it.
            DatabaseFailed: the disk refuses it.
            DatabaseDamaged: it is no database, or no whole one.
        """
        try:
            return self._open()
        except (sqlite3.Error, OSError) as error:
            self.doubtful = True
            self.close()
            raise translated(error, f"open the database {self.path}") from error
        except StorageError:
            self.doubtful = True
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.path)
        self._write_ahead_log_again()
        writer = self.connect()
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("PRAGMA synchronous=NORMAL")
        writer.execute("PRAGMA wal_autocheckpoint=0")
        writer.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        self._checkpointer = self.connect()
        self._checkpointer.execute("PRAGMA synchronous=NORMAL")
        self._wal = os.open(self._beside("-wal"), os.O_RDWR | os.O_CREAT)
        # 1 to 2 s a gigabyte: less than a snapshot of it takes, and nobody votes on a bad one.
        (verdict,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DatabaseDamaged(f"the database {self.path} is damaged: {verdict}")
        for statement in tables.CREATE:
            writer.execute(statement)
        self._reserve()
        self._sync_directory()
        return writer

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _write_ahead_log_again(self) -> None:
        """Write what a former process left in the write-ahead log once more, and sync it.

        After a sync that failed the system calls pages clean that never reached the disk, and
        the next sync succeeds without them. Only pages that are written again are synced in
        truth. They are the same bytes in the same places, so that nothing can be torn by it;
        what they are worth SQLite sees by their checksums.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return  # SQLite throws away what was written ahead for another file of this name
        try:
            wal = os.open(self._beside("-wal"), os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            place = 0
            while block := os.pread(wal, _BLOCK_BYTES, place):
                os.pwrite(wal, block, place)
                place += len(block)
            os.fsync(wal)
        finally:
            os.close(wal)

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
        sync_path(self.path.parent)

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, with no transactions behind our back; ``close`` closes it."""
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=STATEMENT_CACHE,
        )
        self._connections.append(connection)
        return connection

    def sync(self) -> None:
        """Return once everything that was committed is on the disk.

        Raises:
            OSError: it may or may not be.
        """
        try:
            _sync_data(self._wal)
        except OSError:
            self.doubtful = True
            raise

    def checkpoint(self) -> bool:
        """Copy what was written ahead into the database file; whether all of it was copied.

        Writes may go on meanwhile, but then there is always a rest. After a checkpoint without a
        rest the next commit starts the write-ahead log from its beginning.
        """
        _, frames, copied = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(frames == copied)

    def close(self) -> None:
        """Close everything; harmless when it was done before."""
        guard = self._guard() if self.doubtful and self._connections else -1
        while self._connections:
            self._connections.pop().close()
        if guard >= 0:
            os.close(guard)
        for descriptor in (self._wal, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._wal = self._lock = -1

    def _guard(self) -> int:
        """Lock the file as one more user of it does, until the descriptor is closed.

        Whoever closes the last connection copies what was written ahead into the database file
        and deletes it. When a sync has failed this may overwrite good pages with the help of a
        log that no power cut would leave: so nobody may be the last.
        """
        descriptor = -1
        with contextlib.suppress(OSError, AttributeError):
            descriptor = os.open(self.path, os.O_RDWR)
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, *_SHARED_LOCK, 0)
            # Owned by the descriptor: one of the process's own would be no obstacle to SQLite.
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
        return descriptor

    @staticmethod
    def put_aside(path: Path) -> Path:
        """Give a closed database that is not to be used any more another name.

        Returns:
            The new name; what was written ahead goes with it.
        """
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        for suffix in FILES:
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(f"{aside}{suffix}")
        copies = path.parent.glob(f"{path.name}.damaged-*[0-9]")
        for old in sorted(copies)[:-COPIES_KEPT]:
            for suffix in FILES:
                Path(f"{old}{suffix}").unlink(missing_ok=True)
        return aside


Connection = sqlite3.Connection
Parameters = tuple[Any, ...]
