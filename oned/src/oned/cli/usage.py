"""Columns that show what the virtual machines of a user or group use, and may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from oned.cli.tables import Column

_DEFAULT = "-1"
_UNLIMITED = "-2"
_UNITS = ("M", "G", "T", "P")
_UNIT_STEP = 1024


@dataclass(frozen=True)
class Usage:
    """One object of a pool, with its quotas, which stand beside it in the pool.

    Attributes:
        element: USER or GROUP.
        quotas: its VM_QUOTA/VM, if it has one.
        defaults: the pool's default VM_QUOTA/VM, if there is one.
    """

    element: etree._Element
    quotas: etree._Element | None
    defaults: etree._Element | None

    def findtext(self, path: str) -> str | None:
        """Text of an element of the object."""
        return self.element.findtext(path)

    def of(self, name: str) -> tuple[str, str] | None:
        """Used amount and limit (``-`` for none), or None when nothing is counted."""
        if self.quotas is None:
            return None
        limit = self.quotas.findtext(name) or _UNLIMITED
        if limit == _DEFAULT:
            default = self.defaults.findtext(name) if self.defaults is not None else None
            limit = default or _UNLIMITED
        return self.quotas.findtext(f"{name}_USED") or "0", limit


def pool_usage(pool: etree._Element, word: str) -> list[Usage]:
    """Objects of USER_POOL or GROUP_POOL with their quotas."""
    quotas = {item.findtext("ID"): item.find("VM_QUOTA/VM") for item in pool.iterfind("QUOTAS")}
    defaults = pool.find(f"DEFAULT_{word}_QUOTAS/VM_QUOTA/VM")
    return [Usage(item, quotas.get(item.findtext("ID")), defaults) for item in pool.iterfind(word)]


def usage_columns() -> list[Column]:
    """VMS, MEMORY and CPU: used amount and limit."""
    return [
        Column("VMS", "Virtual machines, and how many are allowed", 9, _cell("VMS", 3, _plain)),
        Column("MEMORY", "Memory, and how much is allowed", 17, _cell("MEMORY", 7, _memory)),
        Column("CPU", "CPU, and how much is allowed", 11, _cell("CPU", 4, _cpu)),
    ]


def _cell(name: str, width: int, show: Callable[[str], str]) -> Callable[[Usage], str]:
    def cell(usage: Usage) -> str:
        amounts = usage.of(name)
        if amounts is None:
            return "-"
        used, limit = amounts
        shown = "-" if limit == _UNLIMITED else show(limit)
        return f"{show(used):>{width}} / {shown:>{width}}"

    return cell


def _plain(text: str) -> str:
    return text


def _cpu(text: str) -> str:
    return f"{float(text):.1f}"


def _memory(text: str) -> str:
    """Megabytes in the largest unit that leaves a number of at least one."""
    amount, unit = float(text), 0
    while amount >= _UNIT_STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _UNIT_STEP, unit + 1
    return f"{amount:.0f}{_UNITS[unit]}" if amount.is_integer() else f"{amount:.1f}{_UNITS[unit]}"
