"""How long a follower takes that missed entries while it was down."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass

from benchmarks.measure import Generator
from benchmarks.plan import Plan, Results
from benchmarks.processes import wait_until
from benchmarks.systems.oned import Oned
from benchmarks.tables import Table

WRITERS = 128
WRITING_SECONDS = 600.0
CATCH_UP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _CatchUp:
    """Entries that were missing, and seconds until it answered and until it had them."""

    behind: int
    answers: float
    applied: float


def run(system: Oned, plan: Plan) -> Results:
    """Each of the plan's lags, one after the other, on one zone."""
    table = Table(
        "Catch-up of a follower that was down",
        ("entries behind", "until it answers s", "until it has applied all s", "entries/s"),
        "From the start of its process, which includes what Python takes to start. Nothing else is "
        "written meanwhile.",
    )
    results = Results([table])
    for lag in plan.lags:
        found = _catch_up(system, lag)
        table.add(
            f"{found.behind:,}",
            f"{found.answers:.1f}",
            f"{found.applied:.1f}",
            f"{found.behind / found.applied:,.0f}",
        )
        results.values[f"catch-up {lag}"] = found.applied
        system.restart()
    return results


def _catch_up(system: Oned, lag: int) -> _CatchUp:
    leader = system.leader()
    follower = next(name for name in system.listed() if name != leader)
    before = _applied(system, follower)
    system.kill(follower, signal.SIGKILL)
    wait_until(lambda: system.has_ended(follower), "ended")
    Generator(system.writes(leader, WRITERS), seconds=WRITING_SECONDS, most=lag).outcome()
    target = _applied(system, leader)
    started = time.monotonic()
    system.start_one(follower)
    wait_until(lambda: system.status(follower) is not None, "answering")
    answers = time.monotonic() - started
    wait_until(lambda: _applied(system, follower) >= target, "caught up", CATCH_UP_SECONDS)
    return _CatchUp(target - before, answers, time.monotonic() - started)


def _applied(system: Oned, server: str) -> int:
    status = system.status(server)
    return int(status["applied"]) if status else 0
