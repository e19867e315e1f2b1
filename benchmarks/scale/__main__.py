"""``make bench-operator``: prints the table, and which goals are missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.processes import BenchmarkError
from benchmarks.scale import apiserver, bench
from proof.table import EXPLANATION, write_between_marks

PAGE = EXPLANATION / "operator-scale.md"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--zones", type=int, default=bench.Plan().zones, help="default: %(default)s"
    )
    parser.add_argument("--idle-seconds", type=float, default=bench.Plan().idle_seconds)
    parser.add_argument("--cpus", type=int, default=2, help="CPUs for all of it: %(default)s")
    parser.add_argument(
        "--write-table", action="store_true", help="put the table into the documentation, too"
    )
    asked = parser.parse_args()
    if reason := apiserver.missing():
        raise BenchmarkError(reason)
    started = time.monotonic()
    cpus = machine.pin(asked.cpus)
    with tempfile.TemporaryDirectory() as name:
        found = machine.describe(Path(name), cpus)
    plan = bench.Plan(zones=asked.zones, idle_seconds=asked.idle_seconds)
    table, missed = bench.tables(asyncio.run(bench.measure(plan)))
    text = "\n\n".join(["\n".join(found.lines()), str(table)]) + "\n"
    print(text)
    if asked.write_table:
        write_between_marks(PAGE, f"\n{text}")
    minutes = (time.monotonic() - started) / 60
    print(f"bench-operator: {', '.join(missed) or 'nothing'} missed ({minutes:.0f} minutes)")


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f"bench-operator: {error}")
