"""oned.conf → ``Config``: every value is checked, and every complaint names file and line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from oned.config.settings import (
    DEFAULT_ENCRYPTED,
    DEFAULT_RESTRICTED,
    ENCRYPTED_SUFFIX,
    METADATA,
    RESTRICTED_SUFFIX,
    Config,
    Group,
    Section,
    Single,
)
from oned.errors import ConfigError, TemplateError
from oned.template import Template, Vector

DEFAULT_PATH = Path("/etc/one/oned.conf")

MAXIMUM_SIZE = 4 * 2**20
"""Bytes; OpenNebula's own file has some 60 thousand."""

_PACKAGED = Path(__file__).with_name("oned.conf")


def default_text() -> str:
    """The commented oned.conf that ships with the package; it states the defaults."""
    return _PACKAGED.read_text(encoding="utf-8")


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check oned.conf.

    Args:
        path: the file.
        environ: with ``ONE_LOCATION``, certificates are looked for below it by default.

    Raises:
        ConfigError: with file, line, attribute, the given value and what is allowed.
    """
    try:
        size = path.stat().st_size
        if size > MAXIMUM_SIZE:
            raise ConfigError(f"{path}: larger than {MAXIMUM_SIZE} bytes: not an oned.conf")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; make one with: oned config > {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return parse_config(text, path=path, environ=environ)


def parse_config(
    text: str, *, path: Path = Path("oned.conf"), environ: Mapping[str, str] | None = None
) -> Config:
    """Check the text of an oned.conf; ``path`` is only named in messages.

    Raises:
        ConfigError: as ``load_config``.
    """
    if text.lstrip().startswith("<"):
        raise ConfigError(f"{path}:1: XML is not read here; write NAME = VALUE lines")
    try:
        attributes = Template.parse(text)
    except TemplateError as error:
        raise ConfigError(f"{path}: {error}") from error
    reader = _Reader(path, attributes)
    values = reader.read(Config)
    values |= _lists(reader)
    config = Config(
        **values, attributes=attributes, warnings=tuple(reader.all_warnings()), path=path
    )
    _check(config, reader)
    location = (environ or {}).get("ONE_LOCATION")
    if location and not reader.given("PEER", "DIRECTORY"):
        peer = replace(config.peer, directory=Path(location) / "etc" / "peers")
        config = replace(config, peer=peer)
    return config


@dataclass
class _Reader:
    """One pass over the attributes of a file."""

    path: Path
    attributes: Template
    warnings: list[tuple[int, str]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def read(self, settings: type[Any]) -> dict[str, Any]:
        """Values for the fields of ``settings`` that the file gives."""
        values: dict[str, Any] = {}
        for item in fields(settings):
            match item.metadata.get(METADATA):
                case Single() as single:
                    self._read_single(single, item.name, values)
                case Section() as section:
                    self._read_section(section, item.name, values)
                case Group(group):
                    values[item.name] = group(**self.read(group))
                case _:
                    pass
        return values

    def _read_single(self, single: Single, name: str, values: dict[str, Any]) -> None:
        self.known.add(single.name)
        if single.name not in self.attributes:
            return
        self._note_repetition(single.name)
        attribute = self.attributes.attributes(single.name)[0]
        if isinstance(attribute.value, Vector):
            raise self.error(attribute.line, single.name, "[ … ]", "a plain value")
        values[name] = self._value(single, single.name, attribute.value, attribute.line)

    def _read_section(self, section: Section, name: str, values: dict[str, Any]) -> None:
        self.known.add(section.name)
        if section.name not in self.attributes:
            return
        self._note_repetition(section.name)
        attribute = self.attributes.attributes(section.name)[0]
        given = attribute.value
        if not isinstance(given, Vector):
            raise self.error(attribute.line, section.name, given, "[ NAME = VALUE, … ]")
        singles = {item.name: item.metadata[METADATA] for item in fields(section.settings)}
        inner: dict[str, Any] = {}
        for field_name, single in singles.items():
            label = f"{section.name}/{single.name}"
            if single.name in given:
                line = given.line(single.name) or attribute.line
                inner[field_name] = self._value(single, label, given[single.name], line)
            elif single.name in section.required:
                raise ConfigError(f"{self.path}:{attribute.line}: {label} must be given")
        names = [single.name for single in singles.values()]
        for unknown in given:
            if unknown not in names:
                self._note_unknown(given.line(unknown), unknown, names, section.name)
        values[name] = section.settings(**inner)

    def _value(self, single: Single, label: str, text: str, line: int) -> Any:
        try:
            return single.kind.parse(text)
        except ValueError as error:
            raise self.error(line, label, text, str(error)) from None

    def error(self, line: int, label: str, given: str, allowed: str) -> ConfigError:
        """The complaint about one value."""
        return ConfigError(f'{self.path}:{line}: {label} = "{given}": must be {allowed}')

    def line(self, section: str, name: str) -> int:
        """Line of an item of a section, or of the section."""
        vector = self.attributes.vector(section)
        return (vector.line(name) if vector else 0) or self.attributes.line(section)

    def given(self, section: str, name: str) -> bool:
        """Whether the file says something about this item of a section."""
        return name in (self.attributes.vector(section) or ())

    def _note_repetition(self, name: str) -> None:
        lines = [attribute.line for attribute in self.attributes.attributes(name)]
        if len(lines) > 1:
            text = ", ".join(map(str, lines))
            self.warnings.append((lines[1], f"{name} is given on lines {text}; the first counts"))

    def _note_unknown(
        self, line: int, name: str, names: list[str], section: str | None = None
    ) -> None:
        label = f"{section}/{name}" if section else name
        similar = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        self.warnings.append((line, f"{label} is not used by this server; it is kept{hint}"))

    def all_warnings(self) -> Iterator[str]:
        """What has no effect, in the order of the lines."""
        for name in self.attributes.names():
            if name not in self.known:
                self._note_unknown(self.attributes.line(name), name, sorted(self.known))
        for line, text in sorted(self.warnings):
            yield f"{self.path}:{line}: {text}"


def _lists(reader: _Reader) -> dict[str, Any]:
    """Restricted and encrypted attributes: a list in the file replaces the default of a resource.

    An empty value makes the list empty.
    """
    values = {}
    for key, suffix, defaults in (
        ("restricted_attributes", RESTRICTED_SUFFIX, DEFAULT_RESTRICTED),
        ("encrypted_attributes", ENCRYPTED_SUFFIX, DEFAULT_ENCRYPTED),
    ):
        lists: dict[str, tuple[str, ...]] = dict(defaults)
        for name in reader.attributes.names():
            if not name.endswith(suffix):
                continue
            reader.known.add(name)
            items = []
            for attribute in reader.attributes.attributes(name):
                if isinstance(attribute.value, Vector):
                    raise reader.error(attribute.line, name, "[ … ]", "an attribute's name")
                items.append(attribute.value.upper())
            lists[name.removesuffix(suffix)] = tuple(item for item in items if item)
        values[key] = lists
    return values


def _check(config: Config, reader: _Reader) -> None:
    """What no single value can be blamed for alone."""
    raft = config.raft
    if raft.broadcast_timeout_ms >= raft.election_timeout_ms:
        raise reader.error(
            reader.line("RAFT", "BROADCAST_TIMEOUT_MS"),
            "RAFT/BROADCAST_TIMEOUT_MS",
            str(raft.broadcast_timeout_ms),
            f"less than RAFT/ELECTION_TIMEOUT_MS, which is {raft.election_timeout_ms}",
        )
    federation = config.federation
    if federation.mode == "STANDALONE" and federation.zone_id != 0:
        raise reader.error(
            reader.line("FEDERATION", "ZONE_ID"),
            "FEDERATION/ZONE_ID",
            str(federation.zone_id),
            "0 when FEDERATION/MODE is STANDALONE",
        )
    _check_ports(config, reader)


def _check_ports(config: Config, reader: _Reader) -> None:
    taken = {config.port: "PORT"}
    for section, port in (("PEER", config.peer.port), ("ADMIN", config.admin.port)):
        if port in taken:
            line = reader.line(section, "PORT") or reader.attributes.line("PORT")
            raise reader.error(line, f"{section}/PORT", str(port), f"unlike {taken[port]}")
        taken[port] = f"{section}/PORT"
