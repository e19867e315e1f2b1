"""Tables in docs/explanation that a run writes: between two marks, with date and commit."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPLANATION = ROOT / "docs/explanation"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def current_commit() -> str:
    """The source that is about to run; with ``-dirty`` when it is no commit's.

    Pages that hold tables are no source: one run after the other writes them.
    """
    commit = _git("describe", "--always") or "unknown"
    changed = _git("status", "--porcelain", "--", ".", f":!{EXPLANATION.relative_to(ROOT)}")
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def write_between_marks(page: Path, body: str) -> None:
    """Put ``body`` in place of what stands between the page's marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")
