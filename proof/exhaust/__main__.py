"""``python -m proof.exhaust``: every reachable state of small zones."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from dataclasses import fields, replace

from proof.exhaust import trace
from proof.exhaust.bounds import Bounds
from proof.exhaust.configurations import DEFAULT, LONG
from proof.exhaust.search import Found, Search
from proof.exhaust.starts import STARTS
from proof.exhaust.table import write_table
from proof.table import current_commit

PROCESSES_MAX = 2
"""Searches at once: each is one process, and needs some gigabytes."""


def say(text: str) -> None:
    print(text, flush=True)


def run(task: tuple[Bounds, int]) -> Found:
    """One search, in a process of its own; the way to a violation is printed here."""
    bounds, states_max = task
    search = Search(bounds, states_max=states_max, say=say)
    found = search.run()
    if found.wrong is not None:
        say("\n".join(trace.lines(search.space, found)))
        found.moves = []
    say(found.line())
    return found


def run_all(tasks: list[Bounds], states_max: int) -> list[Found]:
    """All searches, the first ones first, as many at once as there are cores."""
    processes = min(PROCESSES_MAX, os.cpu_count() or 1, len(tasks))
    work = [(bounds, states_max) for bounds in tasks]
    if processes <= 1:
        return [run(task) for task in work]
    # A process a search: its memory goes back when it ends.
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, maxtasksperchild=1) as pool:
        return pool.map(run, work, chunksize=1)


def summary(found: list[Found], seconds: float) -> str:
    """All searches in one line."""
    wrong = sum(each.wrong is not None for each in found)
    cut = sum(not each.complete and each.wrong is None for each in found)
    extent = "all complete" if not wrong + cut else f"{cut} cut at --max-states"
    return (
        f"exhaust: {len(found)} searches: {sum(each.states for each in found):,} distinct states,"
        f" {sum(each.transitions for each in found):,} transitions,"
        f" depth up to {max(each.depth for each in found)}, {wrong} violations,"
        f" {extent} in {seconds:.0f} s: {'FAIL' if wrong else 'pass'}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proof.exhaust", description=__doc__)
    default = DEFAULT[0]
    for field in fields(Bounds):
        name, value = f"--{field.name}", getattr(default, field.name)
        if field.name == "name":
            continue
        if field.name == "start":
            parser.add_argument(name, choices=sorted(STARTS), default=None, help=f"({value})")
        elif field.name == "batches":
            parser.add_argument(name, action="store_true", default=None)
        else:
            parser.add_argument(name, type=int, default=None, help=f"at most ({value}); -1: any")
    names = [bounds.name for bounds in (*DEFAULT, *LONG)]
    parser.add_argument("--only", nargs="+", choices=names, help="searches of the list, by name")
    parser.add_argument("--long", action="store_true", help="the long list of searches")
    parser.add_argument("--list", action="store_true", help="print the searches and their bounds")
    parser.add_argument(
        "--max-states", type=int, default=1 << 62, help="give up on a search beyond so many"
    )
    parser.add_argument("--write-table", action="store_true", help="into docs/explanation")
    return parser.parse_args()


def chosen(given: argparse.Namespace) -> list[Bounds]:
    """The searches that the command line asks for: its own one, some by name, or a list."""
    own = {
        field.name: getattr(given, field.name)
        for field in fields(Bounds)
        if field.name != "name" and getattr(given, field.name) is not None
    }
    if own:
        return [replace(DEFAULT[0], name="zone", **own)]
    if given.only:
        return [bounds for bounds in (*DEFAULT, *LONG) if bounds.name in given.only]
    return [*DEFAULT, *LONG] if given.long else list(DEFAULT)


def main() -> int:
    given = _arguments()
    tasks = chosen(given)
    if given.list:
        for bounds in tasks:
            say(f"{bounds.name}: {bounds.told()}")
        return 0
    commit, started = current_commit(), time.monotonic()
    found = run_all(tasks, given.max_states)
    seconds = time.monotonic() - started
    if len(found) > 1:
        say(summary(found, seconds))
    if given.write_table:
        write_table(commit, found)
    return 1 if any(each.wrong for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
