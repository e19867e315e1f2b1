"""All trials, a few at a time: which mutant is found, by which rule, after how many seeds."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proof.mutants.mutant import Mutant
from proof.mutants.trial import CONTROL

SEEDS = 300
"""Within so many seeds every mutant must be found."""

FIRST_CONTROL_SEEDS = 10
"""Seeds that the shipped source must pass before any mutant is tried."""

SEED_SECONDS = 120.0
"""A seed that takes longer hangs: a hundred times what one takes on a busy machine."""

STDERR_LINES = 5
TEXT_CHARACTERS = 120
"""Of what was seen, in a run's output."""

LINE_BYTES = 1 << 20
ROOT = Path(__file__).parents[2]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one.

    Attributes:
        name: of the mutant, or ``control``.
        seeds: how many were run, the one that broke a rule included.
        rule: what was broken; ``hang`` and ``crash`` are told of the process; empty when nothing.
        text: what was seen.
    """

    name: str
    seeds: int
    rule: str
    text: str
    seconds: float

    def line(self) -> str:
        verdict = f"breaks '{self.rule}'" if self.rule else "breaks no rule"
        seen = self.text.partition("\n")[0][:TEXT_CHARACTERS]
        return f"{self.name}: {verdict} after {self.seeds} seeds ({self.seconds:.0f} s) {seen}"


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    trials: tuple[Trial, ...]
    control: tuple[Trial, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return all(t.rule for t in self.trials) and not any(t.rule for t in self.control)

    @property
    def control_seeds(self) -> int:
        return sum(trial.seeds for trial in self.control)

    def line(self) -> str:
        killed = [trial for trial in self.trials if trial.rule]
        hardest = max(killed, key=lambda trial: trial.seeds, default=None)
        told = f", hardest {hardest.name} after {hardest.seeds} seeds" if hardest else ""
        total = sum(trial.seeds for trial in self.trials)
        wrong = sum(1 for trial in self.control if trial.rule)
        return (
            f"mutants: {len(killed)} of {len(self.trials)} killed{told}, {total} seeds in all;"
            f" control: {self.control_seeds} seeds, {wrong} violations;"
            f" {self.seconds:.0f} s: {'pass' if self.passed else 'FAIL'}"
        )


async def attempt(name: str, first: int, end: int) -> Trial:
    """Run seeds ``first`` … ``end - 1`` in a process of their own until one breaks a rule."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proof.mutants.trial", name, str(first), str(end)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    seeds, rule, text = 0, "", ""
    try:
        while not rule and seeds < end - first:
            async with asyncio.timeout(SEED_SECONDS):
                line = await process.stdout.readline()
            seeds += 1
            if not line:
                rule = "crash"
                break
            told = json.loads(line)
            rule, text = str(told["rule"]), str(told["text"])
    except TimeoutError:
        seeds, rule, text = seeds + 1, "hang", f"more than {SEED_SECONDS:.0f} s"
    finally:
        if process.returncode is None and rule != "crash":
            process.kill()
        await process.wait()
    if rule == "crash":
        text = " ".join((await said).decode(errors="replace").splitlines()[-STDERR_LINES:])
    await said
    return Trial(name, seeds, rule, text, time.monotonic() - started)


async def _all(
    work: Sequence[tuple[str, int, int]], jobs: int, say: Say, total: int
) -> list[Trial]:
    """Trials in the order of ``work``, at most ``jobs`` at a time; each is told when it ends."""
    free = asyncio.Semaphore(jobs)
    ended = 0

    async def one(name: str, first: int, end: int) -> Trial:
        nonlocal ended
        async with free:
            trial = await attempt(name, first, end)
        ended += 1
        say(f"{ended:3d}/{total} {trial.line()}")
        return trial

    return list(await asyncio.gather(*(one(*item) for item in work)))


async def run(mutants: Sequence[Mutant], *, seeds: int, jobs: int, say: Say) -> Report:
    """Try all, and the shipped source on every seed that any of them needed.

    A mutant that is found on a seed which the shipped source fails, too, would prove nothing.
    """
    started = time.monotonic()
    control = [await attempt(CONTROL, 0, FIRST_CONTROL_SEEDS)]
    trials: list[Trial] = []
    if not control[0].rule:
        work = [(mutant.name, 0, seeds) for mutant in mutants]
        trials = await _all(work, jobs, say, len(work))
        needed = max((trial.seeds for trial in trials if trial.rule), default=0)
        step = max(1, -(-(needed - FIRST_CONTROL_SEEDS) // jobs))
        parts = range(FIRST_CONTROL_SEEDS, needed, step)
        work = [(CONTROL, first, min(first + step, needed)) for first in parts]
        control += await _all(work, jobs, say, len(work))
    else:
        say(control[0].line())
    return Report(tuple(trials), tuple(control), time.monotonic() - started)
