"""The table in docs/explanation/mutants.md, between its two marks."""

from __future__ import annotations

from proof.mutants.catalogue import MUTANTS
from proof.mutants.runner import Report
from proof.table import EXPLANATION, today, write_between_marks

PAGE = EXPLANATION / "mutants.md"
HEAD = (
    "| mutant | defect | promise that it breaks | found by the rule | after seeds |\n"
    "|---|---|---|---|---|"
)


def write(commit: str, report: Report) -> None:
    """Put this run in place of the last one."""
    trials = {trial.name: trial for trial in report.trials}
    rows = []
    for mutant in MUTANTS:
        trial = trials[mutant.name]
        found = trial.rule or "**not found**"
        rows.append(
            f"| {mutant.name} | {mutant.defect} | {mutant.breaks} | {found} | {trial.seeds} |"
        )
    summary = f"{today()}, commit {commit}. {report.line()}"
    write_between_marks(PAGE, "\n".join(["", summary, "", HEAD, *rows, ""]))
