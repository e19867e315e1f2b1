"""One API call's change: SQL statements with parameters, as they stand in the log.

Statements use ``?`` for parameters and must be deterministic: values are bound on
the leader, no NOW(), no RANDOM(), nothing that depends on the order of rows. They
are portable between the databases that we support.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

Value: TypeAlias = str | int | None
Row: TypeAlias = tuple[Value, ...]

FORMAT = 1
"""Version of the encoding, first element of every encoded change."""


class Reader(Protocol):
    """Reads of this server's own tables, all of them at one point of the log."""

    def rows(self, sql: str, parameters: tuple[Value, ...] = ()) -> list[Row]:
        """All rows of a SELECT with ``?`` parameters."""
        ...


class Statement(NamedTuple):
    """One SQL statement with its parameters."""

    sql: str
    parameters: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """The statements of one call, applied in one transaction or not at all."""

    statements: tuple[Statement, ...] = ()

    def __add__(self, other: Change) -> Change:
        return Change(self.statements + other.statements)


def encode(change: Change) -> bytes:
    """The change as JSON text: ``[1,[["INSERT …",["a",1]],…]]``; readable in the log."""
    return msgspec.json.encode((FORMAT, change.statements))


_DECODER = msgspec.json.Decoder(tuple[int, tuple[Statement, ...]])


def decode(data: bytes) -> Change:
    """The change in a log entry.

    Raises:
        ValueError: the data is no change, or one of a newer format.
    """
    try:
        version, statements = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a change: {error}") from error
    if version != FORMAT:
        raise ValueError(f"change of format {version}, this server knows {FORMAT}")
    return Change(statements)
