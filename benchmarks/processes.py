"""Processes of the systems under test: started, ended, and what they cost according to /proc."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
POLL_SECONDS = 0.02

_PORTS = iter(random.SystemRandom().sample(range(10_000, 20_000), 10_000))
"""Below those that the kernel takes for outgoing connections, one of which would now and then be
first. Each is given once: a process that is only just starting does not have its own yet."""


class BenchmarkError(Exception):
    """A system did not do what it must before it can be measured."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time, user and system, that these processes have used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def has_ended(pid: int) -> bool:
    """Whether a process is gone or dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return True
    return state in (b"Z", b"X")


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports of an address of this machine that nobody has."""
    return list(itertools.islice((port for port in _PORTS if _is_free(address, port)), count))


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return once ``condition`` holds.

    Raises:
        BenchmarkError: not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not {what} after {seconds:g} seconds")
        time.sleep(POLL_SECONDS)


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process to end; kill it if it takes longer than so many seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Child:
    """One process with a log file, which can be started again."""

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command, self._log = list(command), log
        self._environment = os.environ | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._log.parent,
            )

    def kill(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def end(self) -> None:
        """Kill it if it runs."""
        if self._process is not None and not self.has_ended():
            self._process.kill()
            self._process.wait()
