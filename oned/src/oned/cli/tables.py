"""Tables of objects, as OpenNebula's ``list`` commands print them.

Columns have a fixed size, are joined by one blank and cut to their size; on a terminal the
columns that may grow share what is left of its width.
"""

from __future__ import annotations

import csv
import functools
import io
import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from oned.cli.resource import CommandError

_FILTER = re.compile(r"([A-Za-z0-9_]+)\s*(!=|<=|>=|=|<|>|~)\s*(.*)")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_STATE_COLOURS = {"on": "green", "yes": "green", "off": "red", "no": "red", "error": "red"}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as written with ``--list``.
        description: for ``--describe``.
        size: width in characters.
        value: the text for one row.
        left: whether it is aligned to the left.
        grows: whether a value longer than the column pushes the rest instead of being cut.
        expands: whether the column takes what is left of the terminal's width.
        title: printed in the header, when it is not the name.
        coloured: whether on and off are shown in colour.
    """

    name: str
    description: str
    size: int
    value: Callable[[Any], str]
    left: bool = False
    grows: bool = False
    expands: bool = False
    title: str | None = None
    coloured: bool = False

    def cell(self, text: str, size: int) -> str:
        """``text`` in this column."""
        shown = text if self.grows else text[:size]
        return shown.ljust(size) if self.left else shown.rjust(size)


@dataclass(frozen=True)
class ListOptions:
    """What the options of a ``list`` command ask for; see ``list_options``."""

    columns: Sequence[str] = ()
    filters: Sequence[str] = ()
    any_filter: bool = False
    csv: bool = False
    csv_delimiter: str = ","
    header: bool = True
    pager: bool = True
    adjust: Sequence[str] = ()
    sizes: Sequence[str] = ()
    expand: Sequence[str] = ()
    no_expand: bool = False
    describe: bool = False
    delay_seconds: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns and which of them are shown unless others are asked for."""

    columns: Sequence[Column]
    default: Sequence[str] = field(default=())

    def chosen(self, names: Sequence[str]) -> list[Column]:
        """Columns by name, in that order."""
        known = {column.name: column for column in self.columns}
        wanted = names or self.default or list(known)
        for name in wanted:
            if name.upper() not in known:
                raise CommandError(f"Column {name} is not one of {', '.join(known)}.")
        return [known[name.upper()] for name in wanted]

    def show(self, rows: Callable[[], Iterable[Any]], options: ListOptions) -> None:
        """Print the rows, again and again when a delay is asked for (until interrupted)."""
        if options.describe:
            for column in self.columns:
                click.echo(f"{column.name:<15}: {column.description}")
            return
        while True:
            text = self.render(list(rows()), options, width=_terminal_width())
            if options.delay_seconds is None:
                _page(text, options)
                return
            click.clear()
            click.echo(text)
            time.sleep(options.delay_seconds)

    def render(
        self, rows: Sequence[Any], options: ListOptions = ListOptions(), *, width: int = 0
    ) -> str:
        """The table as text, without a newline at its end.

        Args:
            rows: objects that the columns' ``value`` understand.
            options: columns, filters and form.
            width: columns of the terminal; 0 when it is none.
        """
        columns = self.chosen(options.columns)
        rows = _filtered(rows, options, {column.name: column for column in self.columns})
        cells = [[column.value(row) for column in columns] for row in rows]
        titles = [column.title or column.name for column in columns]
        if options.csv:
            return _csv([titles, *cells] if options.header else cells, options.csv_delimiter)
        sizes = _sizes(columns, cells, options, width)
        lines = []
        if options.header:
            header = " ".join(
                column.cell(title[:size], size)
                for column, title, size in zip(columns, titles, sizes, strict=True)
            )
            lines.append(click.style(header, bold=True, underline=True) if width else header)
        for row in cells:
            parts = [
                _coloured(column.cell(text, size), column, colours=bool(width))
                for column, text, size in zip(columns, row, sizes, strict=True)
            ]
            lines.append(" ".join(parts).rstrip())
        return "\n".join(lines)


def list_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a ``list`` command: it gets them as ``options``, a ``ListOptions``."""

    @click.option("-l", "--list", "columns", metavar="x,y,z", help="Columns to display")
    @click.option(
        "-f",
        "--filter",
        "filters",
        metavar="x,y,z",
        help="Conditions on columns, for example NAME~one,STAT=on (=, !=, <, <=, >, >=, ~)",
    )
    @click.option(
        "--operator",
        "combination",
        type=click.Choice(["AND", "OR"], case_sensitive=False),
        default="AND",
        help="How conditions are combined",
    )
    @click.option("--csv", "as_csv", is_flag=True, help="Write the table in CSV format")
    @click.option("--csv-del", "delimiter", metavar="del", default=",", help="Delimiter of CSV")
    @click.option("--no-pager", is_flag=True, help="Disable pagination")
    @click.option("--no-header", is_flag=True, help="Hide the header of the table")
    @click.option("--adjust", metavar="x,y,z", help="Columns that are as wide as their content")
    @click.option("-s", "--size", "sizes", metavar="x=size,y=size", help="Sizes of columns")
    @click.option("--expand", metavar="x,y,z", help="Columns that take the rest of the width")
    @click.option("--no-expand", is_flag=True, help="Keep the columns' sizes")
    @click.option("--describe", is_flag=True, help="Describe the columns")
    @click.option(
        "-d",
        "--delay",
        type=click.FloatRange(min=0.1),
        metavar="seconds",
        help="List again after so many seconds, until interrupted",
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        columns: str | None,
        filters: str | None,
        combination: str,
        as_csv: bool,
        delimiter: str,
        no_pager: bool,
        no_header: bool,
        adjust: str | None,
        sizes: str | None,
        expand: str | None,
        no_expand: bool,
        describe: bool,
        delay: float | None,
        **kwargs: Any,
    ) -> Any:
        if len(delimiter) != 1:
            raise CommandError("The delimiter of CSV is one character.")
        options = ListOptions(
            columns=_words(columns),
            filters=_words(filters),
            any_filter=combination.upper() == "OR",
            csv=as_csv,
            csv_delimiter=delimiter,
            header=not no_header,
            pager=not no_pager,
            adjust=_words(adjust),
            sizes=_words(sizes),
            expand=_words(expand),
            no_expand=no_expand,
            describe=describe,
            delay_seconds=delay,
        )
        return function(*args, options=options, **kwargs)

    return wrapper


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _filtered(
    rows: Sequence[Any], options: ListOptions, columns: Mapping[str, Column]
) -> Sequence[Any]:
    conditions = []
    for text in options.filters:
        match = _FILTER.fullmatch(text)
        if not match or match[1].upper() not in columns:
            raise CommandError(
                f'The filter "{text}" is not COLUMN followed by one of = != < <= > >= ~ and a '
                f"value; columns are {', '.join(columns)}."
            )
        conditions.append((columns[match[1].upper()], match[2], match[3]))
    if not conditions:
        return rows
    combine = any if options.any_filter else all
    return [
        row
        for row in rows
        if combine(_holds(column.value(row), sign, wanted) for column, sign, wanted in conditions)
    ]


def _holds(value: str, sign: str, wanted: str) -> bool:
    """Numbers are compared as numbers, everything else as text; ``~`` is "contains"."""
    if sign == "~":
        return wanted in value
    compare = _COMPARISONS[sign]
    try:
        return compare(float(value), float(wanted))
    except ValueError:
        return compare(value.strip(), wanted)


def _sizes(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], options: ListOptions, width: int
) -> list[int]:
    sizes = [column.size for column in columns]
    given = dict(word.partition("=")[::2] for word in options.sizes)
    adjusted = {name.upper() for name in options.adjust}
    for at, column in enumerate(columns):
        text = next((size for name, size in given.items() if name.upper() == column.name), None)
        if text is not None:
            if not re.fullmatch(r"[1-9]\d{0,3}", text):
                raise CommandError(f'The size of {column.name} is a number, not "{text}".')
            sizes[at] = int(text)
        if column.name in adjusted:
            sizes[at] = max([len(column.title or column.name), *(len(row[at]) for row in cells)])
    asked = {name.upper() for name in options.expand}
    growing = [
        at
        for at, column in enumerate(columns)
        if (column.name in asked if asked else column.expands)
    ]
    rest = width - sum(sizes) - len(sizes) + 1
    if rest > 0 and growing and not options.no_expand:
        for position, at in enumerate(growing):
            sizes[at] += rest // len(growing) + (position < rest % len(growing))
    return sizes


def _csv(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    output = io.StringIO()
    csv.writer(output, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return output.getvalue().rstrip("\n")


def _coloured(text: str, column: Column, *, colours: bool) -> str:
    colour = _STATE_COLOURS.get(text.strip()) if column.coloured and colours else None
    return click.style(text, fg=colour) if colour else text


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _page(text: str, options: ListOptions) -> None:
    """Print, through $ONE_PAGER when it does not fit on the terminal."""
    if not text:
        return
    lines = text.count("\n") + 1
    fits = not sys.stdout.isatty() or lines < shutil.get_terminal_size().lines
    if fits or not options.pager or options.csv:
        click.echo(text)
        return
    pager = shlex.split(os.environ.get("ONE_PAGER") or "more")
    try:
        subprocess.run(pager, input=f"{text}\n", text=True, check=False)  # noqa: S603
    except OSError:
        click.echo(text)
