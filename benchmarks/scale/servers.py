"""The servers of many zones, simulated in one process: ``/status`` and two XML-RPC methods.

Each server has an address of its own, since the ports are the contract's. They vote,
copy and fail as little as they can: what is measured is the operator.
"""

from __future__ import annotations

import ipaddress
import re
import time
import xmlrpc.client
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

__all__ = ["Servers"]

CATCH_UP_SECONDS = 0.3
"""A learner votes after this."""
API_PORT, ADMIN_PORT = 2633, 2636
_NAME = re.compile(r'NAME = "([^"]+)"')


@dataclass
class _Member:
    id: int
    name: str
    since: float

    @property
    def is_voter(self) -> bool:
        return time.monotonic() - self.since > CATCH_UP_SECONDS


@dataclass
class _Zone:
    uuid: str
    members: list[_Member] = field(default_factory=list)
    up: set[str] = field(default_factory=set)
    leader: str = ""
    term: int = 0
    ids: int = 0

    def add(self, name: str) -> int:
        self.members.append(_Member(self.ids, name, time.monotonic() if self.ids else 0.0))
        self.ids += 1
        return self.ids - 1

    def elect(self) -> None:
        """The first voter that is up leads."""
        voters = [each.name for each in self.members if each.is_voter and each.name in self.up]
        if voters and self.leader not in voters:
            self.leader, self.term = voters[0], self.term + 1


class Servers:
    """Answers at the addresses that it gave out, all of one network that is this machine's."""

    def __init__(self, network: ipaddress.IPv4Network) -> None:
        self._network = network
        self._zones: dict[tuple[str, str], _Zone] = {}
        self._at: dict[str, tuple[_Zone, str]] = {}
        self._addresses: dict[tuple[str, str], str] = {}
        self._runner: web.AppRunner | None = None
        self.answered = 0

    async def start(self) -> None:
        """Be ready to listen."""
        application = web.Application()
        application.router.add_get("/status", self._status)
        application.router.add_post("/RPC2", self._call)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def run(self, namespace: str, zone: str, server: str, uuid: str) -> str:
        """A server's process starts; its address, which stays its own."""
        found = self._zones.setdefault((namespace, zone), _Zone(uuid))
        if not found.members:
            found.add(server)
        found.up.add(server)
        address = self._addresses.get((namespace, server))
        if address is None:
            address = str(self._network[len(self._addresses) + 1])
            self._addresses[namespace, server] = address
            self._at[address] = (found, server)
            assert self._runner is not None
            for port in (API_PORT, ADMIN_PORT):
                await web.TCPSite(self._runner, address, port).start()
        return address

    def end(self, namespace: str, zone: str, server: str) -> None:
        """A server's process ends."""
        found = self._zones.get((namespace, zone))
        if found is not None:
            found.up.discard(server)

    def _who(self, request: web.Request) -> tuple[_Zone, str]:
        assert request.transport is not None
        zone, server = self._at[request.transport.get_extra_info("sockname")[0]]
        if server not in zone.up:
            raise web.HTTPServiceUnavailable
        zone.elect()
        self.answered += 1
        return zone, server

    async def _status(self, request: web.Request) -> web.Response:
        zone, server = self._who(request)
        leads = server == zone.leader
        ids = {each.name: each.id for each in zone.members}
        knows = server in ids
        report: dict[str, Any] = {
            "version": "0.1.0",
            "name": server,
            "zone_uuid": zone.uuid if knows else "",
            "server_id": ids.get(server),
            "state": "leader" if leads else "follower",
            "term": zone.term,
            "leader_id": ids.get(zone.leader, -1),
            "commit": 100,
            "serving": leads,
            "initialised": knows,
            "configuration_committed": True,
            "database": "ok",
            "members": [
                {
                    "id": each.id,
                    "name": each.name,
                    "endpoint": f"http://{each.name}:{API_PORT}/RPC2",
                    "voter": each.is_voter,
                    "match": 100 if leads else None,
                    "lag": 0 if leads else None,
                    "last_contact_seconds": _contact(zone, each.name) if leads else None,
                }
                for each in (zone.members if knows else ())
            ],
        }
        return web.json_response(report)

    async def _call(self, request: web.Request) -> web.Response:
        zone, server = self._who(request)
        parameters, method = xmlrpc.client.loads(await request.text())
        if server != zone.leader:
            return _answer(False, "this server does not lead")
        if method == "one.zone.addserver":
            found = _NAME.search(str(parameters[2]))
            assert found is not None
            return _answer(True, zone.add(found.group(1)))
        if method == "one.zone.transferleader":
            return self._transfer(zone, int(str(parameters[2])))
        assert method == "one.zone.delserver"
        zone.members = [each for each in zone.members if each.id != parameters[2]]
        return _answer(True, parameters[2])

    def _transfer(self, zone: _Zone, server_id: int) -> web.Response:
        others = [each for each in zone.members if each.is_voter and each.name != zone.leader]
        wished = [each for each in others if server_id in {-1, each.id} and each.name in zone.up]
        if not wished:
            return _answer(False, "no such follower")
        zone.leader, zone.term = wished[0].name, zone.term + 1
        return _answer(True, wished[0].id)


def _contact(zone: _Zone, name: str) -> float:
    return 0.05 if name in zone.up else 60.0


def _answer(success: bool, value: Any) -> web.Response:
    body = xmlrpc.client.dumps(([success, value, 0],), methodresponse=True)
    return web.Response(text=body, content_type="text/xml")
