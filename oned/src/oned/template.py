"""OpenNebula's template: an ordered multi-map of attributes, as text or as XML.

The same grammar is used for objects (``one.*.allocate`` and ``update``), for oned.conf and by
the command lines. An attribute is a plain value or a *vector* of named values; a name may occur
more than once. Nothing here does I/O, and nothing parsed here can yield malformed XML later:
``]]>`` and characters that XML cannot hold are refused on the way in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lxml import etree

from oned.errors import TemplateError

_MALFORMED_XML = "Parse error: XML Template malformed."

_BLANKS = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_EQUAL = re.compile(r"=[ \t]*")
_BARE = re.compile(r"[^=#\s,\[\]]+")
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
            _check_value(value)
            self._values.setdefault(_normal_item_name(name), value)
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


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as it stands in a template.

    Attributes:
        name: upper-cased name.
        value: a plain value or a vector.
        line: line of the parsed text, 0 when it did not come from a text.
    """

    name: str
    value: Value
    line: int = 0


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
            return cls(_parse_xml(text))
        # XML readers fold line ends, so that a value must not depend on them.
        return cls(_TextParser(text.replace("\r\n", "\n").replace("\r", "\n")).attributes())

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
            _check_value(value)
        name = _normal_name(name)
        self._attributes.setdefault(name, []).append(Attribute(name, value, line))

    def set(self, name: str, value: Value) -> None:
        """Put ``value`` in place of everything that ``name`` had."""
        if isinstance(value, str):
            _check_value(value)
        name = _normal_name(name)
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
            parts.extend(_element(name, value) for value in self.values(name))
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
                    lines.append(f"{name}={_quoted(value)}")
                elif value:
                    items = (f"  {key}={_quoted(value[key])}" for key in sorted(value))
                    lines.append(f"{name}=[\n" + ",\n".join(items) + " ]")
                else:
                    lines.append(f"{name}=[ ]")
        return "\n".join(lines)


def _element(name: str, value: Value) -> str:
    if isinstance(value, str):
        return f"<{name}><![CDATA[{value}]]></{name}>"
    inner = "".join(f"<{key}><![CDATA[{value[key]}]]></{key}>" for key in sorted(value))
    return f"<{name}>{inner}</{name}>"


def _quoted(value: str) -> str:
    if value.endswith("\\") and _BARE.fullmatch(value):
        return value
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def _normal_name(name: str) -> str:
    """An attribute's name upper-cased, and prefixed where OpenNebula does so."""
    name = _normal_item_name(name)
    return f"ONE_{name}" if name.startswith("XML") else name


def _normal_item_name(name: str) -> str:
    """An item's name upper-cased, and prefixed where it could not name an XML element.

    Items may begin with XML: RAFT/XMLRPC_TIMEOUT_MS does.
    """
    if not _NAME.fullmatch(name):
        raise TemplateError(
            f"Parse error: {name!r} is not an attribute name (letters, digits and underscores)"
        )
    name = name.upper()
    return f"ONE_{name}" if name[0].isdigit() else name


def _check_value(value: str) -> None:
    """Refuse what could not be put into a CDATA section."""
    if "]]>" in value:
        raise TemplateError("Parse error: a value may not contain ]]>")
    unrepresentable = _UNREPRESENTABLE.search(value)
    if unrepresentable:
        raise TemplateError(
            "Parse error: a value may not contain the character "
            f"U+{ord(unrepresentable.group()):04X}"
        )


class _TextParser:
    """Recursive descent over the text form; one instance reads one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)

    def attributes(self) -> Iterator[Attribute]:
        self._skip_blanks()
        while self._at < len(self._text):
            start = self._at
            name = self._name("VARIABLE")
            value = self._value() if self._equal() else ""
            yield Attribute(name, value, self._line(start))
            self._skip_blanks()

    def _value(self) -> Value:
        if not self._text.startswith("[", self._at):
            return self._plain_value("STRING or OBRACKET")
        self._at += 1
        self._skip_blanks()
        pairs: list[tuple[str, str]] = []
        lines: dict[str, int] = {}
        if not self._text.startswith("]", self._at):
            self._vector_item(pairs, lines, "VARIABLE or CBRACKET")
            while not self._text.startswith("]", self._at):
                if not self._text.startswith(",", self._at):
                    raise self._unexpected("COMMA or CBRACKET")
                self._at += 1
                self._skip_blanks()
                self._vector_item(pairs, lines, "VARIABLE")
        self._at += 1
        return Vector(pairs, lines=lines)

    def _vector_item(
        self, pairs: list[tuple[str, str]], lines: dict[str, int], expected: str
    ) -> None:
        start = self._at
        name = self._name(expected)
        self._skip_blanks()
        equal = _EQUAL.match(self._text, self._at)
        if not equal:
            raise self._unexpected("EQUAL")
        self._at = equal.end()
        pairs.append((name, self._plain_value("STRING")))
        lines.setdefault(_normal_item_name(name), self._line(start))
        self._skip_blanks()

    def _plain_value(self, expected: str) -> str:
        start = self._at
        if self._text.startswith('"', start):
            value = self._quoted_value()
            following = self._text[self._at : self._at + 1]
            if following == '"' or _NAME.match(following):
                raise self._unexpected("a blank after the closing quote")
        else:
            bare = _BARE.match(self._text, start)
            if not bare:
                raise self._unexpected(expected)
            self._at = bare.end()
            value = bare.group()
        try:
            _check_value(value)
        except TemplateError as error:
            message = str(error).removeprefix("Parse error: ")
            raise self._error(message, start, self._at) from None
        return value

    def _quoted_value(self) -> str:
        r"""Read up to the closing quote; ``\"`` is a quote, and closes only when none follows."""
        start = self._at + 1
        close, escaped_close = self._text.find('"', start), -1
        while close > start and self._text[close - 1] == "\\":
            escaped_close = close
            close = self._text.find('"', close + 1)
        if close == -1:
            close = escaped_close
        if close == -1:
            raise self._error("syntax error, unterminated string", self._at, self._at + 1)
        self._at = close + 1
        return self._text[start:close].replace('\\"', '"')

    def _name(self, expected: str) -> str:
        match = _NAME.match(self._text, self._at)
        if not match:
            raise self._unexpected(expected)
        self._at = match.end()
        return match.group()

    def _equal(self) -> bool:
        """Read the equal sign; False when nothing follows it on its line: an empty value."""
        self._skip_blanks()
        equal = _EQUAL.match(self._text, self._at)
        if not equal:
            raise self._unexpected("EQUAL or EQUAL_EMPTY")
        self._at = equal.end()
        return not (self._at == len(self._text) or self._text[self._at] == "\n")

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self._text, self._at)
        if match:
            self._at = match.end()

    def _line(self, position: int) -> int:
        """Line of ``position``, counted on from the last one asked for."""
        known, line = self._counted if position >= self._counted[0] else (0, 1)
        line += self._text.count("\n", known, position)
        self._counted = (position, line)
        return line

    def _unexpected(self, expected: str) -> TemplateError:
        found, end = self._token()
        return self._error(f"syntax error, unexpected {found}, expecting {expected}", self._at, end)

    def _token(self) -> tuple[str, int]:
        """Name and end of what stands where something else was expected."""
        if self._at >= len(self._text):
            return "end of file", self._at
        names = {"=": "EQUAL", ",": "COMMA", "[": "OBRACKET", "]": "CBRACKET", "\n": "end of line"}
        character = self._text[self._at]
        if character in names:
            return names[character], self._at + 1
        for pattern, name in ((_NAME, "VARIABLE"), (_BARE, "STRING")):
            match = pattern.match(self._text, self._at)
            if match:
                return name, match.end()
        return repr(character), self._at + 1

    def _error(self, message: str, start: int, end: int) -> TemplateError:
        line_start = self._text.rfind("\n", 0, start) + 1
        first, last = start - line_start + 1, end - line_start + 1
        return TemplateError(
            f"Parse error: {message} at line {self._line(start)}, columns {first}:{last}"
        )


def _parse_xml(text: str) -> Iterator[Attribute]:
    """Attributes of an XML template: children with text, or with one level of elements."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        strip_cdata=True,
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError, ValueError) as error:
        raise TemplateError(_MALFORMED_XML) from error
    document: Any = root.getroottree().docinfo
    if document.doctype:
        raise TemplateError(_MALFORMED_XML)
    for child in root:
        name = str(child.tag)
        value = (
            Vector((str(item.tag), _text(item)) for item in child) if len(child) else _text(child)
        )
        if len(child) and (child.text or "").strip():
            raise TemplateError(_MALFORMED_XML)
        line: Any = child.sourceline
        yield Attribute(name, value, line or 0)


def _text(element: etree._Element) -> str:
    """Text of an element that may hold nothing else."""
    if len(element):
        raise TemplateError(_MALFORMED_XML)
    return element.text or ""
