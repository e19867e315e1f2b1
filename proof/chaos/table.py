"""The table in docs/explanation/chaos.md, between its two marks."""

from __future__ import annotations

from proof.table import EXPLANATION, today, write_between_marks

PAGE = EXPLANATION / "chaos.md"
HEAD = (
    "| date | commit | servers | seed | s | acknowledged | failed | unknown | faults | healed in"
    " | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def write_table(commit: str, rows: list[list[str]]) -> None:
    """Put these rows in place of the last run's."""
    lines = [HEAD, *(f"| {' | '.join([today(), commit, *row])} |" for row in rows)]
    write_between_marks(PAGE, "\n".join(lines))
