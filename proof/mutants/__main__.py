"""``python -m proof.mutants``: put each fault into the source; the simulator must find it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from proof.mutants import table
from proof.mutants.catalogue import MUTANTS, named
from proof.mutants.mutant import mutated_sources
from proof.mutants.runner import SEEDS, run
from proof.table import current_commit


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proof.mutants", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="names and promises, then stop")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="for each, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--write-table", action="store_true", help="into docs/explanation")
    given = parser.parse_args()
    if given.list:
        for mutant in MUTANTS:
            _say(f"{mutant.name:48} {mutant.defect:4} {mutant.breaks}")
        return 0
    try:
        mutants = tuple(named(name) for name in given.only) or MUTANTS
    except KeyError as error:
        parser.error(f"no such mutant: {error.args[0]}; --list tells them")
    for mutant in mutants:
        mutated_sources(mutant)  # one that does not apply must not pass for one that is found
    commit = current_commit()
    report = asyncio.run(run(mutants, seeds=given.seeds, jobs=given.jobs, say=_say))
    if given.write_table:
        if given.only or not report.trials:
            parser.error("--write-table takes all mutants")
        table.write(commit, report)
    for trial in report.trials:
        if not trial.rule:
            _say(f"again: python -m proof.mutants --only {trial.name} --seeds {given.seeds}")
    _say(report.line())
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
