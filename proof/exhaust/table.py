"""The table in docs/explanation/exhaustive-search.md: a row for each search, of its latest run."""

from __future__ import annotations

from proof.exhaust.search import Found
from proof.table import BEGIN, END, EXPLANATION, today, write_between_marks

PAGE = EXPLANATION / "exhaustive-search.md"
HEAD = (
    "| search | date | commit | bounds | states | transitions | depth | s | extent | verdict |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
STATES, TRANSITIONS = 4, 5
"""Columns that are added up."""


def row(commit: str, found: Found) -> list[str]:
    return [
        found.bounds.name,
        today(),
        commit,
        found.bounds.told(),
        f"{found.states:,}",
        f"{found.transitions:,}",
        str(found.depth),
        f"{found.seconds:.0f}",
        found.extent,
        found.verdict,
    ]


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows that a page has, by search."""
    _, _, rest = text.partition(BEGIN)
    table, _, _ = rest.partition(END)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {found[0]: found for found in cells[3:] if found[0] != "together"}


def table(rows: list[list[str]]) -> str:
    """The whole table, with a sum."""
    states, transitions = (
        f"{sum(int(found[column].replace(',', '')) for found in rows):,}"
        for column in (STATES, TRANSITIONS)
    )
    together = ["together", "", "", "", states, transitions, "", "", "", ""]
    return "\n".join([HEAD, *(f"| {' | '.join(found)} |" for found in [*rows, together])])


def write_table(commit: str, found: list[Found], names: list[str]) -> None:
    """Put this run's numbers in place of these searches' last ones; others keep theirs.

    Rows stand in the order of ``names``; a search that is not one of them has no row.
    """
    rows = rows_of(PAGE.read_text(encoding="utf-8"))
    rows |= {each.bounds.name: row(commit, each) for each in found}
    write_between_marks(PAGE, table([rows[name] for name in names if name in rows]))
