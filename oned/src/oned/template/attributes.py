"""Attributes and what may stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from oned.errors import TemplateError

NAME = re.compile(r"[A-Za-z0-9_]+")
_UNREPRESENTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Vector(Mapping[str, str]):
    """The value of a vector attribute: names, upper-cased, to values. Immutable.

    Build a changed one with ``Vector({**vector, "ID": "3"})``. When a name is given twice the
    first one counts, as in OpenNebula.
    """

    __slots__ = ("_lines", "_values")

    def __init__(
        self,
        values: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        lines: Mapping[str, int] | None = None,
    ) -> None:
        pairs = values.items() if isinstance(values, Mapping) else values
        self._values: dict[str, str] = {}
        for name, value in pairs:
            check_value(value)
            self._values.setdefault(normal_item_name(name), value)
        self._lines = dict(lines or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name.upper()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self._values == other._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Vector({self._values!r})"

    def line(self, name: str) -> int:
        """Line of the parsed text where ``name`` stands, 0 when it is not known."""
        return self._lines.get(name.upper(), 0)


Value: TypeAlias = str | Vector


class Attribute(NamedTuple):
    """One attribute as it stands in a template.

    Attributes:
        name: upper-cased name.
        value: a plain value or a vector.
        line: line of the parsed text, 0 when it did not come from a text.
    """

    name: str
    value: Value
    line: int = 0


def normal_name(name: str) -> str:
    """An attribute's name upper-cased, and prefixed where OpenNebula does so."""
    name = normal_item_name(name)
    return f"ONE_{name}" if name.startswith("XML") else name


def normal_item_name(name: str) -> str:
    """An item's name upper-cased, and prefixed where it could not name an XML element.

    Items may begin with XML: RAFT/XMLRPC_TIMEOUT_MS does.
    """
    if not NAME.fullmatch(name):
        raise TemplateError(
            f"Parse error: {name!r} is not an attribute name (letters, digits and underscores)"
        )
    name = name.upper()
    return f"ONE_{name}" if name[0].isdigit() else name


def check_value(value: str) -> None:
    """Refuse what could not be put into a CDATA section."""
    if "]]>" in value:
        raise TemplateError("Parse error: a value may not contain ]]>")
    unrepresentable = _UNREPRESENTABLE.search(value)
    if unrepresentable:
        raise TemplateError(
            "Parse error: a value may not contain the character "
            f"U+{ord(unrepresentable.group()):04X}"
        )
