"""One connection to one peer: authenticated by its certificate, bounded in both directions."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import aiohttp
from aiohttp import web

from oned.errors import PeerError
from oned.transport import codec
from oned.transport.codec import Frame, Hello

QUEUE_FRAMES = 1024
"""Frames that may wait for a slow connection; beyond that they are lost, which Raft expects."""

QUEUE_BYTES = 128 << 20

WebSocket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


class Link:
    """A live connection.

    Attributes:
        name: the peer's name, from its certificate.
        hello: what the peer last said of itself; None until its first frame.
    """

    def __init__(self, name: str, socket: WebSocket) -> None:
        self.name = name
        self.hello: Hello | None = None
        self._socket = socket
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._writer = asyncio.create_task(self._write(), name=f"peer-writer {name}")

    def send(self, frame: Frame) -> bool:
        """Queue a frame; False when it was dropped because the peer is too slow."""
        data = codec.encode(frame)
        if len(self._queue) >= QUEUE_FRAMES or self._queued_bytes + len(data) > QUEUE_BYTES:
            return False
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._wake.set()
        return True

    async def receive(self) -> Frame | None:
        """The next frame; None when the connection has ended.

        Raises:
            PeerError: the peer sent something that is no frame.
        """
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return codec.decode(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            raise PeerError("text where a frame was expected")
        return None

    async def close(self) -> None:
        self._writer.cancel()
        # Not awaited itself: its being cancelled must not hide that whoever closes is, too.
        await asyncio.wait([self._writer])
        with contextlib.suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            await self._socket.close()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    data = self._queue.popleft()
                    self._queued_bytes -= len(data)
                    await self._socket.send_bytes(data)
