"""Real nodes, real files, real TLS: growth, loss of a leader, of a disk, and a long absence."""

from __future__ import annotations

import asyncio
import time

import pytest
from zone_of_nodes import attributes, running_zone, until

from oned.errors import MembershipPending, NotLeader, Rejected
from oned.raft.types import ServerId
from oned.state.entry import Change

pytestmark = pytest.mark.integration


async def test_zone_grows_to_three_voters_with_equal_tables(tmp_path):
    async with running_zone(tmp_path) as zone:
        for number in range(20):
            await zone.write(f"key-{number}")
        leader = await zone.leader()
        for node in zone.nodes.values():
            await until(lambda node=node: attributes(node) == attributes(leader))
        assert leader.core.voters == {0, 1, 2}


async def test_stopped_leader_hands_over_and_nothing_is_lost(tmp_path):
    async with running_zone(tmp_path) as zone:
        await zone.write("before")
        old = await zone.leader()
        await zone.stop(old.settings.name)
        await zone.write("after")
        assert {"before", "after"} <= attributes(await zone.leader())


async def test_server_that_lost_its_disk_returns_as_learner_then_voter(tmp_path):
    async with running_zone(tmp_path) as zone:
        await zone.write("before")
        leader = await zone.leader()
        lost = next(n for n in zone.nodes.values() if n is not leader)
        name, server_id, disk = lost.settings.name, lost.core.server_id, lost.store.facts.disk
        await zone.stop(name, wipe=True)
        node = await zone.start(name)
        assert node.store.facts.disk != disk
        await until(lambda: server_id in leader.core.voters and node.core.initialised)
        await until(lambda: leader.configuration().get(server_id).disk == node.store.facts.disk)
        await until(lambda: "before" in attributes(node))


async def test_leader_whose_disk_was_replaced_is_heard_by_who_was_away_meanwhile(tmp_path):
    async with running_zone(tmp_path, servers=5) as zone:
        await zone.write("before")
        leader = await zone.leader()
        away, replaced, *_ = (n for n in zone.nodes.values() if n is not leader)
        away_name, name = away.settings.name, replaced.settings.name
        server_id = replaced.core.server_id
        await zone.stop(away_name)
        await zone.stop(name, wipe=True)
        replaced = await zone.start(name)
        disk = replaced.store.facts.disk
        await until(lambda: leader.configuration().get(server_id).disk == disk)
        await until(lambda: server_id in leader.core.voters and not leader.core.change_pending)
        assert await leader.transfer_leadership(server_id)
        # Its log still says that the one which leads now has the disk that is gone.
        away = await zone.start(away_name)
        await zone.write("after")
        await until(lambda: "after" in attributes(away))
        assert away.status().leader_id == server_id


async def test_removal_that_would_leave_no_majority_is_refused(tmp_path):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        dead, alive = (n for n in zone.nodes.values() if n is not leader)
        await zone.stop(dead.settings.name)
        term, configuration = leader.core.term, leader.configuration()
        without_alive = configuration.without(alive.core.server_id)
        await until(lambda: not leader.core.keeps_quorum(time.monotonic(), without_alive))
        with pytest.raises(MembershipPending, match="bring them back"):
            await leader.propose(Change(), term=term, configuration=without_alive)
        await leader.propose(
            Change(), term=term, configuration=configuration.without(dead.core.server_id)
        )


async def test_server_outside_the_log_window_is_sent_a_snapshot(tmp_path):
    async with running_zone(tmp_path, retention=10) as zone:
        leader = await zone.leader()
        absent = next(n for n in zone.nodes.values() if n is not leader)
        name = absent.settings.name
        await zone.stop(name)
        last = leader.core.log.last_index
        for number in range(60):
            await zone.write(f"key-{number}")
        await until(lambda: leader.core.log.base_index > last)
        node = await zone.start(name)
        await until(lambda: attributes(node) == attributes(leader))


async def test_new_leader_whose_only_voter_needs_a_snapshot_sends_it_before_it_serves(tmp_path):
    async with running_zone(tmp_path, retention=10) as zone:
        leader = await zone.leader()
        behind, other = (n for n in zone.nodes.values() if n is not leader)
        names = leader.settings.name, behind.settings.name
        await zone.stop(behind.settings.name)
        last = leader.core.log.last_index
        for number in range(60):
            await zone.write(f"key-{number}")
        await until(lambda: other.core.log.base_index > last)
        await zone.stop(leader.settings.name, wipe=True)
        # Its no-op can only be committed with the server that lacks what is purged.
        for name in names:
            await zone.start(name)
        await zone.write("after")
        for node in zone.nodes.values():
            await until(lambda node=node: "after" in attributes(node))


async def test_duplicate_key_is_rejected_everywhere_alike(tmp_path):
    async with running_zone(tmp_path) as zone:
        await zone.write("once")
        with pytest.raises(Rejected):
            await zone.write("once")
        await zone.write("twice")
        leader = await zone.leader()
        for node in zone.nodes.values():
            await until(lambda node=node: attributes(node) == attributes(leader))


async def test_writes_in_flight_share_transactions(tmp_path):
    async with running_zone(tmp_path) as zone:
        batches: list[int] = []
        leader = await zone.leader()
        leader.observers.batch = lambda entries, _seconds: batches.append(entries)
        await asyncio.gather(*[zone.write(f"key-{number}") for number in range(200)])
        assert sum(batches) >= 200
        assert max(batches) > 1


async def test_follower_refuses_a_write_and_confirms_a_read(tmp_path):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        follower = next(n for n in zone.nodes.values() if n is not leader)
        with pytest.raises(NotLeader):
            await follower.propose(Change(), term=follower.core.term)
        await zone.write("now")
        await follower.read_barrier()
        assert "now" in attributes(follower)
        await leader.read_barrier()
        assert follower.status().leader_id == leader.core.server_id


async def test_removed_server_does_not_disturb_the_zone(tmp_path):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        term = leader.core.term
        gone = next(i for i in leader.core.voters if i != leader.core.server_id)
        await leader.propose(
            Change(), term=term, configuration=leader.configuration().without(ServerId(gone))
        )
        # Three election timeouts, in which nothing may happen.
        await asyncio.sleep(3 * leader.settings.options.election_timeout)
        assert leader.core.term == term
        assert leader.core.leadership is not None
