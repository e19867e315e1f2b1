"""Writes a snapshot in a process of its own: ``python -m oned.storage.export DATABASE FILE``.

A snapshot of a large zone takes many seconds of work that would hold the interpreter's lock
against every call. The process reads the database as any other reader does, yields to the
servers of its machine, and prints what it wrote as one line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from oned.errors import DatabaseDamaged, StorageError
from oned.storage import snapshot
from oned.storage.engine import translated

NICE = 10
"""How far the process steps back behind the servers."""

EXIT_DAMAGED = 3
"""Exit code when the database itself is the trouble."""

_SAID_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Export:
    """A snapshot file that is whole.

    Attributes:
        checksum: SHA-256 of the file, in hexadecimal.
        size: of the file, in bytes.
    """

    header: snapshot.Header
    checksum: str
    size: int


def write(database: Path, path: Path) -> Export:
    """Write a snapshot of ``database`` to ``path``, here and now.

    Raises:
        StorageError: the database cannot be read or the file cannot be written.
        DatabaseDamaged: the database is not what was written to it.
    """
    try:
        connection = sqlite3.connect(f"file:{database}?mode=rw", uri=True, isolation_level=None)
        try:
            header = snapshot.export(connection, path)
        finally:
            connection.close()
        return Export(header, snapshot.checksum(path), path.stat().st_size)
    except (sqlite3.Error, OSError) as error:
        raise translated(error, f"write the snapshot {path}") from error


async def write_beside(database: Path, path: Path) -> Export:
    """Write a snapshot of ``database`` to ``path`` in another process.

    Raises:
        StorageError: it did not succeed.
        DatabaseDamaged: the database is not what was written to it.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oned.storage.export", str(database), str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        failure = DatabaseDamaged if process.returncode == EXIT_DAMAGED else StorageError
        raise failure(said[-_SAID_BYTES:].decode(errors="replace").strip())
    return msgspec.json.decode(out, type=Export)


def main() -> int:
    """Write one snapshot; the exit code."""
    database, path = map(Path, sys.argv[1:])
    os.nice(NICE)
    try:
        export = write(database, path)
    except StorageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the parent reads it
        return EXIT_DAMAGED if isinstance(error, DatabaseDamaged) else 1
    sys.stdout.buffer.write(msgspec.json.encode(export) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
