"""``python -m proof.exhaust``: every reachable state of small zones."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields, replace

from proof.exhaust.bounds import Bounds
from proof.exhaust.configurations import DEFAULT, LONG
from proof.exhaust.runs import run_all
from proof.exhaust.search import Found
from proof.exhaust.starts import STARTS
from proof.exhaust.table import write_table
from proof.table import current_commit


def say(text: str) -> None:
    print(text, flush=True)


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
    default = Bounds()
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
        return [replace(Bounds(), **own)]
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
        write_table(commit, found, [bounds.name for bounds in (*DEFAULT, *LONG)])
    return 1 if any(each.wrong for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
