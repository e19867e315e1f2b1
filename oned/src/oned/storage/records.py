"""Log records as rows of ``logdb``, each with a checksum over what Raft needs of it.

SQLite sees a page that makes no sense, but not a changed letter in a text. A record is
proposed to others and applied to the tables long after it was written: it must be what it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from oned.errors import DatabaseDamaged
from oned.raft.types import Entry, Index, Term
from oned.storage.facts import decode_configuration, encode_configuration

COLUMNS = "log_index, term, CAST(sqlcmd AS BLOB), CAST(members AS BLOB), checksum"
"""What ``entry`` reads. Bytes, since a text that is none any more cannot be read as one."""

INSERT = (
    "INSERT INTO logdb (log_index, term, sqlcmd, members, checksum, timestamp, fed_index, applied)"
    " VALUES (?, ?, ?, ?, ?, 0, ?, 0)"
)

NOT_FEDERATED = -1
"""``fed_index`` of a record that no federation shares (unsigned in OpenNebula)."""


def checksum(index: int, term: int, data: bytes, members: bytes) -> int:
    """Of one record, over everything that is read back."""
    return zlib.crc32(data, zlib.crc32(b"%d %d %b " % (index, term, members)))


def row(entry: Entry) -> tuple[int, int, str, str, int, int]:
    """The parameters of ``INSERT``."""
    members = encode_configuration(entry.configuration) if entry.configuration else ""
    return (
        entry.index,
        entry.term,
        entry.data.decode(),
        members,
        checksum(entry.index, entry.term, entry.data, members.encode()),
        NOT_FEDERATED,
    )


def entry(stored: tuple[Any, ...]) -> Entry:
    """The entry of a row with ``COLUMNS``.

    Raises:
        DatabaseDamaged: it is not what was written.
    """
    index, term, data, members, noted = stored
    if not (
        isinstance(index, int)
        and isinstance(term, int)
        and isinstance(data, bytes)
        and isinstance(members, bytes)
        and checksum(index, term, data, members) == noted
    ):
        raise DatabaseDamaged(f"log entry {index} is not what was written")
    configuration = decode_configuration(members.decode()) if members else None
    return Entry(Index(index), Term(term), data, configuration)


def check(rows: Iterable[tuple[Any, ...]], base: Index) -> Index:
    """Look through all records of a log, which follow each other from ``base`` on; the last index.

    About a second for half a million of them.

    Raises:
        DatabaseDamaged: one is missing, or not what was written.
    """
    expected = int(base)
    for index, term, data, members, noted in rows:
        expected += 1
        if index != expected:
            raise DatabaseDamaged(f"log entry {expected} is missing, the next is {index}")
        try:
            if noted == checksum(index, term, data, members):
                continue
        except TypeError:
            pass  # it is no number or no text any more
        raise DatabaseDamaged(f"log entry {index} is not what was written")
    return Index(expected)


def look_through(rows: Iterable[tuple[Any, ...]], base: Index) -> Iterator[Entry]:
    """The entries of a part of the log, which must follow each other from ``base`` on.

    Raises:
        DatabaseDamaged: one is missing, or not what was written.
    """
    expected = base
    for stored in rows:
        expected = Index(expected + 1)
        found = entry(stored)
        if found.index != expected:
            raise DatabaseDamaged(f"log entry {expected} is missing, the next is {found.index}")
        yield found
