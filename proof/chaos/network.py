"""The network between peers: a TCP proxy before each peer port, in this process.

A direction that is cut holds what is sent over it, as TCP does, and delivers it once the
cut is healed: late and stale, which is nastier than losing it. Whose connection it is, the
system tells: the socket's other end belongs to one of the zone's processes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

BLOCK_BYTES = 1 << 16
LOOPBACK = "127.0.0.1"
UNKNOWN = "?"


class Network:
    """All proxies of a zone.

    Args:
        processes: the names of the servers with the ids of their processes, as of now.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._cut: set[tuple[str, str]] = set()
        self._delay = 0.0
        self._changed = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self, name: str, peer_port: int) -> int:
        """Put a proxy before the peer port of server ``name``; the proxy's own port."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carrying = asyncio.current_task()
            assert carrying is not None
            self._connections.add(carrying)
            try:
                await self._join(name, peer_port, reader, writer)
            finally:
                self._connections.discard(carrying)
                await _closed(writer)

        server = await asyncio.start_server(accepted, LOOPBACK, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def cut(self, source: str, target: str) -> None:
        """Hold everything that ``source`` sends to ``target``."""
        self._cut.add((source, target))

    def slow(self, seconds: float) -> None:
        """Delay every block by this much."""
        self._delay = seconds

    def heal(self) -> None:
        self._cut.clear()
        self._delay = 0.0
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _passable(self, source: str, target: str) -> None:
        while (source, target) in self._cut:
            await self._changed.wait()

    async def _join(
        self, target: str, port: int, near: asyncio.StreamReader, answer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection until both its directions have ended."""
        here, there = answer.get_extra_info("sockname"), answer.get_extra_info("peername")
        source = owner(there[1], here[1], self._processes()) if here and there else UNKNOWN
        try:
            await self._passable(source, target)
            far, forward = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            return
        try:
            await asyncio.gather(
                self._pump(source, target, near, forward), self._pump(target, source, far, answer)
            )
        finally:
            await _closed(forward)

    async def _pump(
        self, source: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._passable(source, target)
                writer.write(block)
                await writer.drain()
            # An end is news too, and does not cross a cut either.
            await self._passable(source, target)
        writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close at once, whatever was still to be sent."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def owner(port: int, connected_to: int, processes: Mapping[str, int]) -> str:
    """Which of the processes has the loopback connection between the ports; UNKNOWN for none."""
    inode = _inode(port, connected_to)
    for name, pid in processes.items():
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        return name
    return UNKNOWN


def _inode(port: int, connected_to: int) -> str:
    """Both ports are needed: an ended connection (TIME_WAIT, no inode) may share one of them."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{connected_to:04X}"):
            return fields[9]
    return ""
