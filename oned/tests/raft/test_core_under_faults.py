"""Whole histories: random faults first, then quiet, in which the zone must recover and agree."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World

from oned.raft.types import Configuration, ServerId

FAULTS = ("propose", "propose", "crash", "restart", "cut", "heal link", "transfer", "wait")


def act(world: World, fault: str, chooser: random.Random) -> None:
    server_id = chooser.choice(list(world.servers))
    match fault:
        case "propose":
            leader = world.leader()
            if leader is not None and not leader.core.leadership.transfer:
                world.propose()
        case "crash" if len(world.down) < len(world.servers) // 2 + 1:
            if server_id not in world.down:
                world.crash(server_id)
        case "restart" if server_id in world.down:
            world.restart(server_id)
        case "cut":
            world.cut = {server_id}
        case "heal link":
            world.cut = set()
        case "transfer":
            leader = world.leader()
            target = chooser.choice(list(leader.core.voters)) if leader else None
            if leader and target != leader.server_id and leader.core.leadership.transfer is None:
                leader.core.transfer(world.now, target)
        case _:
            pass
    world.advance(chooser.uniform(0.01, 0.8))


def recovers_and_agrees(world: World) -> None:
    world.heal()
    world.advance(3.0)
    world.until_leader()
    world.propose()
    world.advance(3.0)
    logs = {tuple(s.disk.tables) for s in world.servers.values()}
    assert len(logs) == 1, "tables differ"
    assert f"{world.proposed}".encode() in next(iter(logs))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.lists(st.sampled_from(FAULTS), max_size=40), st.sampled_from((3, 5))
)
def test_zone_agrees_after_any_faults(seed, faults, servers):
    world = World(seed, servers)
    chooser = random.Random(seed)
    world.until_leader()
    for fault in faults:
        act(world, fault, chooser)
    recovers_and_agrees(world)


@pytest.mark.parametrize("seed", range(10))
def test_zone_grows_and_shrinks_under_faults(seed):
    world = World(seed, 5, loss=0.1)
    everybody = world.servers[ServerId(0)].core.configuration
    chooser = random.Random(seed)
    world.until_leader()
    for _ in range(30):
        leader = world.leader()
        if leader is not None:
            now = leader.core.configuration
            out = [m for m in everybody.members if now.get(m.server_id) is None]
            choices = [now.with_member(m) for m in out]
            choices += [
                now.without(m.server_id)
                for m in now.members
                if len(now.members) > 1 and m.server_id != leader.server_id
            ]
            world.change(chooser.choice(choices))
        act(world, chooser.choice(("propose", "crash", "restart", "wait")), chooser)
    world.heal()
    world.advance(5.0)
    leader = world.until_leader()
    for member in everybody.members:
        for _ in range(100):
            leader = world.until_leader()
            if leader.core.configuration.get(member.server_id) is not None:
                break
            world.change(leader.core.configuration.with_member(member))
            world.advance(0.5)
    recovers_and_agrees(world)


def test_one_voter_serves_at_once_and_alone():
    world = World(1, 1)
    leader = world.until_leader(3.0)
    world.propose()
    world.advance(0.1)
    assert leader.disk.tables[-1] == b"1"


def test_cut_off_leader_steps_down_within_an_election_timeout():
    world = World(2, 3, loss=0.0)
    leader = world.until_leader()
    world.cut = {leader.server_id}
    world.advance(1.3)
    assert leader.core.leadership is None


def test_server_that_was_cut_off_raises_no_term():
    world = World(3, 3, loss=0.0)
    leader = world.until_leader()
    term = leader.core.term
    world.cut = {next(i for i in world.servers if i != leader.server_id)}
    world.advance(20.0)
    world.cut = set()
    world.advance(3.0)
    assert world.until_leader().core.term == term
    assert world.leader().server_id == leader.server_id


def test_leader_hands_over_without_an_election_timeout():
    world = World(4, 3, loss=0.0)
    leader = world.until_leader()
    began = world.now
    target = leader.core.transfer(world.now)
    while world.leader() is None or world.leader().server_id != target:
        world.advance(0.01)
        assert world.now < began + 0.5


def test_uninitialised_server_neither_votes_nor_campaigns():
    world = World(5, 3, loss=0.0)
    for server in world.servers.values():
        server.core.initialised = False
    world.advance(10.0)
    assert world.leader() is None


def test_change_of_two_voters_is_refused():
    world = World(6, 3, loss=0.0)
    world.until_leader()
    assert not world.change(Configuration())
