"""Every scenario replays to the transcript in its file, and the page that lists them is whole.

``REWRITE=1 pytest oned/tests/raft/test_scenarios.py`` writes the transcripts and the page anew;
the difference is then for a reader to judge.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from scenario import replay

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "scenarios.md"
TABLE = "| scenario | promise | source |"
REWRITE = os.environ.get("REWRITE") == "1"


def header(path: Path) -> tuple[str, str]:
    """The promise (the first line) and the source of a scenario."""
    text = path.read_text(encoding="utf-8")
    source = re.search(r"^# source: (.+)$", text, re.MULTILINE)
    assert text.startswith("# "), f"{path.name} says no promise"
    assert source, f"{path.name} says no source"
    return text.splitlines()[0][2:], source[1]


def table() -> str:
    rows = [TABLE, "|---|---|---|"]
    for path in SCENARIOS:
        promise, source = header(path)
        link = f"../../oned/tests/raft/scenarios/{path.name}"
        rows.append(f"| [{path.stem}]({link}) | {promise} | {source} |")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_scenario_replays_to_its_transcript(path):
    expected = path.read_text(encoding="utf-8")
    seen = replay(expected)
    if REWRITE:
        path.write_text(seen, encoding="utf-8")
    else:
        assert seen == expected


def test_page_lists_every_scenario():
    before, _, _ = PAGE.read_text(encoding="utf-8").partition(TABLE)
    if REWRITE:
        PAGE.write_text(before + table(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == before + table()
