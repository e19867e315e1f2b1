"""The shipped peers and calls over simulated connections.

``SimPeers`` is ``oned.transport.peers.Peers`` with everything but the sockets: dialing, greeting,
links and frames are the shipped ones. ``Session`` stands where the API's forwarder has aiohttp's
client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from oned.api.flow import Envelope
from oned.api.forwarding import CONNECT_TIMEOUT_SECONDS, HOPS_HEADER, Forwarder
from oned.errors import PeerError
from oned.transport.links import Link
from oned.transport.peers import CONNECT_SECONDS, PeerEvents, Peers
from proof.sim.network import Socket

if TYPE_CHECKING:
    from proof.sim.machine import Host, Machine

MORE, LAST = b"\x00", b"\x01"
"""First byte of what is sent in order: more to come, or an end (of a stream, with an error)."""

BLOCK_BYTES = 512
BLOCK_SECONDS = 0.003
STREAM_SECONDS = 30.0


class SimPeers(Peers):
    """The peers of one machine's process."""

    def __init__(self, machine: Machine, events: PeerEvents, zone_uuid: str) -> None:
        self._machine = machine
        self._name = machine.name
        self._events = events
        self.zone_uuid = zone_uuid
        self._links: dict[str, list[Link]] = {}
        self._dialers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._session = None
        self._runner = None

    async def start(self) -> None:
        self._machine.listening = True

    async def stop(self) -> None:
        self._machine.listening = False
        await super().stop()

    def reach(self, members: Mapping[str, str]) -> None:
        # In the order of names: a set's own order differs from one run to the next.
        for name in sorted(members):
            known = {key[0]: key[1] for key in self._dialers} | {name: members[name]}
            super().reach({n: a for n, a in known.items() if n in members})

    async def _connect(self, name: str, address: str) -> bool:
        socket = await self._machine.open(address, self._accepted_by(), CONNECT_SECONDS)
        return await self._converse(Link(name, socket))  # type: ignore[arg-type]

    def _accepted_by(self) -> Callable[[Machine, Socket], Awaitable[Any]]:
        name = self._name

        async def accept(far: Machine, socket: Socket) -> None:
            assert far.peers is not None
            await far.peers._converse(Link(name, socket))  # type: ignore[arg-type]

        return accept

    async def send_snapshot(
        self, name: str, address: str, path: Path, checksum: str, headers: Mapping[str, str]
    ) -> int:
        try:
            async with asyncio.timeout(STREAM_SECONDS):
                return await self._stream(address, path.read_bytes(), checksum, headers)  # noqa: ASYNC240
        except (OSError, TimeoutError, ValueError) as error:
            raise PeerError(f"the snapshot stream to {name} broke: {error!r}") from error

    async def _stream(
        self, address: str, content: bytes, checksum: str, headers: Mapping[str, str]
    ) -> int:
        sender = self._name

        async def take(far: Machine, socket: Socket) -> None:
            assert far.node is not None
            offset = far.node.post.snapshot_offset(sender, checksum)
            await socket.send_bytes(MORE + str(offset).encode())
            try:
                index = await far.node.post.snapshot_received(
                    sender, {**headers, "checksum": checksum}, offset, _blocks(socket)
                )
                await socket.send_bytes(MORE + str(index).encode())
            except (PeerError, ValueError) as error:
                await socket.send_bytes(LAST + str(error).encode())

        socket = await self._machine.open(address, take, CONNECT_SECONDS)
        try:
            offset = int(await _said(socket))
            for start in range(offset, len(content), BLOCK_BYTES):
                await socket.send_bytes(MORE + content[start : start + BLOCK_BYTES])
                await asyncio.sleep(BLOCK_SECONDS)
            await socket.send_bytes(LAST)
            return int(await _said(socket))
        finally:
            await socket.close()


async def _blocks(socket: Socket) -> AsyncIterator[bytes]:
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionResetError("the stream broke")
        if message.data[:1] == LAST:
            return
        yield message.data[1:]


async def _said(socket: Socket) -> str:
    """The other end's next word.

    Raises:
        PeerError: it is a refusal.
        ConnectionResetError: there is none.
    """
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.BINARY:
        raise ConnectionResetError("the stream broke")
    if message.data[:1] == LAST:
        raise PeerError(message.data[1:].decode())
    return str(message.data[1:].decode())


@dataclass(frozen=True, slots=True)
class Response:
    """What of aiohttp's response is used."""

    status: int
    body: bytes

    async def read(self) -> bytes:
        return self.body


class Session:
    """In the place of ``aiohttp.ClientSession``: calls to machines by their endpoint."""

    def __init__(self, machine: Host, total_seconds: float) -> None:
        self._machine = machine
        self._total_seconds = total_seconds

    @asynccontextmanager
    async def post(
        self, endpoint: str, *, data: bytes, headers: Mapping[str, str], **_: Any
    ) -> AsyncIterator[Response]:
        """One call.

        Raises:
            aiohttp.ClientConnectorError: no connection was made.
            aiohttp.ServerDisconnectedError: it ended without an answer.
            TimeoutError: there was none in time.
        """
        async with asyncio.timeout(self._total_seconds):
            yield await self._exchange(endpoint, data, headers)

    async def _exchange(self, endpoint: str, data: bytes, headers: Mapping[str, str]) -> Response:
        envelope = Envelope(
            data,
            hops=int(headers.get(HOPS_HEADER, "0")),
            linearizable=headers.get("X-One-Consistency") == "linearizable",
        )

        async def serve(far: Machine, socket: Socket) -> None:
            await socket.receive()
            await socket.send_bytes(MORE + await far.answer(envelope))

        try:
            socket = await self._machine.open(endpoint, serve, CONNECT_TIMEOUT_SECONDS)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError from None
        except OSError as error:
            raise aiohttp.ClientConnectorError(None, error) from None  # type: ignore[arg-type]
        try:
            await socket.send_bytes(MORE + data)
            message = await socket.receive()
        finally:
            await socket.close()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise aiohttp.ServerDisconnectedError
        return Response(200, message.data[1:])

    async def close(self) -> None:
        pass


class SimForwarder(Forwarder):
    """The shipped forwarder on a simulated session."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        total = self._timeout.total
        assert total is not None
        self._session = Session(machine, total)  # type: ignore[assignment]

    def _client(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    async def close(self) -> None:
        with contextlib.suppress(AttributeError):
            self._session = None
