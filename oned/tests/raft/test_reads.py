"""Reads on followers, and how old tables can be: never older than what is said."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_under_faults import FAULTS, act
from world import BASE, World

from oned.raft.errors import NotLeading
from oned.raft.messages import Message
from oned.raft.reads import ANSWERS, QUESTIONS, Reads
from oned.raft.types import Index, Role, ServerId


class Waiting:
    """A read on one run of a server, and the index that it must see."""

    def __init__(self, server, at_least: int) -> None:
        self.server, self.core, self.at_least = server, server.core, at_least
        self.ticket = server.core.read_index(server.world.now)
        self.since = server.world.now


class ReadingWorld(World):
    """A world that reads on followers, and knows what had been acknowledged when."""

    def __init__(self, seed: int, servers: int = 3, **options) -> None:
        self.times: list[float] = []
        self.acknowledged: list[int] = []
        self.waiting: list[Waiting] = []
        self.read = self.given_up = self.bounded = 0
        self.minority: set[ServerId] = set()
        self.paused: set[ServerId] = set()
        self.missed: list[Message] = []
        super().__init__(seed, servers, **options)

    def newest(self) -> int:
        return self.acknowledged[-1] if self.acknowledged else BASE

    def ask(self) -> None:
        for server in self.live():
            try:
                self.waiting.append(Waiting(server, self.newest()))
            except NotLeading:
                continue

    def deliver(self, message) -> None:
        if message.to in self.paused:
            self.missed.append(message)
        elif (message.sender in self.minority) == (message.to in self.minority):
            super().deliver(message)

    def live(self):
        return [s for s in super().live() if s.server_id not in self.paused]

    def resume(self) -> None:
        """A process that stood still goes on: first with what had arrived meanwhile."""
        self.paused, missed, self.missed = set(), self.missed, []
        for message in missed:
            self.deliver(message)

    def split(self, chooser: random.Random) -> None:
        """The leader and another server are cut off from the rest, together."""
        leader = self.leader()
        if leader is not None:
            others = [i for i in self.servers if i != leader.server_id]
            self.minority = {leader.server_id, chooser.choice(others)}

    def check(self) -> None:
        super().check()
        # An entry is acknowledged when the leader that proposed it has applied it.
        led = [s.disk.applied for s in self.live() if s.core.role is Role.LEADER]
        self.times.append(self.now)
        self.acknowledged.append(max([self.newest(), *led]))
        for server in self.live():
            self.check_staleness(server)
        for read in list(self.waiting):
            self.check_read(read)

    def check_staleness(self, server) -> None:
        seconds = server.core.staleness(self.now)
        if seconds is None:
            return
        self.bounded += seconds < 0.5
        before = bisect_right(self.times, self.now - seconds - 1e-6) - 1
        if before >= 0:
            assert server.disk.applied >= self.acknowledged[before], "older than it says"

    def check_read(self, read: Waiting) -> None:
        if read.server.core is not read.core or read.server.server_id in self.down:
            self.waiting.remove(read)
            return
        outcome = read.core.reads.outcome(read.ticket)
        if outcome is None:
            assert self.now < read.since + 30, "a read waits for ever"
            return
        self.waiting.remove(read)
        if outcome:
            self.read += 1
            assert read.server.disk.applied >= read.at_least, "a stale read"
        else:
            self.given_up += 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from((*FAULTS, "ask", "ask")), max_size=40),
    st.sampled_from((3, 5)),
)
def test_no_read_is_stale_after_any_faults(seed, faults, servers):
    world = ReadingWorld(seed, servers)
    chooser = random.Random(seed)
    world.until_leader()
    for fault in faults:
        if fault == "ask":
            world.ask()
        act(world, fault, chooser)
    world.heal()
    world.advance(6.0)
    assert all(read.core.reads.outcome(read.ticket) is not None for read in world.waiting)


def test_reads_and_bounds_under_writes_and_crashes():
    worlds = []
    for seed in range(20):
        world = ReadingWorld(seed, 3, loss=0.1)
        chooser = random.Random(seed)
        world.until_leader()
        for _ in range(40):
            world.ask()
            fault = chooser.choice(("propose", "propose", "crash", "restart", "wait", "cut"))
            act(world, fault, chooser)
            world.cut = world.cut if chooser.random() < 0.5 else set()
        worlds.append(world)
    # It was put to the test: reads went on, were given up, and tables were said to be young.
    assert sum(world.read for world in worlds) > 300
    assert sum(world.given_up for world in worlds) > 10
    assert sum(world.bounded for world in worlds) > 10_000


def test_leader_of_a_minority_answers_no_reads_once_another_may_lead():
    worlds = []
    for seed in range(50):
        world = ReadingWorld(seed, 5, loss=0.02)
        chooser = random.Random(seed)
        world.until_leader()
        for _ in range(3):
            world.advance(chooser.uniform(0.0, 0.5))
            world.split(chooser)
            if chooser.random() < 0.7:
                world.paused = {world.leader().server_id}
            pause = chooser.randrange(9, 20)
            for step in range(20):
                if step == pause:
                    world.resume()
                if chooser.random() < 0.2:
                    world.ask()
                world.propose()
                world.advance(0.1)
            world.resume()
            world.minority = set()
            world.until_leader()
        worlds.append(world)
    assert sum(world.read for world in worlds) > 200
    assert sum(world.given_up for world in worlds) > 20


def test_quiet_zone_bounds_the_age_of_every_server_by_two_heartbeats():
    world = ReadingWorld(1, 3, loss=0.0)
    world.until_leader()
    world.advance(1.0)
    for _ in range(100):
        world.advance(0.05)
        for server in world.live():
            assert server.core.staleness(world.now) < 0.5


def test_follower_that_is_cut_off_knows_how_old_it_is():
    world = ReadingWorld(2, 3, loss=0.0)
    leader = world.until_leader()
    follower = next(s for s in world.live() if s is not leader)
    world.advance(1.0)
    world.cut = {follower.server_id}
    world.advance(5.0)
    assert 5.0 <= follower.core.staleness(world.now) < 5.5


def test_follower_asks_once_for_all_who_came_before():
    world = ReadingWorld(3, 3, loss=0.0)
    leader = world.until_leader()
    world.advance(1.0)
    core = next(s for s in world.live() if s is not leader).core
    tickets = [core.read_index(world.now) for _ in range(50)]
    assert len({core.reads.outstanding}) == 1
    assert len(core.take_messages()) == 1
    assert tickets[0] == core.reads.outstanding
    assert set(tickets[1:]) == {tickets[0] + 1}


def test_server_without_a_leader_takes_no_reads():
    world = ReadingWorld(4, 3, loss=0.0)
    with pytest.raises(NotLeading):
        world.servers[ServerId(0)].core.read_index(world.now)
    leader = world.until_leader()
    with pytest.raises(NotLeading):
        leader.core.read_index(world.now)


# --- the questions alone -----------------------------------------------------------


def make_reads(start: float = 0.25) -> Reads:
    return Reads(lambda: start)


def test_answer_to_another_run_means_nothing():
    former, reads = make_reads(0.25), make_reads(0.75)
    number = former.put(1.0)
    reads.put(2.0)
    reads.answer(number, Index(1))
    reads.applied(Index(9))
    assert reads.reached == 0
    assert reads.fresh_at == float("-inf")


def test_read_waits_for_a_question_that_was_put_after_it():
    reads = make_reads()
    before = reads.put(1.0)
    ticket = reads.join()
    reads.answer(before, Index(1))
    reads.applied(Index(1))
    assert reads.fresh_at == 1.0
    assert reads.outcome(ticket) is None
    reads.answer(reads.put(2.0), Index(1))
    reads.applied(Index(1))
    assert reads.outcome(ticket) is True


def test_answered_read_waits_for_its_index_and_is_not_given_up():
    reads = make_reads()
    ticket = reads.join()
    number = reads.sent(1.0, retry_seconds=0.1, patience_seconds=1.0)
    late = reads.join()
    reads.answer(number, Index(5))
    reads.give_up()
    assert reads.outcome(ticket) is None
    assert reads.outcome(late) is False
    reads.applied(Index(5))
    assert reads.outcome(ticket) is True


def test_read_after_those_that_were_given_up_begins_anew():
    reads = make_reads()
    first = reads.join()
    reads.sent(1.0, retry_seconds=0.1, patience_seconds=0.25)
    second = reads.join()
    assert reads.repeat(1.1, 0.1)
    assert not reads.repeat(1.25, 0.1)
    assert (reads.outcome(first), reads.outcome(second)) == (False, False)
    third = reads.join()
    assert reads.outcome(third) is None
    assert reads.must_ask


def test_memory_of_questions_and_answers_is_bounded():
    reads = make_reads()
    for count in range(10 * QUESTIONS):
        number = reads.put(float(count))
        reads.answer(number, Index(100 + count))
    assert len(reads._questions) <= QUESTIONS
    assert len(reads._answers) <= ANSWERS
    reads.applied(Index(100 + 10 * QUESTIONS))
    assert reads.reached == number
