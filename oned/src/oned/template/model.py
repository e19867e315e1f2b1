"""The multi-map itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oned.template.attributes import Attribute, Value, Vector, check_value, normal_name
from oned.template.text import parse_text, quoted
from oned.template.xml import element, parse_xml


class Template:
    """An ordered multi-map of attributes. Two templates are equal when their contents are."""

    __slots__ = ("_attributes",)

    def __init__(self, attributes: Iterable[Attribute] = ()) -> None:
        self._attributes: dict[str, list[Attribute]] = {}
        for attribute in attributes:
            self.add(attribute.name, attribute.value, line=attribute.line)

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template; text that begins with ``<`` is taken for XML.

        Raises:
            TemplateError: with OpenNebula's text: what was found and expected, line and columns.
        """
        if text.startswith("<"):
            return cls(parse_xml(text))
        template = cls()
        for name, value, line in parse_text(text):  # which has checked the values
            template._append(normal_name(name), value, line)
        return template

    @classmethod
    def stored(cls, attributes: Iterable[Attribute]) -> Template:
        """The template with attributes that were checked when they were stored."""
        template = cls()
        for attribute in attributes:
            template._append(*attribute)
        return template

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._attributes

    def __iter__(self) -> Iterator[Attribute]:
        """Every attribute: names in the order of their first occurrence."""
        for attributes in self._attributes.values():
            yield from attributes

    def __len__(self) -> int:
        return sum(len(attributes) for attributes in self._attributes.values())

    def __repr__(self) -> str:
        return f"Template({self._content()!r})"

    def _content(self) -> dict[str, list[Value]]:
        return {name: self.values(name) for name in self._attributes}

    def names(self) -> list[str]:
        """Names that occur, each once."""
        return list(self._attributes)

    def values(self, name: str) -> list[Value]:
        """All values of ``name``, plain and vector, in their order."""
        return [attribute.value for attribute in self.attributes(name)]

    def attributes(self, name: str) -> list[Attribute]:
        """All attributes called ``name``, with their lines."""
        return list(self._attributes.get(name.upper(), ()))

    def get(self, name: str, default: str = "") -> str:
        """The first plain value of ``name``, else ``default``."""
        for value in self.values(name):
            if isinstance(value, str):
                return value
        return default

    def vector(self, name: str) -> Vector | None:
        """The first vector of ``name``, if there is one."""
        vectors = self.vectors(name)
        return vectors[0] if vectors else None

    def vectors(self, name: str) -> list[Vector]:
        """All vectors of ``name``."""
        return [value for value in self.values(name) if isinstance(value, Vector)]

    def line(self, name: str) -> int:
        """Line where ``name`` first stands in the parsed text, 0 when it is not known."""
        attributes = self.attributes(name)
        return attributes[0].line if attributes else 0

    def add(self, name: str, value: Value, *, line: int = 0) -> None:
        """Append one attribute, whether or not the name is there already.

        Raises:
            TemplateError: the name or the value cannot be written as XML.
        """
        if isinstance(value, str):
            check_value(value)
        self._append(normal_name(name), value, line)

    def _append(self, name: str, value: Value, line: int) -> None:
        self._attributes.setdefault(name, []).append(Attribute(name, value, line))

    def set(self, name: str, value: Value) -> None:
        """Put ``value`` in place of everything that ``name`` had."""
        if isinstance(value, str):
            check_value(value)
        name = normal_name(name)
        self._attributes[name] = [Attribute(name, value)]

    def remove(self, name: str) -> None:
        """Remove every attribute called ``name``; nothing happens when there is none."""
        self._attributes.pop(name.upper(), None)

    def copy(self) -> Template:
        """An independent template with the same attributes."""
        return Template(self)

    def merge(self, other: Template) -> None:
        """Take over ``other`` as ``update`` with append=1 does.

        Each name in ``other`` loses all that it had here and gets what it has there; an empty
        vector only removes.
        """
        for name in other.names():
            self.remove(name)
            for attribute in other.attributes(name):
                if attribute.value != Vector():
                    self.add(name, attribute.value, line=attribute.line)

    def to_xml(self, root: str = "TEMPLATE") -> str:
        """One line of XML: names alphabetical, values of one name in order, each in CDATA."""
        parts = [f"<{root}>"]
        for name in sorted(self._attributes):
            parts.extend(element(name, value) for value in self.values(name))
        parts.append(f"</{root}>")
        return "".join(parts)

    def to_text(self) -> str:
        """The text form as the command lines print it, without a newline at the end.

        A quoted value that ends in a backslash cannot be expressed in the grammar; such a value
        is written bare where that is possible.
        """
        lines = []
        for name in sorted(self._attributes):
            for value in self.values(name):
                if isinstance(value, str):
                    lines.append(f"{name}={quoted(value)}")
                elif value:
                    items = (f"  {key}={quoted(value[key])}" for key in sorted(value))
                    lines.append(f"{name}=[\n" + ",\n".join(items) + " ]")
                else:
                    lines.append(f"{name}=[ ]")
        return "\n".join(lines)
