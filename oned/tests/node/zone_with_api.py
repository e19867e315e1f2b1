"""A zone of real nodes, each with the public port in front of it, and a client that remembers."""

from __future__ import annotations

import itertools
import xmlrpc.client
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
from zone_of_nodes import Zone, free_port

from oned.api.server import ApiServer
from oned.config import Config
from oned.node import Node
from oned.raft.types import Member, ServerId

SESSION = "oneadmin:secret"
LINEARIZABLE = {"X-One-Consistency": "linearizable"}


class ZoneWithApi(Zone):
    """As ``Zone``; ``calls`` has the methods that each server answered."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.api_ports: dict[str, int] = {}
        self.apis: dict[str, ApiServer] = {}
        self.calls: dict[str, list[tuple[str, str]]] = {}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.api_ports[name]}/RPC2"

    def member(self, name: str, server_id: int, **more) -> Member:
        return replace(super().member(name, server_id, **more), endpoint=self.url(name))

    async def start(self, name: str, *, seed: bool = False) -> Node:
        self.api_ports.setdefault(name, free_port())
        node = await super().start(name, seed=seed)
        config = replace(Config(), port=self.api_ports[name], listen_address="127.0.0.1")
        calls = self.calls.setdefault(name, [])
        api = ApiServer(
            node, config, requests=lambda method, outcome, _: calls.append((method, outcome))
        )
        await api.start()
        self.apis[name] = api
        return node

    async def stop(self, name: str, *, wipe: bool = False) -> None:
        """In the daemon's order."""
        await self.nodes[name].hand_over()
        await self.apis.pop(name).stop()
        await super().stop(name, wipe=wipe)

    def follower(self, leader: Node) -> Node:
        return next(
            n
            for n in self.nodes.values()
            if n is not leader and n.core.server_id in leader.core.voters
        )


@asynccontextmanager
async def running_zone_with_api(directory: Path, servers: int = 3):
    zone = ZoneWithApi(directory)
    try:
        await zone.start("server-0", seed=True)
        for number in range(1, servers):
            await zone.start(f"server-{number}")
            await zone.add(f"server-{number}", number)
            await zone.until_voter(ServerId(number))
        yield zone
    finally:
        for name in list(zone.nodes):
            await zone.stop(name)


class Client:
    """Calls one server after the other; an answer is ``ok``, ``refused``, ``unknown``."""

    def __init__(self, http: aiohttp.ClientSession, *urls: str, session: str = SESSION) -> None:
        self.http, self.urls, self.session = http, itertools.cycle(urls), session

    async def call(self, method: str, *parameters, headers=None) -> tuple[str, object]:
        body = xmlrpc.client.dumps((self.session, *parameters), method).encode()
        try:
            async with self.http.post(next(self.urls), data=body, headers=headers) as response:
                answer = await response.read()
                assert response.status == 200
        except aiohttp.ClientConnectorError:
            return "refused", "cannot connect"
        except aiohttp.ClientError as error:
            return "unknown", repr(error)
        ((success, value, *_),), _ = xmlrpc.client.loads(answer)
        if success:
            return "ok", value
        return "unknown" if "Outcome unknown" in value else "refused", value
