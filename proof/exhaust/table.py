"""The table in docs/explanation/exhaustive-search.md."""

from __future__ import annotations

from proof.exhaust.search import Found
from proof.table import EXPLANATION, today, write_between_marks

PAGE = EXPLANATION / "exhaustive-search.md"
HEAD = (
    "| date | commit | search | bounds | states | transitions | depth | s | extent | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def row(found: Found) -> list[str]:
    return [
        found.bounds.name,
        found.bounds.told(),
        f"{found.states:,}",
        f"{found.transitions:,}",
        str(found.depth),
        f"{found.seconds:.0f}",
        found.extent,
        found.verdict,
    ]


def write_table(commit: str, found: list[Found]) -> None:
    """Put this run's numbers in place of the last one's."""
    lines = [HEAD]
    lines += [f"| {' | '.join([today(), commit, *row(each)])} |" for each in found]
    states = f"{sum(each.states for each in found):,}"
    transitions = f"{sum(each.transitions for each in found):,}"
    verdict = "pass" if all(each.wrong is None for each in found) else "FAIL"
    lines.append(f"| | | together | | {states} | {transitions} | | | | {verdict} |")
    write_between_marks(PAGE, "\n".join(lines))
