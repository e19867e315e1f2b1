"""Several searches at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from proof.exhaust import trace
from proof.exhaust.bounds import Bounds
from proof.exhaust.search import Found, Search

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
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        return list(pool.map(run, work))
