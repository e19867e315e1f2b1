"""Kinds of values in oned.conf: what each accepts, and how it says what it accepts.

A kind turns text into a value and back. ``parse`` raises ``ValueError`` whose text completes the
sentence "must be …", so that the reader can put file, line and attribute before it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

AUTO: Literal["AUTO"] = "AUTO"
"""SERVER_ID of a server that learns its id from the zone, by its name."""

SOLO = -1
"""SERVER_ID of a server that belongs to no HA zone."""

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_INT32_MAX = 2**31 - 1


class Kind(Protocol):
    """One kind of value."""

    def parse(self, text: str) -> Any:
        """The value; raises ValueError with what it must be."""
        ...

    def format(self, value: Any) -> str:
        """The text that ``parse`` reads as ``value``."""
        ...


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number, in decimal."""

    minimum: int
    maximum: int = _INT32_MAX

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not (
            self.minimum <= int(text) <= self.maximum
        ):
            raise ValueError(f"an integer from {self.minimum} to {self.maximum}")
        return int(text)

    def format(self, value: int) -> str:
        return str(value)


PORT = Integer(1, 65535)
MILLISECONDS = Integer(1)


@dataclass(frozen=True, slots=True)
class ServerNumber:
    """A server id, -1 for solo, or AUTO."""

    def parse(self, text: str) -> int | Literal["AUTO"]:
        if text.upper() == AUTO:
            return AUTO
        try:
            return Integer(SOLO).parse(text)
        except ValueError:
            raise ValueError(
                '-1 (solo), "AUTO" (the id that the zone gives this name), or an id >= 0'
            ) from None

    def format(self, value: int | Literal["AUTO"]) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a few; ``later`` are words that OpenNebula knows and this server does not yet."""

    words: tuple[str, ...]
    later: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        for word in self.words:
            if word.lower() == text.lower():
                return word
        allowed = self.words[0] if len(self.words) == 1 else f"one of {', '.join(self.words)}"
        if text.lower() in [word.lower() for word in self.later]:
            allowed += f" ({text} is not supported yet)"
        raise ValueError(allowed)

    def format(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class YesNo:
    """YES or NO, in any case."""

    def parse(self, text: str) -> bool:
        if text.upper() not in {"YES", "NO"}:
            raise ValueError("YES or NO")
        return text.upper() == "YES"

    def format(self, value: bool) -> str:
        return "YES" if value else "NO"


@dataclass(frozen=True, slots=True)
class Umask:
    """Permission bits that new objects do not get, in octal."""

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[0-7]{1,3}", text):
            raise ValueError("three octal digits (owner, group, other), for example 177")
        return int(text, 8)

    def format(self, value: int) -> str:
        return f"{value:03o}"


@dataclass(frozen=True, slots=True)
class Text:
    """Any text."""

    required: bool = False

    def parse(self, text: str) -> str:
        if self.required and not text.strip():
            raise ValueError("given, and not empty")
        return text

    def format(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Host:
    """An IP address or a host name."""

    def parse(self, text: str) -> str:
        if not is_host(text):
            raise ValueError("an IP address or a host name, without a port")
        return text

    def format(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Directory:
    """An absolute path."""

    def parse(self, text: str) -> Path:
        if not text.startswith("/"):
            raise ValueError("an absolute path")
        return Path(text)

    def format(self, value: Path) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class OptionalPath:
    """An absolute path, or nothing."""

    def parse(self, text: str) -> Path | None:
        return Directory().parse(text) if text else None

    def format(self, value: Path | None) -> str:
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An XML-RPC URL, or nothing where ``required`` is False."""

    required: bool = True

    def parse(self, text: str) -> str:
        if not text and not self.required:
            return text
        try:
            url = urlsplit(text)
            valid = url.scheme in {"http", "https"} and is_host(url.hostname or "")
            # urlsplit looks at the port only when it is asked for.
            valid = valid and (url.port is None or url.port > 0)
        except ValueError:
            valid = False
        if not valid:
            raise ValueError("a URL such as http://192.0.2.1:2633/RPC2")
        return text

    def format(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class HostPort:
    """``host:port``; an IPv6 address stands in brackets."""

    def parse(self, text: str) -> str:
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        try:
            PORT.parse(port)
            valid = is_host(host[1:-1] if bracketed else host) and (bracketed or ":" not in host)
        except ValueError:
            valid = False
        if not valid:
            raise ValueError("host:port, for example 192.0.2.1:2635")
        return text

    def format(self, value: str) -> str:
        return value


def is_host(text: str) -> bool:
    """Whether ``text`` is an IP address or can be a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True
