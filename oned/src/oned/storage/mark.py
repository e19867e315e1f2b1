"""What is known to be on the disk, noted beside the database after each sync.

A database that has lost its newest writes looks like one that never had them: a write-ahead
log that was deleted, cut or hurt ends earlier, and that is all one can see of it. The note says
how far it must go. It takes no sync of its own: an old note claims less than what is true,
never more.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

_BYTES = 256
"""Size of the note; always written whole, into one block of the disk."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was true after a sync.

    Attributes:
        disk: the identity of the database.
        writes: how many it had taken.
        others: whether other servers vote in the zone, so that they have what it holds.
    """

    disk: str
    writes: int
    others: bool


class Mark:
    """The note of one database. Trouble with it is passed over: it only ever adds knowledge.

    Attributes:
        left: what a former process noted.
    """

    def __init__(self, path: Path) -> None:
        self.left = read(path)
        self._path = path
        self._file = -1

    def note(self, note: Note) -> None:
        """Write it down; cheap, and not synced."""
        text = msgspec.json.encode(note)
        line = b"%08x %s" % (zlib.crc32(text), text)
        with contextlib.suppress(OSError):
            if self._file < 0:
                self._file = os.open(place(self._path), os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(self._file, line.ljust(_BYTES), 0)

    def sync(self) -> None:
        """Have the note itself outlast a power cut; takes as long as the disk does."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read(path: Path) -> Note | None:
    """The note beside the database ``path``; None when there is none, or none that is whole."""
    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
        checksum, _, text = place(path).read_bytes().rstrip().partition(b" ")
        if int(checksum, 16) == zlib.crc32(text):
            return msgspec.json.decode(text, type=Note)
    return None


def place(path: Path) -> Path:
    """Where the note of the database ``path`` stands."""
    return path.with_name(f"{path.name}.synced")
