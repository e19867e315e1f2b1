"""The text form: ``NAME = VALUE`` and ``NAME = [ NAME = VALUE, … ]``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oned.errors import TemplateError
from oned.template.attributes import (
    NAME,
    Attribute,
    Value,
    Vector,
    check_value,
    normal_item_name,
)

_BLANKS = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_EQUAL = re.compile(r"=[ \t]*")
BARE = re.compile(r"[^=#\s,\[\]]+")


def quoted(value: str) -> str:
    if value.endswith("\\") and BARE.fullmatch(value):
        return value
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def parse_text(text: str) -> Iterator[Attribute]:
    """Attributes in the order of the text.

    Line ends are folded as XML readers fold them, so that a value does not depend on its form.

    Raises:
        TemplateError: with what was found and expected, line and columns.
    """
    return _TextParser(text.replace("\r\n", "\n").replace("\r", "\n")).attributes()


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
        lines.setdefault(normal_item_name(name), self._line(start))
        self._skip_blanks()

    def _plain_value(self, expected: str) -> str:
        start = self._at
        if self._text.startswith('"', start):
            value = self._quoted_value()
            following = self._text[self._at : self._at + 1]
            if following == '"' or NAME.match(following):
                raise self._unexpected("a blank after the closing quote")
        else:
            bare = BARE.match(self._text, start)
            if not bare:
                raise self._unexpected(expected)
            self._at = bare.end()
            value = bare.group()
        try:
            check_value(value)
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
        match = NAME.match(self._text, self._at)
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
        for pattern, name in ((NAME, "VARIABLE"), (BARE, "STRING")):
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
