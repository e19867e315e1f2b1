"""The table in docs/explanation/chaos.md, between its two marks."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/chaos.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = (
    "| date | commit | servers | seed | s | acknowledged | failed | unknown | faults | healed in"
    " | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def current_commit() -> str:
    """The source that is about to run; with ``-dirty`` when it is no commit's."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def write_table(commit: str, rows: list[list[str]]) -> None:
    """Put these rows in place of the last run's."""
    today = datetime.now(UTC).date().isoformat()
    lines = [HEAD, *(f"| {' | '.join([today, commit, *row])} |" for row in rows)]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")
