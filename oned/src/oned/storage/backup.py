"""Backups: the content of a zone in a file, and a database that is made from one.

A backup is a snapshot (``oned.storage.snapshot``), as a leader sends it to a server that lags. It
is written while the server runs, on any server, and holds all that is applied there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from oned.errors import StorageError
from oned.storage import export, mark
from oned.storage.engine import FILES, lock, sync_path, translated
from oned.storage.snapshot import Header
from oned.storage.store import Store

_PRIVATE = 0o600

SCRATCH = ".restore-"
"""How the directories begin in which databases are made."""


def write(database: Path, path: Path, *, replace: bool = False) -> export.Export:
    """Write a backup of ``database`` to ``path``: all of it, durable, or nothing.

    Raises:
        StorageError: there is no zone in the database, the file exists and is not to be
            replaced, or something cannot be read or written.
        DatabaseDamaged: the database is not what was written to it.
    """
    if not database.exists():
        raise StorageError(f"there is no database {database}")
    if path.exists() and not replace:
        raise StorageError(f"{path} exists: choose another name, or -f replaces it")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # It holds the users' password hashes.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE))
        written = export.write(database, temporary)
        if not written.header.index:
            raise StorageError(f"the database {database} holds no zone yet")
        sync_path(temporary)
        temporary.replace(path)
        sync_path(path.parent)
    except OSError as error:
        raise translated(error, f"write the backup {path}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return written


def verify(backup: Path) -> Header:
    """Restore a backup into a database that is thrown away; what its first line says.

    Raises:
        StorageError: it is no backup, or not a whole one.
    """
    try:
        with _scratch(backup.absolute().parent) as directory:
            return _restored(backup, Path(directory) / "one.db", lambda _store: None)
    except OSError as error:
        raise translated(error, f"restore {backup} beside it") from error


def restore(
    backup: Path,
    database: Path,
    *,
    finish: Callable[[Store], None] = lambda _store: None,
    replace: bool = False,
    name: str = "",
) -> Header:
    """Make a database from a backup and put it in place; the server must be stopped.

    The new database has a disk identity of its own and belongs to no server yet: it takes no part
    in a zone until the zone's leader knows it, or ``finish`` has made it a zone by itself.

    Args:
        backup: the file.
        database: where the database is to be.
        finish: called with the restored database, before it is put in place.
        replace: put a database that is there aside, as ``<database>.replaced-<name>``.
        name: seconds since the epoch unless given.

    Raises:
        StorageError: a server uses the database, there is one and it is not to be replaced, or
            the backup is no whole one. What was there stays.
    """
    with claimed(database):
        if database.exists() and not replace:
            raise StorageError(f"the database {database} exists: -f puts it aside")
        try:
            with _scratch(database.parent) as directory:
                made = Path(directory) / database.name
                header = _restored(backup, made, finish)
                make_way(database, name or str(int(time.time())))
                made.rename(database)
                mark.place(made).rename(mark.place(database))
                sync_path(database.parent)
        except OSError as error:
            raise translated(error, f"put the database {database} in place") from error
    return header


@contextlib.contextmanager
def claimed(database: Path) -> Iterator[None]:
    """Keep servers from a database, and from its place.

    Raises:
        StorageError: a server uses it.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        descriptor = lock(database)
    except OSError as error:
        raise translated(error, f"use the database {database}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def make_way(database: Path, name: str) -> None:
    """Give the files of a database that no server uses the name ``<database>.replaced-<name>``.

    When one of that name is whole, an earlier attempt was cut off: what is in place then was made
    by it, and is removed.

    Raises:
        StorageError: they cannot be renamed.
    """
    aside = f"{database.name}.replaced-{name}"
    done = database.with_name(aside).exists()
    try:
        for suffix in FILES:
            file = database.with_name(database.name + suffix)
            with contextlib.suppress(FileNotFoundError):
                if done:
                    file.unlink()
                else:
                    file.rename(database.with_name(aside + suffix))
        mark.place(database).unlink(missing_ok=True)
        if database.parent.is_dir():
            sync_path(database.parent)
    except OSError as error:
        raise translated(error, f"put the database {database} aside") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file: all of it, durable, or nothing.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        sync_path(temporary)
        temporary.replace(path)
        sync_path(path.parent)
    except OSError as error:
        raise translated(error, f"write {path}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _restored(backup: Path, database: Path, finish: Callable[[Store], None]) -> Header:
    if not backup.is_file():
        raise StorageError(f"there is no backup {backup}")
    store = Store(database)
    try:
        header = store.install(backup)
        finish(store)
        store.sync()  # and notes how far
    finally:
        store.close()
    sync_path(database)
    return header


def _scratch(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """A directory on the same disk, which has the space and from which files can be moved."""
    return tempfile.TemporaryDirectory(prefix=SCRATCH, dir=parent)
