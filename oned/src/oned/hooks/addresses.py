"""What a floating address and the services beside it need, decided from facts.

Pure: arguments and the output of ``ip -j address`` and ``systemctl show`` go in, commands come
out. ``vip`` runs them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oned.errors import ConfigError, HookError
from oned.hooks.resident import Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "SERVICES",
    "Floating",
    "Request",
    "hardware_address",
    "parse_arguments",
    "parse_units",
    "plan_addresses",
    "plan_services",
]

_INTERFACE = re.compile(r"[^\s/]{1,15}")

_WHEN_ENABLED = ("enabled", "enabled-runtime")
_WHEN_STARTABLE = (*_WHEN_ENABLED, "linked", "linked-runtime", "disabled")
SERVICES: Mapping[str, tuple[str, ...]] = {
    "opennebula-flow.service": _WHEN_ENABLED,
    "opennebula-gate.service": _WHEN_ENABLED,
    "opennebula-form.service": _WHEN_ENABLED,
    "opennebula-hem.service": _WHEN_STARTABLE,
    "opennebula-showback.timer": _WHEN_STARTABLE,
}
"""OpenNebula's services that run beside the leader only, and the states of their units in which
the leader starts them. The last two are shipped disabled, and started by the leader alone."""

_ACTIVE = ("active", "activating", "reloading")


@dataclass(frozen=True, slots=True)
class Floating:
    """An address that follows the leader, and the interface it belongs on."""

    interface: str
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Request:
    """What the arguments ask for."""

    side: Side
    addresses: tuple[Floating, ...]


def parse_arguments(arguments: Sequence[str]) -> Request:
    """Read ``leader|follower [interface ip/cidr]...``.

    Raises:
        ConfigError: with the argument that is wrong and what is allowed.
    """
    usage = "ARGUMENTS are leader|follower, then pairs of interface and ip/cidr"
    if not arguments or arguments[0] not in (Side.LEADER, Side.FOLLOWER):
        raise ConfigError(f"{usage}, not {' '.join(arguments)!r}")
    pairs = arguments[1:]
    if len(pairs) % 2:
        raise ConfigError(f"{usage}; {pairs[-1]!r} has no partner")
    addresses = []
    for interface, text in zip(pairs[::2], pairs[1::2], strict=True):
        if not _INTERFACE.fullmatch(interface):
            raise ConfigError(f"{usage}; {interface!r} is no interface")
        try:
            addresses.append(Floating(interface, ipaddress.ip_interface(text)))
        except ValueError as error:
            raise ConfigError(f"{usage}; {text!r} is no ip/cidr") from error
    return Request(Side(arguments[0]), tuple(addresses))


def plan_addresses(request: Request, links: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The ``ip`` commands that are still needed.

    Args:
        request: what is wanted.
        links: ``ip -j address show``, parsed.

    Raises:
        HookError: a leader's interface does not exist.
    """
    commands: list[tuple[str, ...]] = []
    for floating in request.addresses:
        there = _on_interface(floating, links)
        device = ("dev", floating.interface)
        if request.side is Side.FOLLOWER:
            # Whatever its prefix: an older configuration may have put it there.
            commands.extend(
                ("address", "del", str(each), *device)
                for each in there or ()
                if each.ip == floating.address.ip
            )
        elif there is None:
            raise HookError(f"interface {floating.interface} does not exist")
        elif floating.address not in there:
            # Duplicate address detection would keep the address unusable for a second.
            extra = ("nodad",) if floating.address.version == 6 else ()  # noqa: PLR2004
            commands.append(("address", "add", str(floating.address), *device, *extra))
    return commands


def hardware_address(interface: str, links: Sequence[Mapping[str, Any]]) -> str | None:
    """The Ethernet address of an interface; None where nothing is to be announced."""
    for link in links:
        if link.get("ifname") == interface and link.get("link_type") == "ether":
            return str(link["address"])
    return None


def parse_units(text: str) -> dict[str, tuple[str, str]]:
    """``systemctl show -p Id,UnitFileState,ActiveState``: unit → (state of file, state)."""
    units = {}
    for block in text.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields.get("Id"):
            units[fields["Id"]] = (fields.get("UnitFileState", ""), fields.get("ActiveState", ""))
    return units


def plan_services(side: Side, units: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    """The ``systemctl`` commands that are still needed, as (verb, unit)."""
    verb = "start" if side is Side.LEADER else "stop"
    return [(verb, unit) for unit in SERVICES if _needs(side, unit, units.get(unit, ("", "")))]


def _needs(side: Side, unit: str, state: tuple[str, str]) -> bool:
    file_state, active_state = state
    if side is Side.LEADER:
        return file_state in SERVICES[unit] and active_state not in _ACTIVE
    return active_state in _ACTIVE


def _on_interface(
    floating: Floating, links: Iterable[Mapping[str, Any]]
) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface] | None:
    """The addresses of the interface; None when there is no such interface."""
    for link in links:
        if link.get("ifname") == floating.interface:
            return [
                ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}")
                for each in link.get("addr_info", ())
                if "local" in each
            ]
    return None
