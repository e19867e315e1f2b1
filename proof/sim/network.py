"""Connections between machines, and what happens to what is sent over them.

A connection keeps its order, like TCP, unless a seed makes the network lossy: then single Raft
messages are lost, doubled and overtaken, which Raft allows. Over a direction that is cut nothing
arrives; what was sent waits, and arrives stale after the healing, or is lost with a reset.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from proof.sim.loop import Agenda, Loop

GREETING_KINDS = frozenset((0, 1))
"""First bytes of Hello and Adopt: the frames that only a connection's own order protects."""

DEAD_SECONDS = 10.0
"""Both ends give a connection up on which one direction has been silent for so long."""


@dataclass(slots=True)
class Weather:
    """How the network is: seconds of delay, and chances of single messages."""

    delay: tuple[float, float] = (0.0002, 0.002)
    loss: float = 0.0
    double: float = 0.0
    overtake: float = 0.0


class Network:
    """All connections of a world."""

    def __init__(self, agenda: Agenda, chance: random.Random) -> None:
        self.agenda = agenda
        self.chance = chance
        self.weather = Weather()
        self.cut: set[tuple[str, str]] = set()
        self.connections: list[Connection] = []
        self.messages = 0
        self.digest = 0
        self.on_frame: Callable[[str, str, bytes], None] = lambda _from, _to, _data: None
        self.on_send: Callable[[str, bytes], None] = lambda _from, _data: None

    def delay(self) -> float:
        low, high = self.weather.delay
        return low + (high - low) * self.chance.random()

    def passes(self, one: str, other: str) -> bool:
        """Whether a connection between the two can be made or used."""
        return (one, other) not in self.cut and (other, one) not in self.cut

    def connect(self, near: End, far: End) -> None:
        connection = Connection(self, near, far)
        near.connection = far.connection = connection
        self.connections.append(connection)

    def set_cut(self, cut: set[tuple[str, str]]) -> None:
        """Cut exactly these directions; what waited in the others goes on its way."""
        healed, self.cut = self.cut - cut, cut
        for connection in list(self.connections):
            for end in (connection.near, connection.far):
                if (end.host, connection.other(end).host) in healed:
                    connection.release(end)

    def reset(self, wanted: Callable[[Connection], bool]) -> None:
        """Break connections: what is on its way is lost, both ends notice soon."""
        for connection in list(self.connections):
            if wanted(connection):
                connection.break_off()

    def give_up_silent(self) -> None:
        """What a WebSocket's pings find out."""
        now = self.agenda.now
        self.reset(
            lambda c: any(
                e.held_since is not None and now > e.held_since + DEAD_SECONDS
                for e in (c.near, c.far)
            )
        )


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection: who sits there, and what it is given."""

    host: str
    loop: Loop
    deliver: Callable[[bytes], None]
    closed: Callable[[], None]
    connection: Connection | None = None
    arrives_at: float = 0.0
    held: deque[bytes] = field(default_factory=deque)
    held_since: float | None = None


class Connection:
    """Two ends; each direction has its own order and its own fate."""

    def __init__(self, network: Network, near: End, far: End) -> None:
        self.network, self.near, self.far = network, near, far
        self.open = True

    def other(self, end: End) -> End:
        return self.far if end is self.near else self.near

    def send(self, end: End, data: bytes) -> None:
        """Put data on its way from ``end`` to the other."""
        network, to = self.network, self.other(end)
        if not self.open:
            return
        if (end.host, to.host) in network.cut:
            end.held.append(data)
            if end.held_since is None:
                end.held_since = network.agenda.now
            return
        weather, chance = network.weather, network.chance
        single = data[:1] and data[0] not in GREETING_KINDS
        copies = 1
        if single and (weather.loss or weather.double):
            drawn = chance.random()
            copies = 0 if drawn < weather.loss else 2 if drawn > 1 - weather.double else 1
        for _ in range(copies):
            when = network.agenda.now + network.delay()
            if single and chance.random() < weather.overtake:
                when += 20 * network.delay()
            else:
                when = to.arrives_at = max(when, to.arrives_at)
            network.agenda.at(when, to.loop, _handle(to.loop, self._arrive, end, data))

    def _arrive(self, end: End, data: bytes) -> None:
        to = self.other(end)
        if not self.open:
            return
        if (end.host, to.host) in self.network.cut:
            end.held.append(data)
            if end.held_since is None:
                end.held_since = self.network.agenda.now
            return
        network = self.network
        network.messages += 1
        network.digest = zlib.crc32(data, network.digest)
        network.on_frame(end.host, to.host, data)
        to.deliver(data)

    def release(self, end: End) -> None:
        held, end.held, end.held_since = end.held, deque(), None
        for data in held:
            self.send(end, data)

    def break_off(self, *, told: tuple[End, ...] | None = None) -> None:
        """Nothing arrives any more; the ends in ``told`` (both when not given) learn of it."""
        if not self.open:
            return
        self.open = False
        self.network.connections.remove(self)
        for end in (self.near, self.far) if told is None else told:
            when = self.network.agenda.now + self.network.delay()
            self.network.agenda.at(when, end.loop, _handle(end.loop, end.closed))


def _handle(loop: Loop, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
    return asyncio.Handle(callback, args, loop, None)


@dataclass(frozen=True, slots=True)
class _Message:
    """What a WebSocket's ``receive`` gives."""

    type: aiohttp.WSMsgType
    data: bytes = b""


class Socket:
    """One end of a peers' WebSocket, as ``oned.transport.links`` uses it."""

    def __init__(self, host: str, loop: Loop) -> None:
        self.end = End(host, loop, self._deliver, self._closed)
        self._arrived: deque[_Message] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def _deliver(self, data: bytes) -> None:
        self._arrived.append(_Message(aiohttp.WSMsgType.BINARY, data))
        self._wake()

    def _closed(self) -> None:
        self._arrived.append(_Message(aiohttp.WSMsgType.CLOSED))
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def receive(self) -> _Message:
        while not self._arrived:
            self._waiting = self.end.loop.create_future()
            await self._waiting
        return self._arrived.popleft()

    async def send_bytes(self, data: bytes) -> None:
        connection = self.end.connection
        assert connection is not None
        if not connection.open:
            raise ConnectionResetError("the connection is closed")
        connection.network.on_send(self.end.host, data)
        connection.send(self.end, data)

    async def close(self) -> None:
        connection = self.end.connection
        if connection is not None:
            connection.break_off(told=(connection.other(self.end),))
