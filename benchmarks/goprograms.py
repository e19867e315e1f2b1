"""Go programs that tests and benchmarks run, compiled once for each state of their sources.

A folder with a `go.mod` pins each of them; what is compiled stays in the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError

__all__ = ["GoProgram", "NotBuilt", "alone", "go"]

CACHE = Path(os.environ.get("ONEZONE_CACHE", Path.home() / ".cache" / "onezone")) / "go"
BUILD_SECONDS = 1200
SOURCES = ("go.mod", "go.sum", "main.go")


class NotBuilt(BenchmarkError):
    """The program cannot be had on this machine."""


def go() -> str | None:
    """The Go compiler, None where there is none."""
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time: test processes side by side need a program in the same moment."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class GoProgram:
    """One program.

    Attributes:
        name: of the file that is made.
        source: folder with `go.mod` and `go.sum`, and with `main.go` if the program is our own.
        package: what is compiled, by its import path.
    """

    name: str
    source: Path
    package: str = "."

    def binary(self) -> Path:
        """The program, compiled where it is not there yet: minutes, once.

        Raises:
            NotBuilt: there is no Go, or its modules cannot be had.
        """
        files = [path for name in SOURCES if (path := self.source / name).exists()]
        pinned = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
        path = CACHE / f"{self.name}-{pinned[:16]}"
        if path.exists():
            return path
        with alone(CACHE / f"{self.name}.lock"):
            if not path.exists():
                temporary = path.with_name(f".{path.name}")
                flags = ("-trimpath", "-ldflags=-s -w")
                self._go("build", *flags, "-o", str(temporary), self.package)
                temporary.replace(path)
        return path

    def module_folder(self, module: str) -> Path:
        """Where the files of a module are that this program is made of.

        Raises:
            NotBuilt: see `binary`.
        """
        return Path(self._go("list", "-m", "-f", "{{.Dir}}", module).strip())

    def _go(self, *words: str) -> str:
        compiler = go()
        if compiler is None:
            raise NotBuilt(f"there is no Go compiler to make {self.name} with")
        try:
            done = subprocess.run(
                [compiler, *words],
                cwd=self.source,
                env={**os.environ, "CGO_ENABLED": "0"},
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotBuilt(f"{self.name} was not made in {BUILD_SECONDS} seconds") from None
        if done.returncode:
            raise NotBuilt(f"go {words[0]} for {self.name} failed: {done.stderr.strip()[-500:]}")
        return done.stdout
