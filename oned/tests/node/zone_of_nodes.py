"""A zone of real nodes in one process: real SQLite files, real TLS connections on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

from oned import pki
from oned.node import Node, Settings
from oned.raft.timing import Options
from oned.raft.types import Configuration, Member, Role, ServerId
from oned.state.bootstrap import bootstrap_change
from oned.state.entry import Change, Statement
from oned.storage.store import Store
from oned.transport.peers import Peers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Zone:
    """Nodes by name; ``server-0`` makes the zone, the others wait to be adopted.

    They share one loop: what holds it up for an election timeout, here the shipped one, costs the
    zone its leader.
    """

    def __init__(
        self, directory: Path, retention: int = 1000, election_timeout: float = 1.0
    ) -> None:
        self.directory = directory
        self.election_timeout = election_timeout
        self.retention = retention
        self.authority = pki.create_authority(directory / "ca")
        self.nodes: dict[str, Node] = {}
        self.ports: dict[str, int] = {}

    def member(self, name: str, server_id: int, **more) -> Member:
        endpoint = f"http://127.0.0.1:1/{name}"
        peer = f"127.0.0.1:{self.ports[name]}"
        return Member(ServerId(server_id), name, endpoint, peer, **more)

    async def start(self, name: str, *, seed: bool = False) -> Node:
        home = self.directory / name
        self.ports.setdefault(name, free_port())
        pki.issue_server(self.authority, name, hosts=["127.0.0.1"], directory=home / "tls")
        # As the daemon does it: megabytes are written and synced, and the others go on meanwhile.
        store = await asyncio.to_thread(Store, home / "one.db")
        if seed and not store.facts.initialised:
            member = self.member(name, 0, voter=True, disk=store.facts.disk)
            store.bootstrap(
                bootstrap_change(
                    oneadmin=("oneadmin", "secret"),
                    serveradmin_password=uuid.uuid4().hex,
                    zone_endpoint="http://localhost:2633/RPC2",
                    server=member,
                    now=int(time.time()),
                ),
                zone_uuid=self.authority.zone_uuid,
                server_id=ServerId(0),
                configuration=Configuration((member,)),
            )
        settings = Settings(
            options=Options(election_timeout=self.election_timeout, heartbeat=0.05),
            log_retention=self.retention,
            limit_purge=1000,
            purge_interval=0.2,
            solo=False,
            fixed_id=None,
            name=name,
        )
        node = Node(store, settings, home / "snapshots")
        if seed:
            node.core.election_deadline = time.monotonic()  # the only voter waits for nobody
        peers = Peers(
            directory=home / "tls",
            name=name,
            host="127.0.0.1",
            port=self.ports[name],
            events=node.post,
        )
        await node.start(peers)
        self.nodes[name] = node
        return node

    async def stop(self, name: str, *, wipe: bool = False) -> None:
        node = self.nodes.pop(name)
        await node.stop()
        await asyncio.to_thread(node.store.close)
        if wipe:
            for file in (self.directory / name).glob("one.db*"):
                file.unlink()

    async def leader(self) -> Node:
        return await until(
            lambda: next(
                (n for n in self.nodes.values() if n.core.role is Role.LEADER and n.core.serving),
                None,
            )
        )

    async def add(self, name: str, server_id: int) -> None:
        leader = await self.leader()
        configuration = leader.configuration().with_member(self.member(name, server_id))
        await leader.propose(Change(), term=leader.core.term, configuration=configuration)

    async def write(self, key: str) -> None:
        leader = await self.leader()
        await leader.propose(
            Change((Statement("INSERT INTO system_attributes VALUES (?, ?)", (key, "x")),)),
            term=leader.core.term,
        )

    async def until_voter(self, server_id: int) -> None:
        async def is_voter() -> bool:
            leader = await self.leader()
            return ServerId(server_id) in leader.core.voters and not leader.core.change_pending

        await until_async(is_voter)


async def until(condition, seconds: float = 30.0):
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.01)
        return found


async def until_async(condition, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


def attributes(node: Node) -> set[str]:
    return {str(row[0]) for row in node.reader.rows("SELECT name FROM system_attributes")}


@asynccontextmanager
async def running_zone(directory: Path, servers: int = 3, **options):
    """A zone that grew to ``servers`` voters."""
    zone = Zone(directory, **options)
    try:
        await zone.start("server-0", seed=True)
        for number in range(1, servers):
            await zone.start(f"server-{number}")
            await zone.add(f"server-{number}", number)
            await zone.until_voter(number)
        yield zone
    finally:
        for name in list(zone.nodes):
            await zone.stop(name)
