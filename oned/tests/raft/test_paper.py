"""One server at a time, against the sections of the paper and the defects that others have had."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import Disk

from oned.raft.errors import ChangePending, NotLeading, UnsafeChange
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.timing import Options
from oned.raft.types import Configuration, Entry, HardState, Index, Member, Role, ServerId, Term

ME, A, B = ServerId(0), ServerId(1), ServerId(2)
THREE = Configuration(tuple(Member(ServerId(i), f"s{i}", "", "", "", voter=True) for i in range(3)))


class Lone:
    """A core with a disk whose writes the test finishes."""

    def __init__(self, *entries: tuple[int, int], term: int = 1, now: float = 100.0) -> None:
        self.now = now
        self.disk = Disk(THREE)
        for index, of_term in entries:
            self.disk.log[Index(index)] = Entry(Index(index), Term(of_term), b"x")
        last_index, last_term = self.disk.last()
        log = Log(
            self.disk,
            base_index=Index(1),
            base_term=Term(0),
            last_index=last_index,
            last_term=last_term,
            configurations=[(Index(1), THREE)],
        )
        self.core = Raft(
            server_id=ME,
            hard_state=HardState(Term(term)),
            log=log,
            applied=Index(1),
            initialised=True,
            solo=False,
            options=Options(),
            random=lambda: 0.5,
            now=now,
        )

    def write(self) -> tuple:
        """Finish one write; the messages that waited for it."""
        write = self.core.take_write()
        if write is None:
            return ()
        self.disk.write(write)
        self.core.written(self.now, write)
        return write.messages

    def receive(self, message) -> tuple:
        self.core.receive(self.now, message)
        return self.write()

    def win(self) -> None:
        """Become leader by the votes of A."""
        self.now = self.core.deadline()
        self.core.tick(self.now)
        self.write()
        self.core.receive(self.now, VoteReply(Term(self.core.term + 1), A, ME, True, pre=True))
        self.write()
        self.core.receive(self.now, VoteReply(self.core.term, A, ME, True))
        assert self.core.role is Role.LEADER


def append(*entries: tuple[int, int], prev: tuple[int, int], commit: int, term: int = 2):
    made = tuple(Entry(Index(i), Term(t), b"new") for i, t in entries)
    return AppendRequest(
        Term(term), A, ME, Index(prev[0]), Term(prev[1]), made, Index(commit), round=1
    )


def test_5_4_2_entry_of_a_former_term_is_not_committed_by_counting():
    server = Lone((2, 1))
    server.win()
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(2), 1))
    assert server.core.commit == 1
    server.write()
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(3), 1))
    assert server.core.commit == 3


def test_5_3_heartbeat_commits_no_further_than_what_it_proves_equal():
    server = Lone((2, 1), (3, 1))
    (reply,) = server.receive(append(prev=(2, 1), commit=3))
    assert server.core.commit == 2
    assert reply.success


def test_5_3_conflicting_tail_is_replaced():
    server = Lone((2, 1), (3, 1))
    (reply,) = server.receive(append((3, 2), prev=(2, 1), commit=2))
    assert reply.success
    assert server.disk.log[Index(3)].term == 2


def test_5_3_refusal_says_where_to_look_on():
    server = Lone((2, 1))
    (reply,) = server.receive(append(prev=(40, 2), commit=2))
    assert (reply.success, reply.index, reply.hint_term) == (False, 2, 1)


def test_5_3_old_leader_learns_the_newer_term():
    server = Lone(term=5)
    (reply,) = server.receive(append(prev=(1, 0), commit=1, term=2))
    assert (reply.success, reply.term) == (False, 5)


def test_5_4_1_vote_is_refused_to_a_shorter_log():
    server = Lone((2, 1), (3, 1))
    server.now += 10
    (reply,) = server.receive(VoteRequest(Term(2), A, ME, Index(2), Term(1)))
    assert not reply.granted


def test_5_2_one_vote_a_term_and_it_is_durable_before_it_is_said():
    server = Lone()
    server.now += 10
    server.core.receive(server.now, VoteRequest(Term(2), A, ME, Index(1), Term(0)))
    assert server.core.take_messages() == []
    write = server.core.take_write()
    assert write.hard_state == HardState(Term(2), A)
    assert write.messages[0].granted
    server.core.written(server.now, write)
    (second,) = server.receive(VoteRequest(Term(2), B, ME, Index(1), Term(0)))
    assert not second.granted


def test_acknowledgement_waits_for_the_write():
    server = Lone()
    server.core.receive(server.now, append((2, 2), prev=(1, 0), commit=1))
    assert server.core.take_messages() == []
    write = server.core.take_write()
    assert [e.index for e in write.entries] == [2]
    assert [type(m) for m in write.messages] == [AppendReply]


def test_candidate_asks_all_voters_at_once_and_only_after_its_term_is_durable():
    server = Lone()
    server.now = server.core.deadline()
    server.core.tick(server.now)
    assert {m.to for m in server.write() if m.pre} == {A, B}
    server.core.receive(server.now, VoteReply(Term(2), A, ME, True, pre=True))
    assert server.core.take_messages() == []
    assert {m.to for m in server.write() if not m.pre} == {A, B}


def test_9_6_server_that_hears_its_leader_helps_nobody_to_depose_it():
    server = Lone()
    server.receive(append(prev=(1, 0), commit=1))
    assert server.receive(VoteRequest(Term(3), B, ME, Index(9), Term(2))) == ()
    assert server.core.term == 2


def test_3_10_election_that_the_leader_asked_for_is_held_at_once():
    server = Lone()
    server.receive(append(prev=(1, 0), commit=1))
    requests = server.receive(TimeoutNow(Term(2), A, ME))
    assert {m.transfer for m in requests} == {True}
    assert server.core.term == 3


def test_8_leader_serves_only_when_its_own_entry_is_applied():
    server = Lone((2, 1))
    server.win()
    server.write()
    assert not server.core.serving
    with pytest.raises(NotLeading):
        server.core.read_round(server.now)
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(3), 1))
    server.write()
    assert server.core.serving


def test_4_1_membership_change_waits_for_the_no_op_of_the_term():
    server = Lone()
    server.win()
    server.write()
    with pytest.raises(ChangePending):
        server.core.propose([(b"", THREE.without(B))])


def test_4_1_one_voter_at_a_time():
    server = Lone()
    server.win()
    server.write()
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(2), 1))
    with pytest.raises(UnsafeChange):
        server.core.propose([(b"", Configuration())])
    server.core.propose([(b"", THREE.without(B))])
    with pytest.raises(ChangePending):
        server.core.propose([(b"", THREE)])


def test_6_4_lease_ends_before_another_leader_can_be_elected():
    server = Lone()
    server.win()
    server.write()
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(2), 1))
    server.write()
    assert server.core.lease_read(server.now)
    assert not server.core.lease_read(server.now + 0.91)


def test_leader_without_a_quorum_steps_down():
    server = Lone()
    server.win()
    server.core.tick(server.now + 1.01)
    assert server.core.role is Role.FOLLOWER


def test_late_append_that_was_applied_already_changes_nothing():
    server = Lone()
    server.receive(append((2, 2), (3, 2), prev=(1, 0), commit=3))
    assert server.core.applied == 3
    (reply,) = server.receive(append((2, 2), prev=(1, 0), commit=2))
    assert reply.success
    assert (server.core.commit, server.disk.last()[0]) == (3, 3)


def test_refusal_of_a_former_terms_request_says_nothing_of_this_term():
    """Its sender may lead again: it must not count an old round, nor look back for an old entry."""
    server = Lone(term=2)
    (reply,) = server.receive(
        AppendRequest(Term(1), A, ME, Index(2), Term(1), (), Index(2), round=7)
    )
    assert (reply.term, reply.success) == (2, False)
    assert (reply.round, reply.rejected) == (0, 0)


def test_leader_is_led_back_by_no_refusal_of_its_former_term():
    server = Lone((2, 1))
    server.win()
    server.write()
    refused = Lone(term=server.core.term)
    (reply,) = refused.receive(
        AppendRequest(Term(1), ME, ME, Index(2), Term(1), (), Index(2), round=7)
    )
    server.core.receive(server.now, replace(reply, sender=A, to=ME))
    assert server.core.snapshots_wanted() == []
    assert server.core.leadership.quorum_round == 0


def test_figure_13_a_snapshot_that_overtakes_what_is_not_written_yet_leaves_the_rest_to_write():
    server = Lone()
    server.core.receive(server.now, append((2, 1), (3, 1), (4, 2), prev=(1, 0), commit=1))
    server.core.installed(server.now, Index(3), Term(1), THREE)
    write = server.core.take_write()
    assert [entry.index for entry in write.entries] == [4]
    assert write.truncate_from is None
    server.core.written(server.now, write)
    assert (server.core.log.base_index, server.core.applied) == (3, 3)


def test_a_change_that_leaves_the_zone_to_servers_that_do_not_answer_is_seen():
    server = Lone()
    server.win()
    heard = server.now + 1.5
    server.core.receive(heard, AppendReply(server.core.term, A, ME, True, Index(1), 1))
    assert server.core.keeps_quorum(heard, THREE)
    assert server.core.keeps_quorum(heard, THREE.without(B))
    assert not server.core.keeps_quorum(heard, THREE.without(A))
    assert not server.core.keeps_quorum(heard + 1.1, THREE)
    assert server.core.keeps_quorum(heard, THREE.without(A).without(B))


def test_a_server_that_an_entry_made_a_learner_does_not_campaign():
    server = Lone()
    demoted = replace(
        append((2, 1), prev=(1, 0), commit=1),
        entries=(Entry(Index(2), Term(1), b"", THREE.demoted(ME)),),
    )
    server.receive(demoted)
    server.core.tick(server.core.deadline())
    assert server.write() == ()
    assert server.core.role is Role.FOLLOWER
    assert server.core.deadline() == float("inf")


def led_with_a_commit() -> Lone:
    """A leader whose A holds everything, and which has just committed its no-op."""
    server = Lone()
    server.win()
    server.write()
    server.core.take_messages()
    server.core.receive(server.now, AppendReply(server.core.term, A, ME, True, Index(2), 1))
    assert server.core.commit == 2
    return server


def test_a_commit_is_told_after_the_delay_when_nothing_else_is_sent():
    server = led_with_a_commit()
    assert not server.core.take_messages()
    assert server.core.deadline() == server.now + server.core.options.commit_delay
    server.core.tick(server.core.deadline())
    (told,) = server.core.take_messages()
    assert (told.to, told.commit, told.entries) == (A, 2, ())
    assert server.core.deadline() == server.core.leadership.next_heartbeat


def test_a_commit_that_a_request_carries_along_is_not_told_again():
    server = led_with_a_commit()
    server.core.propose([(b"x", None)])
    (request,) = server.core.take_messages()
    assert (request.to, request.commit) == (A, 2)
    assert request.entries
    assert server.core.deadline() == server.core.leadership.next_heartbeat
