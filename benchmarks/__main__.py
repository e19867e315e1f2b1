"""Speed and cost of oned beside etcd, dqlite and PySyncObj, on this machine.

All systems run one after the other in one run, on the same CPUs and the same disk, loaded by the
same generator. A system that is not installed is named with the command that installs it. Whether
targets are met does not change the exit code.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine, targets
from benchmarks.plan import FULL, QUICK
from benchmarks.processes import BenchmarkError
from benchmarks.run import WORKLOADS, all_systems, run
from proof.table import EXPLANATION, write_between_marks

PAGE = EXPLANATION / "benchmarks.md"
CPUS = 2


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME,NAME", help=f"only these workloads of: {', '.join(WORKLOADS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a look of minutes, not a result")
    parser.add_argument("--cpus", type=int, default=CPUS, help="CPUs for all of it: %(default)s")
    parser.add_argument(
        "--dir", type=Path, help="where databases are made; its disk is what is measured"
    )
    parser.add_argument(
        "--write-table", action="store_true", help="put the tables into the documentation, too"
    )
    return parser


def main() -> None:
    """Run what is asked for and print the tables."""
    parser = arguments()
    asked = parser.parse_args()
    only = set(asked.only.split(",")) if asked.only else set(WORKLOADS)
    if unknown := only - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if asked.write_table and (asked.quick or only != set(WORKLOADS)):
        parser.error("only a whole run belongs into the documentation")
    started = time.monotonic()
    cpus = machine.pin(asked.cpus)
    systems = all_systems()
    with tempfile.TemporaryDirectory(prefix="oned-benchmarks-", dir=asked.dir) as name:
        directory = Path(name)
        found = machine.describe(directory, cpus)
        results = run(systems, QUICK if asked.quick else FULL, only, directory)
    judged, met, missed = targets.judge(results.values)
    text = "\n\n".join(["\n".join(found.lines()), *map(str, [judged, *results.tables])]) + "\n"
    print(text)
    if asked.write_table:
        write_between_marks(PAGE, f"\n{text}")
    minutes = (time.monotonic() - started) / 60
    print(
        f"benchmarks: {met} targets met, {len(missed)} missed"
        f"{': ' if missed else ''}{'; '.join(missed)} ({minutes:.0f} minutes)"
    )


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f"benchmarks: {error}")
