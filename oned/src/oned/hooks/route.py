"""What the leader does about the zone's EndpointSlice: pure, from what was read to one decision.

Raft decides who leads; the slice only routes to it. The annotation ``onezone.dev/term`` fences it:
whoever writes states the term it was elected in, and nobody overwrites a later one. Together with
compare-and-swap on ``resourceVersion`` a late write of an old leader cannot turn the route back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oned.errors import HookError

__all__ = [
    "LEADER_ANNOTATION",
    "TERM_ANNOTATION",
    "Decision",
    "Keep",
    "Me",
    "Write",
    "Yield",
    "decide",
    "decide_release",
    "term_of",
]

TERM_ANNOTATION = "onezone.dev/term"
LEADER_ANNOTATION = "onezone.dev/leader"

TERM_DIGITS = 19
"""A longer number is no term."""

Slice = Mapping[str, Any]
"""An EndpointSlice of ``discovery.k8s.io/v1`` as JSON has it."""


@dataclass(frozen=True, slots=True)
class Me:
    """This server, as the slice shall name it.

    Attributes:
        name: of the server in the zone.
        address: of its pod.
        pod: name of its pod.
        namespace: of its pod.
        node: Kubernetes node that the pod runs on, or empty when unknown. Without it a Service
            with ``externalTrafficPolicy: Local`` does not announce the address.
        port: TCP port of the API.
    """

    name: str
    address: str
    pod: str
    namespace: str
    node: str
    port: int

    def endpoint(self) -> dict[str, Any]:
        """The one endpoint of the slice."""
        endpoint: dict[str, Any] = {
            "addresses": [self.address],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "name": self.pod, "namespace": self.namespace},
        }
        if self.node:
            endpoint["nodeName"] = self.node
        return endpoint

    def ports(self) -> list[dict[str, Any]]:
        """The one port of the slice."""
        return [{"name": "api", "port": self.port, "protocol": "TCP"}]


@dataclass(frozen=True, slots=True)
class Write:
    """Replace the slice by this; it carries the ``resourceVersion`` that was read."""

    slice: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keep:
    """The slice says already what it should."""


@dataclass(frozen=True, slots=True)
class Yield:
    """The slice belongs to another leader: leave it alone.

    Attributes:
        term: that the slice was written in.
        leader: that wrote it.
    """

    term: int
    leader: str


Decision = Write | Keep | Yield


def decide(observed: Slice, *, term: int, me: Me) -> Decision:
    """What the leader of ``term`` does about the slice it read.

    Args:
        observed: the slice, with its ``metadata.resourceVersion``.
        term: that this server leads in.
        me: this server.

    Raises:
        HookError: the slice is of another address family than this server's address.
    """
    metadata = observed.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    known = term_of(observed)
    leader = str(annotations.get(LEADER_ANNOTATION, ""))
    if known is not None and known > term:
        return Yield(known, leader)
    # Raft elects one leader a term. An equal term with another name is a fact we cannot explain,
    # and a route that nobody moves is better than one that two servers pull at.
    if known == term and leader not in ("", me.name):
        return Yield(known, leader)
    family = f"IPv{ipaddress.ip_address(me.address).version}"
    if observed.get("addressType", family) != family:
        raise HookError(
            f"the EndpointSlice is of addressType {observed['addressType']}, "
            f"and this pod's address is {me.address}"
        )
    fence = {TERM_ANNOTATION: str(term), LEADER_ANNOTATION: me.name}
    wanted = {
        "metadata": {"annotations": fence},
        "endpoints": [me.endpoint()],
        "ports": me.ports(),
    }
    if _contains(observed, wanted):
        return Keep()
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return Write(
        {
            **observed,
            "metadata": {
                **kept,
                "annotations": {**annotations, **fence},
            },
            "endpoints": wanted["endpoints"],
            "ports": wanted["ports"],
        }
    )


def decide_release(observed: Slice, *, term: int, me: Me) -> Write | Keep:
    """What a leader of ``term`` that steps down does: take itself out, and nobody else.

    The fence stays, so that a leader of an earlier term is kept out all the same.
    """
    metadata = observed.get("metadata") or {}
    leader = (metadata.get("annotations") or {}).get(LEADER_ANNOTATION)
    addresses = [each.get("addresses") for each in observed.get("endpoints") or ()]
    if term_of(observed) != term or leader != me.name or addresses != [[me.address]]:
        return Keep()
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return Write({**observed, "metadata": kept, "endpoints": []})


def term_of(observed: Slice) -> int | None:
    """The term that a slice was written in; ``None`` when it states none that can be read."""
    annotations = (observed.get("metadata") or {}).get("annotations") or {}
    text = str(annotations.get(TERM_ANNOTATION, ""))
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= TERM_DIGITS else None


def _contains(observed: Any, wanted: Any) -> bool:
    """Whether everything wanted is there. What a later API server or the operator adds may stay.

    Lists must have the same length: a second endpoint is a second leader.
    """
    if isinstance(wanted, Mapping):
        return isinstance(observed, Mapping) and all(
            key in observed and _contains(observed[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(observed, list)
            and len(observed) == len(wanted)
            and all(_contains(*pair) for pair in zip(observed, wanted, strict=True))
        )
    return bool(observed == wanted)
