"""Real nodes and files whose disk fails: who resigns, what callers are told, and the way back."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from itertools import groupby, pairwise

import pytest
from zone_of_nodes import attributes, running_zone, until

from oned.errors import (
    DatabaseDamaged,
    DatabaseFailed,
    Nondeterminism,
    NotLeader,
    OutcomeUnknown,
    ProposalError,
)
from oned.node import Node
from oned.node.writing import STUCK_SECONDS
from oned.raft.types import Role
from oned.state.entry import Change, Statement

pytestmark = pytest.mark.integration


def change(key: str) -> Change:
    return Change((Statement("INSERT INTO system_attributes VALUES (?, ?)", (key, "x")),))


async def propose(node: Node, key: str) -> None:
    await node.propose(change(key), term=node.core.term)


def fail_sync(node: Node, number: int = errno.EIO) -> None:
    """The next sync fails; those of a database that is opened anew do not."""

    def sync() -> None:
        node.store._engine.doubtful = True
        raise OSError(number, "Input/output error")

    node.store._engine.sync = sync


async def is_whole_again(zone, node: Node) -> None:
    await until(lambda: node.database == "ok" and node.status().serving)
    await zone.write("afterwards")
    await until(lambda: "afterwards" in attributes(node))
    for other in zone.nodes.values():
        await until(lambda other=other: attributes(other) == attributes(node))


async def test_leader_whose_sync_fails_resigns_tells_the_truth_and_comes_back(tmp_path):
    async with running_zone(tmp_path, election_timeout=2.0) as zone:
        await zone.write("before")
        old = await zone.leader()
        disk, core = old.store.facts.disk, old.core
        fail_sync(old)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await propose(old, "unknown")
        assert time.monotonic() - started < 1.0
        assert old.core.role is Role.FOLLOWER
        assert old.database == "failed"
        assert not old.report()["serving"]
        with pytest.raises(NotLeader):
            await propose(old, "refused")
        new = await zone.leader()
        assert new is not old
        # It was asked to take over: nobody waited for an election timeout, which is longer here
        # than the syncs of two votes and of an entry take on a slow disk.
        assert time.monotonic() - started < old.settings.options.election_timeout
        await is_whole_again(zone, old)
        assert old.core is not core
        assert old.store.facts.disk == disk
        assert "refused" not in attributes(old)


async def test_a_write_that_fails_before_its_commit_leaves_nothing(tmp_path, monkeypatch):
    async with running_zone(tmp_path) as zone:
        old = await zone.leader()
        write = old.store.write

        def refused(_write):
            old.store.write = write
            raise DatabaseFailed("cannot write the database: it is held by somebody")

        old.store.write = refused
        with pytest.raises(ProposalError):
            await propose(old, "unknown")
        await is_whole_again(zone, old)


async def test_leader_whose_disk_is_stuck_resigns_within_a_second_and_goes_on_as_follower(tmp_path):
    async with running_zone(tmp_path) as zone:
        old = await zone.leader()
        answers = threading.Event()
        sync, core = old.store._engine.sync, old.core

        def stuck() -> None:
            assert answers.wait(20)
            sync()

        old.store._engine.sync = stuck
        try:
            started = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await propose(old, "unknown")
            assert STUCK_SECONDS <= time.monotonic() - started < 1.0
            assert old.database == "stuck"
            new = await zone.leader()
            assert new is not old
            await zone.write("meanwhile")
            term = new.core.term
            await asyncio.sleep(3 * old.settings.options.election_timeout)
            # Whose vote cannot be made durable stands for nothing, and disturbs nobody.
            assert (old.core.role, new.core.role, new.core.term) == (
                Role.FOLLOWER,
                Role.LEADER,
                term,
            )
        finally:
            answers.set()
        await is_whole_again(zone, old)
        assert old.core is core
        assert {"unknown", "meanwhile"} - attributes(old) <= {"unknown"}


async def test_follower_whose_disk_fails_is_not_missed_and_comes_back(tmp_path):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        term = leader.core.term
        follower = next(n for n in zone.nodes.values() if n is not leader)
        core = follower.core
        fail_sync(follower)
        await zone.write("meanwhile")
        # Its database may work again before the others have written: the failure shows in what
        # began anew.
        await until(lambda: follower.core is not core)
        await is_whole_again(zone, follower)
        assert leader.core.term == term


async def test_nothing_is_said_while_the_database_cannot_be_used(tmp_path, monkeypatch):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        follower = next(n for n in zone.nodes.values() if n is not leader)
        reopen = follower.store.reopen
        refused = []

        def not_yet(**_how: bool) -> None:
            refused.append(time.monotonic())
            raise DatabaseFailed("cannot open the database: not yet")

        follower.store.reopen = not_yet
        fail_sync(follower)
        await zone.write("one")
        await until(lambda: refused)
        match = leader.core.leadership.progress[follower.core.server_id].match
        said = []
        follower.post.send = said.extend
        for number in range(5):
            await zone.write(f"more-{number}")
        await until(lambda: len(refused) >= 3)
        assert not said
        assert leader.core.leadership.progress[follower.core.server_id].match == match
        pauses = [b - a for a, b in pairwise(refused)]
        assert min(pauses) >= 0.2
        del follower.post.send
        follower.store.reopen = reopen
        await is_whole_again(zone, follower)


@pytest.mark.parametrize("error", [DatabaseDamaged("it is rubbish"), Nondeterminism("it differs")])
async def test_a_copy_that_is_not_to_be_believed_is_replaced_by_the_leaders(tmp_path, error):
    async with running_zone(tmp_path) as zone:
        await zone.write("before")
        leader = await zone.leader()
        follower = next(n for n in zone.nodes.values() if n is not leader)
        server_id, disk, core = follower.core.server_id, follower.store.facts.disk, follower.core

        def refused(_write) -> None:
            del follower.store.write
            raise error

        follower.store.write = refused
        await zone.write("meanwhile")
        # The core of before is initialised, too, and is there until the new database is open.
        await until(lambda: follower.core is not core and follower.core.initialised)
        assert follower.store.facts.disk != disk
        await zone.until_voter(server_id)
        await is_whole_again(zone, follower)
        votes = [
            server_id in c.voters for _, c in leader.store.configurations() if c.get(server_id)
        ]
        votes = [vote for vote, _ in groupby(votes)]
        assert votes == [False, True, False, True]  # when it joined, and when it was replaced
        assert list(follower.store.path.parent.glob("one.db.damaged-*"))


async def test_damage_that_a_read_comes_upon_is_seen_too(tmp_path):
    async with running_zone(tmp_path) as zone:
        leader = await zone.leader()
        follower = next(n for n in zone.nodes.values() if n is not leader)
        disk = follower.store.facts.disk
        await zone.write("before")
        await until(lambda: "before" in attributes(follower))
        follower.store._writer.execute("UPDATE system_attributes SET body=CAST(X'FF' AS TEXT)")
        with pytest.raises(DatabaseDamaged):
            follower.reader.rows("SELECT body FROM system_attributes")
        await until(lambda: follower.store.facts.disk != disk and follower.database == "ok")
        await is_whole_again(zone, follower)


async def test_the_only_server_tells_the_truth_and_comes_back_alone(tmp_path):
    async with running_zone(tmp_path, servers=1) as zone:
        (node,) = zone.nodes.values()
        await zone.write("before")
        fail_sync(node)
        with pytest.raises(OutcomeUnknown):
            await propose(node, "unknown")
        await is_whole_again(zone, node)
        assert "before" in attributes(node)


async def test_the_only_server_does_not_throw_away_the_only_copy(tmp_path):
    async with running_zone(tmp_path, servers=1) as zone:
        (node,) = zone.nodes.values()

        def refused(_write) -> None:
            raise DatabaseDamaged("it is rubbish")

        node.store.write = refused
        with pytest.raises(ProposalError):
            await propose(node, "unknown")
        await until(node.failed.done)
        assert isinstance(node.failed.exception(), DatabaseDamaged)
        assert not list(node.store.path.parent.glob("one.db.damaged-*"))
