"""One server of the world: a process that lives, pauses and dies on a disk and a clock."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from oned import daemon
from oned.api import methods
from oned.api.calls import Services
from oned.api.flow import Envelope, Flow
from oned.config import default_text, parse_config
from oned.node import Node, Settings
from oned.raft.timing import Options
from oned.raft.writes import Write
from oned.storage import export, snapshot
from oned.storage.store import Applied, Store
from proof.sim.clock import Clock
from proof.sim.disk import Disk
from proof.sim.doors import DOORS
from proof.sim.loop import Loop
from proof.sim.network import Socket
from proof.sim.transport import SimForwarder, SimPeers

if TYPE_CHECKING:
    from proof.sim.world import World

ELECTION_TIMEOUT = 1.0
HEARTBEAT = 0.15
LOG_RETENTION = 40
"""Applied entries that are kept: few, so that whoever was away a little needs a snapshot."""

PURGE_SECONDS = 0.7
KNOCKS = 10
"""How often the first packet of a connection is sent again before it is given up."""

REGISTRY = methods.all_methods()
CONFIG = parse_config(default_text().replace("SERVER_ID   = -1", 'SERVER_ID = "AUTO"'))


class Host:
    """Who can open connections: a server's machine, or the place where clients are."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clock = Clock()
        self.disk = Disk(random.Random(f"{world.seed} disk {name}"))
        self.loop = self.new_loop()

    def new_loop(self) -> Loop:
        loop = Loop(  # type: ignore[abstract]
            self.world.agenda,
            self.clock,
            work_seconds=self.disk.work_seconds,
            failed=lambda error: self.world.rules.process_failed(self.name, error),
        )
        loop.owner = self
        self.world.loops.append(loop)
        return loop

    def do(self, work: Callable[[], object]) -> None:
        """Have the process do something, in its turn."""
        self.loop.call_soon(work)

    async def open(
        self,
        address: str,
        accept: Callable[[Machine, Socket], Awaitable[Any]],
        connect_seconds: float,
    ) -> Socket:
        """A connection to the machine at ``address``, where ``accept`` runs with the other end.

        Raises:
            ConnectionRefusedError: nobody listens there.
            TimeoutError: nothing is heard from there.
        """
        network, far = self.world.network, self.world.machine_at(address)
        for _ in range(KNOCKS):
            if network.passes(self.name, far.name) and not far.loop.paused:
                break
            await asyncio.sleep(connect_seconds / KNOCKS)
        else:
            raise TimeoutError(f"{address} does not answer")
        await asyncio.sleep(network.delay())
        if not far.listening:
            raise ConnectionRefusedError(111, "Connection refused")
        near_socket, far_socket = Socket(self.name, self.loop), Socket(far.name, far.loop)
        network.connect(near_socket.end, far_socket.end)
        far.do(lambda: far.accepted(accept(far, far_socket)))
        return near_socket


class WatchedStore(Store):
    """The shipped store; the rules see each write before it is made and after."""

    def write(self, write: Write) -> Applied:
        machine = DOORS.loop.owner
        rules = machine.world.rules
        rules.before_write(machine, write)
        applied = super().write(write)
        rules.after_write(machine)
        return applied


class Machine(Host):
    """A server's machine. ``node`` is the running process's, None while it is down."""

    def __init__(self, world: World, name: str, directory: Path) -> None:
        super().__init__(world, name)
        self.directory = directory
        self.listening = False
        self.node: Node | None = None
        self.peers: SimPeers | None = None
        self._flow: Flow | None = None
        self.stopping = self._start_again = False
        self._conversations: list[asyncio.Task[Any]] = []
        self.loop.kill()

    @property
    def up(self) -> bool:
        return not self.loop.dead

    @property
    def endpoint(self) -> str:
        return f"http://{self.name}:2633/RPC2"

    @property
    def peer_endpoint(self) -> str:
        return f"{self.name}:2635"

    def start(self) -> None:
        """Start the process if none runs; once it has ended, when it is about to."""
        if self.up:
            self._start_again = self.stopping
            return
        self.stopping = self._start_again = False
        self.loop = self.new_loop()
        self.do(lambda: self.loop.create_task(self._serve()))

    async def _serve(self) -> None:
        environment: Any = SimpleNamespace(var=self.directory, may_bootstrap=False)
        store = await daemon._open(CONFIG, environment)
        daemon._settle_identity(store, CONFIG, environment, self.world.zone_uuid)
        node = Node(store, self._settings(), self.directory / "snapshots", export=_export)
        node.failed.add_done_callback(self._failed)
        self.node = node
        self.peers = SimPeers(self, node.post, self.world.zone_uuid)
        wall = lambda: self.clock.wall(self.world.agenda.now)  # noqa: E731
        self._flow = Flow(Services(node, CONFIG, clock=wall), REGISTRY, SimForwarder(self))
        await node.start(self.peers)

    def _settings(self) -> Settings:
        return Settings(
            options=Options(election_timeout=ELECTION_TIMEOUT, heartbeat=HEARTBEAT),
            log_retention=LOG_RETENTION,
            limit_purge=1000,
            purge_interval=PURGE_SECONDS,
            solo=False,
            fixed_id=None,
            name=self.name,
        )

    def _failed(self, failed: asyncio.Future[None]) -> None:
        error = failed.exception()
        assert error is not None
        self.world.rules.server_failed(self, error)

    def accepted(self, conversation: Awaitable[Any]) -> None:
        async def converse() -> None:
            with contextlib.suppress(ConnectionError):
                await conversation

        self._conversations.append(self.loop.create_task(converse()))

    async def answer(self, envelope: Envelope) -> bytes:
        assert self._flow is not None
        return await self._flow.answer(envelope)

    # --- what can befall it ----------------------------------------------------------

    def crash(self, *, power_lost: bool) -> None:
        """The process is gone at once; its connections break, as others soon learn."""
        if not self.up:
            return
        self.loop.kill()
        self.listening, self.node, self.peers, self._flow = False, None, None, None
        network = self.world.network
        for connection in list(network.connections):
            for end in (connection.near, connection.far):
                if end.loop is self.loop:
                    connection.break_off(told=(connection.other(end),))
        lies_come_true = power_lost and self.disk.lying and self.world.can_lose(self)
        self.disk.crash(power_lost=power_lost, truly=lies_come_true)
        self._damage_files()
        self.world.rules.crashed(self)

    def _damage_files(self) -> None:
        """Half-received snapshots are not synced: of each, any beginning may be left."""
        for path in sorted((self.directory / "snapshots").glob("incoming-*")):
            content = path.read_bytes()
            path.write_bytes(content[: self.world.chance("files").randint(0, len(content))])

    def stop(self) -> None:
        """The process ends as it does on SIGTERM."""
        if self.up and self.node is not None and not self.stopping:
            self.stopping = True
            self.do(lambda: self.loop.create_task(self._stop()))

    async def _stop(self) -> None:
        node = self.node
        if node is None:
            return
        await node.hand_over()
        await node.stop()
        node.store.close()
        again = self._start_again
        self.crash(power_lost=False)
        if again:
            self.start()

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        self.crash(power_lost=True)
        self.disk.wipe()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def pause(self) -> None:
        if self.up:
            self.loop.pause()

    def resume(self) -> None:
        self.loop.resume()

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have the process run something beside its work, if it lives."""
        self.do(lambda: self._conversations.append(self.loop.create_task(work())))


async def _export(_database: Path, path: Path) -> export.Export:
    """What ``oned.storage.export`` does in a process of its own, here and now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    connection = loop.owner.disk.connection

    def work() -> export.Export:
        header = snapshot.export(connection, path)
        return export.Export(header, snapshot.checksum(path), path.stat().st_size)

    written: export.Export = await loop.run_in_executor(None, work)
    return written
