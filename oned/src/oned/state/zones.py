"""Zones and the servers registered in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self
from urllib.parse import urlsplit

from oned.config.kinds import Endpoint, HostPort
from oned.constants import PEER_PORT
from oned.raft.types import Member, ServerId
from oned.state import xml
from oned.state.acl import ObjectType
from oned.state.entry import Reader
from oned.state.objects import Kind, PoolObject

LOCAL_ZONE = 0
SYSTEM_ZONES = 100
"""Zones with a lower id are OpenNebula's own and stay."""

ENABLED, DISABLED = 0, 1
NO_ENDPOINT = "-"
"""Stored when an update leaves a zone without ENDPOINT."""

KIND = Kind(table="zone_pool", type=ObjectType.ZONE, root="ZONE", word="zone", taken_by="Zone")


@dataclass(slots=True, kw_only=True)
class Zone(PoolObject):
    """A zone. ``servers`` maps server ids to the attributes given, ID among them."""

    KIND: ClassVar[Kind] = KIND

    state: int = ENABLED
    servers: dict[int, dict[str, str]] = field(default_factory=dict)

    def body(self) -> str:
        return "".join(
            (
                f"<ZONE><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>",
                f"<STATE>{self.state}</STATE>",
                self.template.to_xml(),
                "<SERVER_POOL>",
                *[_server_xml(self.servers[key]) for key in sorted(self.servers)],
                "</SERVER_POOL></ZONE>",
            )
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        body = xml.Body(text)
        return cls(
            oid=body.integer("ID"),
            name=body.text("NAME"),
            state=body.integer("STATE"),
            template=body.template(),
            servers={int(server["ID"]): server for server in body.nested("SERVER_POOL")},
        )

    def add_server(self, server_id: int, attributes: Mapping[str, str]) -> None:
        self.servers[server_id] = {**attributes, "ID": str(server_id)}

    def settle_template(self) -> None:
        """After an update: servers have their own place, and ENDPOINT is never empty."""
        self.template.remove("SERVER")
        if not self.template.get("ENDPOINT"):
            self.template.set("ENDPOINT", NO_ENDPOINT)


def _server_xml(attributes: Mapping[str, str]) -> str:
    inner = "".join(
        [f"<{name}>{xml.cdata(attributes[name])}</{name}>" for name in sorted(attributes)]
    )
    return f"<SERVER>{inner}</SERVER>"


def server_fault(attributes: Mapping[str, str], zone: Zone) -> str | None:
    """Why a server cannot be registered, None when it can."""
    for name in ("NAME", "ENDPOINT"):
        if not attributes.get(name):
            return f"Missing {name} in SERVER"
    for name, value, kind in (
        ("ENDPOINT", attributes["ENDPOINT"], Endpoint()),
        ("ENDPOINT_PEER", attributes.get("ENDPOINT_PEER"), HostPort()),
    ):
        try:
            if value:
                kind.parse(value)
        except ValueError as error:
            return f"{name} {value} must be {error}"
    for server in zone.servers.values():
        for name in ("NAME", "ENDPOINT"):
            if server.get(name) == attributes[name]:
                return f"{name} {attributes[name]} is already taken by server {server['ID']}"
    return None


def peer_endpoint(attributes: Mapping[str, str]) -> str:
    """``host:port`` where a server listens for its peers."""
    given = attributes.get("ENDPOINT_PEER")
    if given:
        return given
    host = urlsplit(attributes["ENDPOINT"]).hostname or ""
    return f"[{host}]:{PEER_PORT}" if ":" in host else f"{host}:{PEER_PORT}"


def member(server_id: int, attributes: Mapping[str, str], *, voter: bool = False) -> Member:
    """The member of the Raft configuration that a SERVER vector stands for."""
    return Member(
        ServerId(server_id),
        attributes["NAME"],
        attributes["ENDPOINT"],
        peer_endpoint(attributes),
        voter=voter,
    )


def is_disabled(reader: Reader, zone_id: int) -> bool:
    zone = Zone.load(reader, zone_id)
    return zone is not None and zone.state == DISABLED
