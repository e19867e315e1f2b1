"""A zone's content at one index, as a file that any of our databases can read.

Gzip of JSON lines: a header; for each table a line with its name and columns, then a
line a row; and a last line that counts the rows. The checksum of a whole file is the
SHA-256 that travels beside it. Also what ``onedb backup`` writes.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from oned.errors import StorageError
from oned.raft.types import Configuration, Index, Term
from oned.storage import tables
from oned.storage.engine import Connection

FORMAT = 1
ROWS_AT_ONCE = 1000
"""Rows read or written between two looks at memory: bounds what a large pool takes."""

LINE_BYTES = 256 << 20
"""A longer line is no row of ours."""


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a snapshot: whose content, and where in the log it stands."""

    format: int
    zone_uuid: str
    index: Index
    term: Term
    configuration: Configuration


class _TableLine(msgspec.Struct):
    table: str
    columns: list[str]


class _EndLine(msgspec.Struct):
    rows: int


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def export(connection: Connection, path: Path) -> Header:
    """Write the tables as they stand at the applied index, in one read transaction."""
    from oned.storage import facts as facts_room  # noqa: PLC0415 (facts describe what is snapshot)

    connection.execute("BEGIN")
    facts = facts_room.load(connection)
    term, configuration = facts.base_term, facts.base_configuration
    for row in connection.execute(
        "SELECT term, members FROM logdb WHERE log_index<=? AND (members<>'' OR log_index=?)"
        " ORDER BY log_index",
        (facts.applied, facts.applied),
    ):
        term = Term(row[0])
        if row[1]:
            configuration = facts_room.decode_configuration(row[1])
    header = Header(FORMAT, facts.zone_uuid, facts.applied, term, configuration)
    with path.open("wb") as raw, _compressed(raw) as file:
        file.write(msgspec.json.encode(header) + b"\n")
        rows = sum(_write_table(connection, table, file) for table in tables.REPLICATED)
        file.write(msgspec.json.encode(_EndLine(rows)) + b"\n")
    connection.execute("ROLLBACK")
    return header


def _compressed(raw: IO[bytes]) -> gzip.GzipFile:
    """Equal content makes equal files: no name and no time go in."""
    return gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0)


def _write_table(connection: Connection, table: str, file: IO[bytes] | Any) -> int:
    columns = list(tables.REPLICATED[table])
    file.write(msgspec.json.encode(_TableLine(table, columns)) + b"\n")
    cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
    count = 0
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        count += len(rows)
        file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return count


def read_header(path: Path) -> Header:
    """What a snapshot says of itself; whether it is whole is not looked at.

    Raises:
        StorageError: the file is no snapshot, or of a newer format.
    """
    try:
        with gzip.open(path, "rb") as file:
            return _header(file.readline(LINE_BYTES))
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise StorageError(f"{path.name} is not a whole snapshot: {error}") from error


def _header(line: bytes) -> Header:
    header = msgspec.json.decode(line, type=Header)
    if header.format != FORMAT:
        raise StorageError(f"snapshot of format {header.format}, this server knows {FORMAT}")
    return header


def restore(connection: Connection, path: Path) -> Header:
    """Replace the tables' rows by a snapshot's, inside the caller's transaction.

    Raises:
        StorageError: the file is no snapshot, damaged, or of a newer format.
    """
    try:
        with gzip.open(path, "rb") as file:
            lines = iter(lambda: file.readline(LINE_BYTES), b"")
            header = _header(next(lines, b""))
            for table in tables.REPLICATED:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
            _restore_tables(connection, lines)
            if file.read(1):  # reading the very end also compares the checksum there
                raise StorageError(f"{path.name} goes on after its end")
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise StorageError(f"{path.name} is not a whole snapshot: {error}") from error
    return header


def _restore_tables(connection: Connection, lines: Iterator[bytes]) -> None:
    insert, batch, count = "", [], 0
    for line in lines:
        if line.startswith(b"["):
            batch.append(msgspec.json.decode(line))
            count += 1
            if len(batch) >= ROWS_AT_ONCE:
                connection.executemany(insert, batch)
                batch = []
            continue
        if batch:
            connection.executemany(insert, batch)
            batch = []
        if line.startswith(b'{"rows"'):
            if msgspec.json.decode(line, type=_EndLine).rows != count:
                raise StorageError("the snapshot lacks rows")
            return
        head = msgspec.json.decode(line, type=_TableLine)
        known = tables.REPLICATED.get(head.table)
        if known is None or not set(known) >= set(head.columns):
            raise StorageError(f"the snapshot holds an unknown table {head.table}")
        marks = ", ".join("?" * len(head.columns))
        insert = f"INSERT INTO {head.table} ({', '.join(head.columns)}) VALUES ({marks})"  # noqa: S608
    raise StorageError("the snapshot has no end")
