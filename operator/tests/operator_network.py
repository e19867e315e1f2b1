"""What NetworkPolicies let through, by Kubernetes' own rules: an evaluator for tests.

A connection is let through when the policies of its target let it in, and those of its source let
it out. Pods that no policy selects are not limited in that direction.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True)
class End:
    """A pod, or with ``address`` alone something else in the network."""

    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    address: str = "10.0.0.1"


def is_let_through(
    policies: Iterable[Manifest], source: End, target: End, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a new connection gets from one end to the other."""
    known = list(policies)
    return _is_let(known, target, source, "Ingress", "from", port, protocol) and _is_let(
        known, source, target, "Egress", "to", port, protocol
    )


def _is_let(  # noqa: PLR0917 - one direction, spelled out
    policies: list[Manifest], own: End, other: End, kind: str, key: str, port: int, protocol: str
) -> bool:
    found = [
        each
        for each in policies
        if own.namespace == each["metadata"]["namespace"]
        and kind in each["spec"]["policyTypes"]
        and _fits(each["spec"]["podSelector"], own.labels)
    ]
    if not found:
        return True
    return any(
        _has_port(rule, port, protocol)
        and (
            not rule.get(key)
            or any(_is_peer(peer, other, each["metadata"]["namespace"]) for peer in rule[key])
        )
        for each in found
        for rule in each["spec"].get(kind.lower()) or []
    )


def _has_port(rule: Manifest, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or {"port": port, "protocol": protocol} in ports


def _is_peer(peer: Manifest, other: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)
        block = peer["ipBlock"]
        left_out = [ipaddress.ip_network(each) for each in block.get("except", [])]
        return address in ipaddress.ip_network(block["cidr"]) and all(
            address not in each for each in left_out
        )
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not _fits(peer["namespaceSelector"], other.namespace_labels):
            return False
    elif other.namespace != namespace:
        return False
    return _fits(peer.get("podSelector", {}), other.labels)


def _fits(selector: Manifest, labels: dict[str, str]) -> bool:
    exact = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    for each in selector.get("matchExpressions", []):
        value = labels.get(each["key"])
        match each["operator"]:
            case "In":
                fits = value in each["values"]
            case "NotIn":
                fits = value not in each["values"]
            case "Exists":
                fits = value is not None
            case _:
                fits = value is None
        if not fits:
            return False
    return True
