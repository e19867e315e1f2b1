"""The peers' port, and connections to all members: who is there, and frames to and from them.

Losing a frame is normal and raises nothing into the node. A peer is known by the name in
its certificate; which server id that is, and whether it may speak for it, the node decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
import structlog
from aiohttp import web

from oned import pki, tls
from oned.errors import PeerError
from oned.transport import codec
from oned.transport.codec import Frame, Hello
from oned.transport.links import Link

CONNECT_SECONDS = 2.0
REDIAL_SECONDS = (0.05, 1.0)
"""First and longest pause between attempts to reach a member; it doubles in between."""

IDLE_SECONDS = 10.0
"""A connection on which nothing at all was heard for so long is dead (WebSocket ping)."""

SNAPSHOT_BLOCK = 128 << 10
SNAPSHOT_BYTES_A_SECOND = 48 << 20
"""A stream takes no more than this of the leader's time, network and disk."""

STALL_SECONDS = 30.0
"""A snapshot stream that moves nothing for so long is given up."""

_log = structlog.get_logger()


class PeerEvents(Protocol):
    """What happens at the port; all are called on the event loop."""

    def hello(self) -> Hello:
        """What this server says of itself."""
        ...

    def link_opened(self, link: Link) -> None: ...

    def link_closed(self, link: Link) -> None: ...

    def frame_received(self, link: Link, frame: Frame) -> None: ...

    def snapshot_offset(self, name: str, checksum: str) -> int:
        """How many bytes of this snapshot are here already."""
        ...

    async def snapshot_received(
        self, name: str, headers: Mapping[str, str], offset: int, blocks: AsyncIterator[bytes]
    ) -> int:
        """Store and install a streamed snapshot; the index it ends with.

        Raises:
            PeerError: it is refused or damaged.
        """
        ...


class Peers:
    """The port and the connections of one server.

    Args:
        directory: holds ``ca.crt`` and this server's certificate and key.
        name: this server's name.
        events: the node.
    """

    def __init__(
        self, *, directory: Path, name: str, host: str, port: int, events: PeerEvents
    ) -> None:
        self._name = name
        self._host, self._port = host, port
        self._events = events
        files = (pki.AUTHORITY_CERTIFICATE, f"{name}.crt", f"{name}.key")
        self.zone_uuid = pki.identity(directory / f"{name}.crt").zone_uuid
        self.certificates = tls.Certificates(
            "peer",
            tuple(directory / file for file in files),
            lambda: tls.load_peer(directory, name, self.zone_uuid),
        )
        self._links: dict[str, list[Link]] = {}
        self._dialers: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            PeerError: the address cannot be listened on.
        """
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.certificates.client, limit=0)
        )
        app = web.Application()
        app.router.add_get("/raft", self._accept)
        app.router.add_get("/snapshot/{checksum:[0-9a-f]{64}}", self._tell_offset)
        app.router.add_put("/snapshot/{checksum:[0-9a-f]{64}}", self._take_snapshot)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            self._host,
            self._port,
            ssl_context=self.certificates.server,
            backlog=128,
        )
        try:
            await site.start()
        except OSError as error:
            raise PeerError(
                f"PEER: cannot listen on {self._host}:{self._port}: {error.strerror}"
            ) from error
        self.certificates.start()

    async def stop(self) -> None:
        """Close everything."""
        for task in self._dialers.values():
            task.cancel()
        await asyncio.gather(*self._dialers.values(), return_exceptions=True)
        self._dialers.clear()
        for link in [link for links in self._links.values() for link in links]:
            await link.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
            await self.certificates.stop()

    def reach(self, members: Mapping[str, str]) -> None:
        """Keep a connection to each of these peers, given as name → ``host:port``."""
        wanted = {(name, address) for name, address in members.items() if name != self._name}
        for key in self._dialers.keys() - wanted:
            self._dialers.pop(key).cancel()
        for key in wanted - self._dialers.keys():
            self._dialers[key] = asyncio.create_task(self._dial(*key), name=f"dial {key[0]}")

    def link(self, name: str) -> Link | None:
        """The newest connection on which a peer has greeted.

        An older one may belong to a machine that is gone, which only a missed ping tells.
        """
        links = [link for link in self._links.get(name, ()) if link.hello is not None]
        return links[-1] if links else None

    def greet_again(self) -> None:
        """Tell all peers what has changed about this server."""
        hello = self._events.hello()
        for links in self._links.values():
            for link in links:
                link.send(hello)

    async def send_snapshot(
        self, name: str, address: str, path: Path, checksum: str, headers: Mapping[str, str]
    ) -> int:
        """Stream a snapshot to a peer, from where an earlier stream broke off.

        The zone's authority vouches for the other end, the connection that is open to the
        same address has proven its name, and the peer installs only what is meant for it.

        Returns:
            The index that the peer holds now.

        Raises:
            PeerError: it was refused, or the stream broke; try again later.
        """
        assert self._session is not None
        url = f"https://{address}/snapshot/{checksum}"
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=10 * STALL_SECONDS
        )
        try:
            async with self._session.get(url, timeout=timeout) as response:
                offset = int((await response.json())["offset"])
            async with self._session.put(
                url,
                params={"offset": str(offset)},
                data=_blocks(path, offset),
                headers=dict(headers),
                timeout=timeout,
            ) as response:
                answer = await response.json()
                if response.status != 200:  # noqa: PLR2004
                    raise PeerError(str(answer.get("error", response.reason)))
                return int(answer["index"])
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
            raise PeerError(f"the snapshot stream to {name} broke: {error!r}") from error

    # --- connecting ----------------------------------------------------------------

    async def _dial(self, name: str, address: str) -> None:
        first, longest = REDIAL_SECONDS
        pause = first
        said = ""
        while True:
            try:
                if await self._connect(name, address):
                    pause, said = first, ""
            except (aiohttp.ClientError, OSError, TimeoutError, PeerError) as error:
                if str(error) != said:
                    said = str(error)
                    _log.info("peer unreachable", peer=name, address=address, error=said)
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _connect(self, name: str, address: str) -> bool:
        """Connect and stay until the connection ends; whether the peer has greeted."""
        assert self._session is not None
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await self._session.ws_connect(
                f"https://{address}/raft", max_msg_size=codec.FRAME_BYTES, heartbeat=IDLE_SECONDS
            )
        peercert = socket.get_extra_info("peercert")
        try:
            pki.verify(peercert, zone_uuid=self.zone_uuid, name=name)
        except PeerError:
            await socket.close()
            raise
        link = Link(name, socket)
        return await self._converse(link)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        peer = self._peer(request)
        socket = web.WebSocketResponse(max_msg_size=codec.FRAME_BYTES, heartbeat=IDLE_SECONDS)
        await socket.prepare(request)
        await self._converse(Link(peer, socket))
        return socket

    async def _converse(self, link: Link) -> bool:
        """Greet, then hand frames to the node until the connection ends."""
        self._links.setdefault(link.name, []).append(link)
        link.send(self._events.hello())
        try:
            while (frame := await link.receive()) is not None:
                if isinstance(frame, Hello):
                    self._greeted(link, frame)
                elif link.hello is not None:
                    self._events.frame_received(link, frame)
        except PeerError as error:
            _log.warning("peer refused", peer=link.name, error=str(error))
        except ConnectionError:
            pass  # a broken connection is normal; the dialer makes another
        finally:
            self._links[link.name].remove(link)
            self._events.link_closed(link)
            await link.close()
        return link.hello is not None

    def _greeted(self, link: Link, hello: Hello) -> None:
        if hello.protocol != codec.PROTOCOL:
            raise PeerError(f"it speaks protocol {hello.protocol}, this server {codec.PROTOCOL}")
        link.hello = hello
        self._events.link_opened(link)

    # --- checking ------------------------------------------------------------------

    def _peer(self, request: web.Request) -> str:
        """The name of the peer at the other end, which showed a certificate of our zone."""
        transport = request.transport
        peercert = None if transport is None else transport.get_extra_info("peercert")
        try:
            return pki.verify(peercert, zone_uuid=self.zone_uuid).name
        except PeerError as error:
            _log.warning("peer refused", address=request.remote, error=str(error))
            raise web.HTTPForbidden(text=str(error)) from error

    # --- snapshots -----------------------------------------------------------------

    async def _tell_offset(self, request: web.Request) -> web.Response:
        offset = self._events.snapshot_offset(self._peer(request), request.match_info["checksum"])
        return web.json_response({"offset": offset})

    async def _take_snapshot(self, request: web.Request) -> web.Response:
        name = self._peer(request)
        headers = {**request.headers, "checksum": request.match_info["checksum"]}
        try:
            offset = int(request.query.get("offset", "0"))
            index = await self._events.snapshot_received(
                name, headers, offset, request.content.iter_chunked(SNAPSHOT_BLOCK)
            )
        except (PeerError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.json_response({"index": index})


async def _blocks(path: Path, offset: int) -> AsyncIterator[bytes]:
    """The rest of a file, no faster than a stream may be."""
    loop = asyncio.get_running_loop()
    started, sent = loop.time(), 0
    with path.open("rb") as file:
        file.seek(offset)
        while block := await loop.run_in_executor(None, file.read, SNAPSHOT_BLOCK):
            yield block
            sent += len(block)
            await asyncio.sleep(started + sent / SNAPSHOT_BYTES_A_SECOND - loop.time())
