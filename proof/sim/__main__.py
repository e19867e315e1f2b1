"""``python -m proof.sim``: thousands of seeds, or one of them told in full."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator

from proof.sim import exams, faults
from proof.sim.run import Result, simulate
from proof.sim.shrink import shrink
from proof.sim.table import Totals, write_table
from proof.table import current_commit

PROGRESS_EVERY = 200


def main() -> int:
    """Run the command; 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m proof.sim", description=__doc__)
    parser.add_argument("--seeds", default="0:2000", help="A:B, from A up to but without B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--keep", default=None, help="with one seed: only these faults of its plan")
    parser.add_argument("--trace", action="store_true", help="with one seed: tell what happens")
    parser.add_argument("--hashes", action="store_true", help="print a line a seed: its trace hash")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first fault")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a smaller plan")
    parser.add_argument("--write-table", action="store_true", help="into docs/explanation")
    given = parser.parse_args()
    first, _, end = given.seeds.partition(":")
    seeds = range(int(first), int(end) if end else int(first) + 1)
    if len(seeds) == 1 and (given.trace or given.keep is not None):
        return _tell(seeds[0], _numbers(given.keep), trace=given.trace)
    commit = current_commit()
    totals = Totals()
    started = time.monotonic()
    for result in _results(seeds, given.jobs):
        totals.add(result)
        if given.hashes:
            print(f"{result.seed} {result.trace:08x}")
        elif totals.seeds % PROGRESS_EVERY == 0:
            print(totals.progress(len(seeds), time.monotonic() - started), flush=True)
        if result.violation is not None:
            _report(result, small=not given.no_shrink)
            if not given.keep_going:
                break
    lacking = totals.lacking(set(faults.KINDS), set(exams.EXAMS))
    if not given.hashes:
        print("\n".join([*lacking, totals.line(seeds, time.monotonic() - started)]))
    if given.write_table:
        write_table(commit, totals, seeds, time.monotonic() - started)
    return 1 if totals.violations or lacking else 0


def _results(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=4)


def _numbers(text: str | None) -> list[int] | None:
    return None if text is None else [int(word) for word in text.split(",") if word]


def _tell(seed: int, keep: list[int] | None, *, trace: bool) -> int:
    result = simulate(seed, keep=keep, verbose=trace)
    print("\n".join(result.notes))
    print(f"seed {seed}: {result.violation or 'pass'}; trace {result.trace:08x}")
    return 1 if result.violation is not None else 0


def _report(result: Result, *, small: bool) -> None:
    """A violation, the faults that it takes, and the command that shows it again."""
    print(f"seed {result.seed}: {result.violation}")
    command = f"python -m proof.sim --seeds {result.seed} --trace"
    if small:
        shrunk, kept = shrink(result)
        command += f" --keep {','.join(str(number) for number in kept)}"
        print(f"with {len(kept)} faults: {shrunk.violation}")
        print("\n".join(shrunk.notes))
    print(f"again: {command}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
