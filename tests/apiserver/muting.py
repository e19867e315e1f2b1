"""A way to the API server that can be muted: connections stay open, and nothing comes any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_BYTES = 65536


class Muted:
    """A TCP proxy on a port of its own."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._alive = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def mute(self) -> None:
        """Connections that are there carry nothing from now on; new ones do."""
        self._alive.set()
        self._alive = asyncio.Event()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        muted = self._alive
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, target, muted))
            self._tasks.add(task)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, muted: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(_BYTES):
                if muted.is_set():
                    await asyncio.Event().wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass  # the other half tells whoever is there
        finally:
            target.close()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Muted]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
