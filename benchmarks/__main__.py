"""``python -m benchmarks``: speed and cost beside etcd, dqlite and PySyncObj, on this machine.

All systems run one after the other in one run, on the same CPUs and the same disk, loaded by the
same generator. A system that is not installed is named with the command that installs it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import machine
from benchmarks.plan import FULL, QUICK, Plan, Results
from benchmarks.processes import BenchmarkError
from benchmarks.systems.dqlite import Dqlite
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.oned import Oned
from benchmarks.systems.pysyncobj import PySyncObj
from benchmarks.systems.system import System
from benchmarks.workloads import reads, writes

SYSTEMS: tuple[Callable[[], System], ...] = (
    Oned,
    lambda: Etcd(grpc=True),
    lambda: Etcd(grpc=False),
    Dqlite,
    lambda: PySyncObj(tuned=False),
    lambda: PySyncObj(tuned=True),
)
WORKLOADS = ("writes", "reads")
CPUS = 2


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _side_by_side(systems: list[System], plan: Plan, only: set[str], directory: Path) -> Results:
    """Writes and reads of every system that is installed."""
    absent = {system: f"not installed: {hint}" for system in systems if (hint := system.missing())}
    written, read = {}, {}
    for number, system in enumerate(systems):
        if system in absent:
            continue
        try:
            _say(f"{system.name}: starting three servers")
            system.start(directory / f"side-by-side-{number}")
            if "writes" in only:
                _say(f"{system.name}: writes")
                written[system] = writes.run(system, plan)
            if "reads" in only:
                _say(f"{system.name}: reads")
                read[system] = reads.run(system, plan)
        except BenchmarkError as error:
            _say(f"{system.name}: {error}")
            absent[system] = f"failed: {error}"
        finally:
            system.stop()
    results = Results()
    if "writes" in only:
        results += writes.tables(written, absent, plan)
    if "reads" in only:
        results += reads.tables(read, absent)
    return results


def main() -> None:
    """Run what is asked for and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(WORKLOADS), help="of: %(default)s")
    parser.add_argument("--quick", action="store_true", help="a look, not a result")
    parser.add_argument("--dir", type=Path, help="where the databases are made; default: a new one")
    asked = parser.parse_args()
    only = set(asked.only.split(","))
    if unknown := only - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    plan = QUICK if asked.quick else FULL
    cpus = machine.pin(CPUS)
    with tempfile.TemporaryDirectory(prefix="oned-bench-", dir=asked.dir) as name:
        directory = Path(name)
        found = machine.describe(directory, cpus)
        results = _side_by_side([make() for make in SYSTEMS], plan, only, directory)
    print("\n".join(found.lines()), end="\n\n")
    print("\n\n".join(map(str, results.tables)))


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f"benchmarks: {error}")
