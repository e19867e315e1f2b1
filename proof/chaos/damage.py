"""What befalls the files of a database while its server is down."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

PAGE_BYTES = 4096
PAGES = 16
"""Pages that are overwritten at most."""

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


def do(database: Path, chance: random.Random) -> str:
    """Damage it in one of the ways; which one it was, in words."""
    log = database.with_name(f"{database.name}-wal")
    ways: list[Callable[[Path, Path, random.Random], str]] = [cut, overwrite]
    if log.exists() and _frames(log):
        ways += [cut_log, remove_log, flip_in_log]
    return chance.choice(ways)(database, log, chance)


def cut(database: Path, _log: Path, chance: random.Random) -> str:
    size = database.stat().st_size
    kept = chance.randrange(size)
    with database.open("r+b") as file:
        file.truncate(kept)
    return f"cut from {size} to {kept} bytes"


def overwrite(database: Path, _log: Path, chance: random.Random) -> str:
    pages = database.stat().st_size // PAGE_BYTES
    first = chance.randrange(pages)
    count = min(chance.randint(1, PAGES), pages - first)
    with database.open("r+b") as file:
        file.seek(first * PAGE_BYTES)
        file.write(chance.randbytes(count * PAGE_BYTES))
    return f"{count} pages overwritten from page {first + 1} on"


def _frames(log: Path) -> int:
    """How many frames the log holds that were written since it last began anew."""
    data = log.read_bytes()
    salts, size = data[16:24], _FRAME_HEADER_BYTES + PAGE_BYTES
    count = 0
    while data[(place := _WAL_HEADER_BYTES + count * size + 8) : place + 8] == salts:
        count += 1
    return count


def cut_log(_database: Path, log: Path, chance: random.Random) -> str:
    kept = chance.randrange(_WAL_HEADER_BYTES + _frames(log) * (_FRAME_HEADER_BYTES + PAGE_BYTES))
    with log.open("r+b") as file:
        file.truncate(kept)
    return f"the write-ahead log cut to {kept} bytes"


def remove_log(_database: Path, log: Path, _chance: random.Random) -> str:
    log.unlink()
    return "the write-ahead log removed"


def flip_in_log(_database: Path, log: Path, chance: random.Random) -> str:
    place = chance.randrange(_frames(log) * (_FRAME_HEADER_BYTES + PAGE_BYTES))
    with log.open("r+b") as file:
        file.seek(_WAL_HEADER_BYTES + place)
        (byte,) = file.read(1)
        file.seek(_WAL_HEADER_BYTES + place)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return f"a bit of the write-ahead log flipped at {place}"
