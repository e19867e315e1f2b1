"""Real servers: reads on followers are true, and no caller is told more than what is known."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest
from zone_of_nodes import until
from zone_with_api import LINEARIZABLE, Client, running_zone_with_api

from oned.errors import NotLeader
from oned.node import callers
from oned.raft.types import Role

pytestmark = pytest.mark.integration

TYPE = 7
"""Documents have a type; any will do."""


async def test_follower_shows_every_write_that_was_acknowledged_before(tmp_path):
    async with running_zone_with_api(tmp_path) as zone, aiohttp.ClientSession() as http:
        leader = await zone.leader()
        follower = zone.follower(leader).settings.name
        writer = Client(http, zone.url(leader.settings.name))
        reader = Client(http, zone.url(follower))
        _, oid = await writer.call("one.document.allocate", 'NAME="a"', TYPE)
        zone.calls[leader.settings.name].clear()
        for number in range(100):
            assert await writer.call("one.document.update", oid, f'N="{number}"', 0) == ("ok", oid)
            _, text = await reader.call("one.document.info", oid, headers=LINEARIZABLE)
            assert f"<N><![CDATA[{number}]]></N>" in text
        assert zone.calls[follower].count(("one.document.info", "success")) == 100
        # It did so itself.
        assert {method for method, _ in zone.calls[leader.settings.name]} == {"one.document.update"}


async def test_follower_knows_every_user_that_was_made_before(tmp_path):
    async with running_zone_with_api(tmp_path) as zone, aiohttp.ClientSession() as http:
        leader = await zone.leader()
        follower = zone.url(zone.follower(leader).settings.name)
        admin = Client(http, zone.url(leader.settings.name))
        for number in range(30):
            user = f"user-{number}"
            outcome, oid = await admin.call("one.user.allocate", user, "secret", "core")
            assert outcome == "ok"
            client = Client(http, follower, session=f"{user}:secret")
            outcome, text = await client.call("one.user.info", -1, headers=LINEARIZABLE)
            assert outcome == "ok", text
            assert f"<ID>{oid}</ID>" in text


async def test_reads_on_a_follower_share_their_question(tmp_path):
    async with running_zone_with_api(tmp_path) as zone:
        leader = await zone.leader()
        follower = zone.follower(leader)
        asked = []
        send = follower.post.send

        def watch(messages):
            asked.extend(m for m in messages if type(m).__name__ == "ReadIndexRequest")
            send(messages)

        follower.post.send = watch
        await asyncio.gather(*[follower.read_barrier() for _ in range(500)])
        assert 1 <= len(asked) <= 5


async def test_without_a_quorum_no_follower_claims_to_know_what_is_true(tmp_path):
    async with running_zone_with_api(tmp_path) as zone, aiohttp.ClientSession() as http:
        leader = await zone.leader()
        last = zone.follower(leader)
        await until(lambda: last.core.staleness(asyncio.get_running_loop().time()) is not None)
        name = last.settings.name
        for other in [n for n in zone.nodes if n != name]:
            await zone.stop(other)
        client = Client(http, zone.url(name))
        outcome, _ = await client.call("one.zone.info", 0)
        assert outcome == "ok"
        # Those that stopped may have handed over to it, with a lease that is good for a moment.
        await until(lambda: last.core.leadership is None)
        outcome, text = await client.call("one.zone.info", 0, headers=LINEARIZABLE)
        assert outcome == "refused", text
        await until(lambda: last.report()["staleness_seconds"] > 1.0)
        with pytest.raises(NotLeader):
            await last.read_barrier()


async def test_status_bounds_the_age_of_the_tables(tmp_path):
    async with running_zone_with_api(tmp_path) as zone:
        leader = await zone.leader()
        follower = zone.follower(leader)
        await leader.read_barrier()
        assert leader.report()["staleness_seconds"] == 0.0
        # Two heartbeats of 50 ms, and what a busy machine adds.
        await until(lambda: (follower.report()["staleness_seconds"] or 9.0) < 0.2)


async def test_elections_are_measured(tmp_path):
    async with running_zone_with_api(tmp_path) as zone:
        ends: list[tuple[str, float | None]] = []
        leader = await zone.leader()
        for node in zone.nodes.values():
            node.observers.election = lambda outcome, seconds: ends.append((outcome, seconds))
        await zone.stop(leader.settings.name)
        await until(lambda: ends)
        ((outcome, seconds),) = ends
        assert outcome == "won"
        assert 0 < seconds < 5


async def test_stop_of_a_leader_leaves_no_outcome_unknown_and_no_change_twice(tmp_path):
    async with running_zone_with_api(tmp_path) as zone, aiohttp.ClientSession() as http:
        urls = [zone.url(name) for name in zone.nodes]
        told: dict[str, list[str]] = {}
        stopped = asyncio.Event()

        async def write(number: int) -> None:
            client = Client(http, *urls[number % 3 :], *urls[: number % 3])
            for count in range(10_000):
                if stopped.is_set():
                    return
                name = f"c{number}-{count}"
                outcomes = told.setdefault(name, [])
                while "ok" not in outcomes and "unknown" not in outcomes:
                    outcome, text = await client.call(
                        "one.document.allocate", f'NAME="{name}"', TYPE
                    )
                    outcomes.append(outcome)
                    assert "NAME is already taken" not in str(text), (name, outcomes)
                    if outcome == "refused":
                        await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(write(number))
            for _ in range(3):
                await asyncio.sleep(0.5)
                leader = await zone.leader()
                await zone.stop(leader.settings.name)
                await zone.start(leader.settings.name)
            await asyncio.sleep(0.5)
            stopped.set()

        leader = await zone.leader()
        (_, text) = await Client(http, zone.url(leader.settings.name)).call(
            "one.documentpool.info", -2, -1, -1, TYPE
        )
        made = re.findall(r"<NAME>(c\d+-\d+)</NAME>", text)
        assert len(made) == len(set(made)), "a change was made twice"
        assert sorted(made) == sorted(name for name, outcomes in told.items() if "ok" in outcomes)
        unknown = [name for name, outcomes in told.items() if "unknown" in outcomes]
        assert unknown == []
        assert len(made) > 100


async def test_leader_that_was_deposed_tells_what_the_zone_made_of_its_changes(
    tmp_path, monkeypatch
):
    """Changes go into its log and to a follower's, but their acknowledgements do not come."""
    # What they are told is shown here, not how long they wait: an election may take two rounds.
    monkeypatch.setattr(callers, "FATE_SECONDS", 20.0)
    async with running_zone_with_api(tmp_path) as zone, aiohttp.ClientSession() as http:
        old = await zone.leader()
        client = Client(http, zone.url(old.settings.name))
        deaf = old.post.frame_received
        old.post.frame_received = lambda link, frame: None
        calls = [
            asyncio.create_task(client.call("one.document.allocate", f'NAME="d{n}"', TYPE))
            for n in range(5)
        ]
        await until(lambda: old.core.role is not Role.LEADER)
        old.post.frame_received = deaf
        assert [outcome for outcome, _ in await asyncio.gather(*calls)] == ["ok"] * 5
