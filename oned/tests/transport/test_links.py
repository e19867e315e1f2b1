"""What a connection does when it is closed."""

from __future__ import annotations

import asyncio

import pytest

from oned.raft.types import ServerId
from oned.transport.codec import Hello
from oned.transport.links import Link


class Slow:
    """A socket that takes everything and never gets done with it."""

    closed = False

    async def send_bytes(self, _data: bytes) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


async def test_closing_ends_the_writer_and_the_socket():
    socket = Slow()
    link = Link("peer", socket)
    link.send(Hello(1, "", ServerId(1), "", True))
    await link.close()
    assert socket.closed


async def test_whoever_is_cancelled_while_it_closes_a_connection_is_cancelled():
    link = Link("peer", Slow())
    closing = asyncio.create_task(link.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
