"""What many seeds came to: the summary line, and the page that keeps it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from proof.linearizability import Outcome
from proof.sim.run import Result
from proof.table import EXPLANATION, today, write_between_marks

PAGE = EXPLANATION / "simulator.md"
HOUR = 3600.0
COVERED_FROM = 400
"""From so many seeds on, every fault and every exam must have come."""


@dataclass(slots=True)
class Totals:
    """Sums over seeds."""

    seeds: int = 0
    violations: list[Result] = field(default_factory=list)
    simulated_seconds: float = 0.0
    events: int = 0
    entries: int = 0
    calls: Counter[Outcome] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    exams: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one seed in."""
        self.seeds += 1
        self.simulated_seconds += result.simulated_seconds
        self.events += result.events
        self.entries += result.entries
        self.calls += result.calls
        self.faults += result.faults
        self.exams.update(result.exams)
        if result.violation is not None:
            self.violations.append(result)

    def lacking(self, faults: set[str], exams: set[str]) -> list[str]:
        """Faults and exams that never came, where there were seeds enough for all."""
        if self.seeds < COVERED_FROM:
            return []
        came = set(self.faults) | set(self.exams)
        return [f"never came: {name}" for name in sorted((faults | exams) - came)]

    def progress(self, of: int, seconds: float) -> str:
        """A line while it runs."""
        return (
            f"sim: {self.seeds} of {of} seeds in {seconds:.0f} s,"
            f" {self.simulated_seconds / HOUR:.2f} simulated hours,"
            f" {len(self.violations)} violations"
        )

    def line(self, seeds: range, seconds: float) -> str:
        """The summary."""
        verdict = "pass" if not self.violations else f"FAIL ({len(self.violations)})"
        return (
            f"sim: seeds {seeds.start}:{seeds.stop}, {self.simulated_seconds / HOUR:.2f} simulated"
            f" hours in {seconds:.0f} s, {self.events:,} events, {self.faults.total():,}"
            f" faults of {len(self.faults)} kinds, {self.calls.total():,} calls,"
            f" {self.entries:,} entries,"
            f" {len(self.violations)} violations: {verdict}"
        )


def write_table(commit: str, totals: Totals, seeds: range, seconds: float) -> None:
    """Put this run in place of the last one's."""
    rows = [
        ("date", today()),
        ("commit", commit),
        ("seeds", f"{seeds.start}:{seeds.stop}"),
        ("simulated time", f"{totals.simulated_seconds / HOUR:.2f} hours"),
        ("took", f"{seconds:.0f} s"),
        ("events", f"{totals.events:,}"),
        ("log entries committed", f"{totals.entries:,}"),
        *((f"calls told {o.value}", f"{totals.calls[o]:,}") for o in Outcome),
        ("faults", ", ".join(f"{name} {n:,}" for name, n in sorted(totals.faults.items()))),
        ("exams", ", ".join(f"{name} {n:,}" for name, n in sorted(totals.exams.items()))),
        ("violations", str(len(totals.violations))),
    ]
    lines = ["| what | how much |", "|---|---|", *(f"| {what} | {much} |" for what, much in rows)]
    write_between_marks(PAGE, "\n".join(lines))
