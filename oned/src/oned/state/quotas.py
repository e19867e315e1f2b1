"""Quotas: limits of users and groups, and the defaults of a zone.

Limits are kept as OpenNebula keeps them, in tables of their own. What they limit (virtual
machines, images, networks, datastores) is not served yet, so that every ``_USED`` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from oned.state import xml
from oned.state.entry import Reader, Statement
from oned.template import Template

USE_DEFAULT = -1
UNLIMITED = -2


@dataclass(frozen=True, slots=True)
class Section:
    """One of the four kinds of quota: its elements, and the limits in one of them."""

    element: str
    item: str
    limits: tuple[str, ...]
    has_id: bool


SECTIONS = (
    Section("DATASTORE_QUOTA", "DATASTORE", ("IMAGES", "SIZE"), has_id=True),
    Section("NETWORK_QUOTA", "NETWORK", ("LEASES",), has_id=True),
    Section(
        "VM_QUOTA",
        "VM",
        (
            "CPU",
            "MEMORY",
            "PCI_DEV",
            "PCI_NIC",
            "RUNNING_CPU",
            "RUNNING_MEMORY",
            "RUNNING_PCI_DEV",
            "RUNNING_PCI_NIC",
            "RUNNING_VMS",
            "SYSTEM_DISK_SIZE",
            "VMS",
        ),
        has_id=False,
    ),
    Section("IMAGE_QUOTA", "IMAGE", ("RVMS",), has_id=True),
)


class QuotaError(ValueError):
    """A quota template says something that is no limit; the text is OpenNebula's."""


@dataclass(slots=True)
class Quotas:
    """Limits by section and by id (empty for the one VM quota)."""

    limits: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the stored body; its root's name does not matter."""
        body = xml.Body(text)
        quotas = cls()
        for section in SECTIONS:
            for item in body.nested(section.element):
                key = item.get("ID", "") if section.has_id else ""
                quotas.limits.setdefault(section.item, {})[key] = {
                    name: item[name] for name in section.limits if name in item
                }
        return quotas

    def set(self, template: Template, *, default: bool) -> None:
        """Take over the limits in ``template``; a section's item is merged by its id.

        Raises:
            QuotaError: a limit is no number, too low, or has no place here.
        """
        for section in SECTIONS:
            for vector in template.vectors(section.item):
                key = vector.get("ID", "") if section.has_id else ""
                if section.has_id and not key.isdecimal():
                    raise QuotaError(f"Negative limits or bad format in quota {section.item}")
                old = self.limits.get(section.item, {}).get(key)
                new = dict(old or dict.fromkeys(section.limits, _unset(default)))
                for name in section.limits:
                    if name in vector:
                        new[name] = _checked(vector[name], section.item, default=default)
                self.limits.setdefault(section.item, {})[key] = new
                if default and all(limit == _unset(default) for limit in new.values()):
                    del self.limits[section.item][key]

    def sections_xml(self, *, usage: bool) -> str:
        """The four sections; defaults have limits only."""
        return "".join(
            f"<{section.element}>"
            + "".join(
                _item_xml(section, key, limits, usage=usage)
                for key, limits in sorted(self.limits.get(section.item, {}).items())
            )
            + f"</{section.element}>"
            for section in SECTIONS
        )


def _unset(default: bool) -> str:
    return str(UNLIMITED if default else USE_DEFAULT)


def _checked(text: str, item: str, *, default: bool) -> str:
    try:
        limit = float(text)
    except ValueError:
        limit = float("nan")
    lowest = UNLIMITED
    is_number = limit == limit and abs(limit) != float("inf")  # noqa: PLR0124  # NaN
    if not is_number or limit < lowest or (limit < 0 and limit not in (USE_DEFAULT, UNLIMITED)):
        raise QuotaError(f"Negative limits or bad format in quota {item}")
    if default and limit == USE_DEFAULT:
        return str(UNLIMITED)
    return str(int(limit)) if limit.is_integer() else repr(limit)


def _item_xml(section: Section, key: str, limits: Mapping[str, str], *, usage: bool) -> str:
    parts = {"ID": key} if section.has_id else {}
    for name in section.limits:
        parts[name] = limits.get(name, str(USE_DEFAULT))
        if usage:
            parts[f"{name}_USED"] = "0"
    inner = "".join([f"<{name}>{xml.cdata(parts[name])}</{name}>" for name in sorted(parts)])
    return f"<{section.item}>{inner}</{section.item}>"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose quotas: the users' or the groups' table and elements."""

    table: str
    column: str
    defaults: str

    def load(self, reader: Reader, oid: int) -> Quotas | None:
        """The object's own quotas, None while none were ever set."""
        rows = reader.rows(
            f"SELECT body FROM {self.table} WHERE {self.column} = ?",  # noqa: S608
            (oid,),
        )
        return Quotas.parse(str(rows[0][0])) if rows else None

    def load_all(self, reader: Reader) -> dict[int, Quotas]:
        rows = reader.rows(f"SELECT {self.column}, body FROM {self.table}")  # noqa: S608
        return {int(row[0] or 0): Quotas.parse(str(row[1])) for row in rows}

    def save(self, oid: int, quotas: Quotas, *, exists: bool) -> Statement:
        body = f"<QUOTAS><ID>{oid}</ID>{quotas.sections_xml(usage=False)}</QUOTAS>"
        if exists:
            return Statement(
                f"UPDATE {self.table} SET body = ? WHERE {self.column} = ?",  # noqa: S608
                (body, oid),
            )
        return Statement(
            f"INSERT INTO {self.table} ({self.column}, body) VALUES (?, ?)",  # noqa: S608
            (oid, body),
        )

    def remove(self, oid: int) -> Statement:
        return Statement(
            f"DELETE FROM {self.table} WHERE {self.column} = ?",  # noqa: S608
            (oid,),
        )

    def load_defaults(self, reader: Reader) -> Quotas | None:
        """The zone's defaults, None while none were ever set."""
        rows = reader.rows("SELECT body FROM system_attributes WHERE name = ?", (self.defaults,))
        return Quotas.parse(str(rows[0][0])) if rows else None

    def defaults_xml(self, quotas: Quotas | None) -> str:
        sections = (quotas or Quotas()).sections_xml(usage=False)
        return f"<{self.defaults}>{sections}</{self.defaults}>"

    def save_defaults(self, quotas: Quotas, *, exists: bool) -> Statement:
        body = self.defaults_xml(quotas)
        if exists:
            return Statement(
                "UPDATE system_attributes SET body = ? WHERE name = ?", (body, self.defaults)
            )
        return Statement(
            "INSERT INTO system_attributes (name, body) VALUES (?, ?)", (self.defaults, body)
        )


USERS = Holder("user_quotas", "user_oid", "DEFAULT_USER_QUOTAS")
GROUPS = Holder("group_quotas", "group_oid", "DEFAULT_GROUP_QUOTAS")
