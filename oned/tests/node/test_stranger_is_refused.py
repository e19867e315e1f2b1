"""A peer with another zone's certificate gets no further than the handshake, either way."""

from __future__ import annotations

import aiohttp
import pytest
from zone_of_nodes import attributes, running_zone

from oned import pki, tls

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("uuid", ["another zone", "the same uuid"])
async def test_certificate_of_another_authority_opens_nothing(tmp_path, uuid):
    async with running_zone(tmp_path, servers=1) as zone:
        same = zone.authority.zone_uuid if uuid == "the same uuid" else None
        other = pki.create_authority(tmp_path / "other", same)
        pki.issue_server(other, "server-1", hosts=["127.0.0.1"], directory=tmp_path / "stranger")
        before = attributes(await zone.leader())
        context = tls.load_peer(tmp_path / "stranger", "server-1").client
        address = f"https://127.0.0.1:{zone.ports['server-0']}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.ws_connect(f"{address}/raft", ssl=context)
            with pytest.raises(aiohttp.ClientError):
                await session.put(f"{address}/snapshot/{'0' * 64}", data=b"x", ssl=context)
        assert attributes(await zone.leader()) == before


async def test_no_certificate_opens_nothing(tmp_path):
    async with running_zone(tmp_path, servers=1) as zone, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(
                f"https://127.0.0.1:{zone.ports['server-0']}/snapshot/{'0' * 64}", ssl=False
            )
