"""The smallest plan that still breaks the rule: faults are left out as long as it does."""

from __future__ import annotations

from dataclasses import replace

from proof.sim import faults
from proof.sim.run import Result, simulate
from proof.sim.trial import HOSTILE_SECONDS

RUNS_MAX = 200
"""A bound on the search; what has been left out by then stays out."""


def shrink(result: Result) -> tuple[Result, list[int]]:
    """A run with as few faults as can be found, and their numbers.

    Args:
        result: of the whole plan; it broke a rule.

    Returns:
        A run that broke the same rule, told in its notes. (After Zeller and Hildebrandt, 2002:
        ever smaller parts are left out, and stay out when the rule breaks without them.)
    """
    assert result.violation is not None
    kept = [fault.number for fault in faults.plan(result.seed, HOSTILE_SECONDS)]
    best, runs = result, 0
    size = max(1, len(kept) // 2)
    while runs < RUNS_MAX:
        smaller = False
        for start in range(0, len(kept), size):
            tried = kept[:start] + kept[start + size :]
            found = simulate(result.seed, keep=tried)
            runs += 1
            if found.violation is not None and found.violation.rule == result.violation.rule:
                best, kept, smaller = found, tried, True
                break
            if runs >= RUNS_MAX:
                break
        if not smaller:
            if size == 1:
                break
            size = max(1, size // 2)
    told = simulate(result.seed, keep=kept, notes=True)
    return replace(best, notes=told.notes), kept
