"""Where this runs: the machine, what its disk and CPUs are worth, and what else they are doing."""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import percentile
from proof.table import current_commit

ROOT = Path(__file__).resolve().parent.parent
_SYNCS = 500
_BLOCK = b"\xa5" * 4096


@dataclass(frozen=True, slots=True)
class Machine:
    """What stands above the tables."""

    commit: str
    cpu_model: str
    cpus: tuple[int, ...]
    cpus_there: int
    system: str
    sync_p50: float
    sync_p99: float
    filesystem: str
    busy_before: float

    def lines(self) -> list[str]:
        """A list for people."""
        used = ", ".join(map(str, self.cpus))
        return [
            f"- commit {self.commit}",
            f"- {self.cpu_model}, {self.cpus_there} CPUs",
            f"- servers and load generator together are pinned to {len(self.cpus)} CPUs ({used})",
            f"- {self.system}, CPython {platform.python_version()}{_build()}",
            f"- {self.filesystem}; 4 KiB appended and synced: p50 {self.sync_p50 * 1e6:.0f} µs,",
            f"  p99 {self.sync_p99 * 1e6:.0f} µs (fdatasync)",
            f"- before the run these CPUs were {100 * self.busy_before:.0f} % busy with other work",
            f"- {time.strftime('%Y-%m-%d')}",
        ]


def _build() -> str:
    """Whose interpreter it is, since the same version differs by a fifth in speed."""
    return " of the distribution" if sys.base_prefix == "/usr" else ", built on this machine"


def pin(count: int) -> tuple[int, ...]:
    """Keep this process, and all that it starts, on ``count`` CPUs, and return them."""
    cpus = tuple(sorted(os.sched_getaffinity(0))[:count])
    os.sched_setaffinity(0, cpus)
    return cpus


def describe(directory: Path, cpus: tuple[int, ...]) -> Machine:
    """Look at the machine; ``directory`` is where the databases will be."""
    p50, p99 = _measure_sync(directory)
    return Machine(
        commit=current_commit(),
        cpu_model=_cpu_model(),
        cpus=cpus,
        cpus_there=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.release()}",
        sync_p50=p50,
        sync_p99=p99,
        filesystem=_filesystem(directory),
        busy_before=_busy(cpus),
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    """Type of the file system that holds ``directory``."""
    path = directory.resolve()
    best = ("", "unknown file system")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _measure_sync(directory: Path) -> tuple[float, float]:
    """p50 and p99 in seconds of an append and its fdatasync."""
    path = directory / "sync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    took = []
    try:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            os.write(descriptor, _BLOCK)
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    took.sort()
    return percentile(took, 0.5), percentile(took, 0.99)


def _busy(cpus: tuple[int, ...], seconds: float = 1.0) -> float:
    """Share of their time for which ``cpus`` are busy, while nothing of ours runs."""

    def ticks() -> tuple[int, int]:
        idle = total = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *numbers = line.split()
            if name in {f"cpu{cpu}" for cpu in cpus}:
                values = [int(number) for number in numbers]
                idle += values[3] + values[4]
                total += sum(values[:8])
        return idle, total

    idle_before, total_before = ticks()
    time.sleep(seconds)
    idle, total = ticks()
    return 1.0 - (idle - idle_before) / max(1, total - total_before)
