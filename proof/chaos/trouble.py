"""Disk and clock trouble inside a server's process, by a library loaded before libc."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import astuple, dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("trouble.c")
_LAYOUT = struct.Struct("=5q")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What ``trouble.c`` does to a server.

    Attributes:
        slow_ms: added to every sync.
        full: nothing can be written.
        broken: a sync fails.
        ahead_seconds: of the wall clock; negative for behind.
        stuck: a sync does not return before this is over.
    """

    slow_ms: int = 0
    full: bool = False
    broken: bool = False
    ahead_seconds: int = 0
    stuck: bool = False


class Machine:
    """The machine under one server, as the server sees it."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._library = library
        self._path = directory / "trouble"
        self._path.write_bytes(bytes(_LAYOUT.size))
        with self._path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _LAYOUT.size)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CHAOS_TROUBLE": str(self._path)}

    def suffer(self, trouble: Trouble) -> None:
        self._shared[:] = _LAYOUT.pack(*(int(word) for word in astuple(trouble)))


def build(directory: Path) -> Path | None:
    """The library; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = directory / "trouble.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True
    )
    return library
