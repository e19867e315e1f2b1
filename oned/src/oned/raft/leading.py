"""What a leader does: rounds of heartbeats, replication, commits, reads of others, a hand-over."""

from __future__ import annotations

from collections.abc import Sequence

from oned.raft import elections, quorum
from oned.raft.errors import ChangePending, UnsafeChange
from oned.raft.leadership import Leadership, Question
from oned.raft.messages import AppendReply, ReadIndexReply, ReadIndexRequest, TimeoutNow
from oned.raft.state import State
from oned.raft.timing import NEVER
from oned.raft.types import Entry, Proposal, Role


def begin(state: State, now: float) -> None:
    """The election is won: take office."""
    state.role = Role.LEADER
    state.leader_id = state.server_id
    state.election_deadline = NEVER
    state.reads.give_up()  # who waits reads as of a leader now
    state.leadership = Leadership(
        server_id=state.server_id,
        term=state.term,
        log=state.log,
        now=now,
        heartbeat=state.options.heartbeat,
    )
    # Entries of former terms are committed by this one, never by counting (paper, 5.4.2).
    state.log.append([Entry(state.leadership.term_start, state.term)])
    heartbeat(state, state.leadership, now)
    replicate(state)


def tick(state: State, leadership: Leadership, now: float) -> None:
    """Time has passed in office."""
    silence = now - leadership.quorum_contact(now, state.voters)
    if state.voters != {state.server_id} and silence > state.options.election_timeout:
        # Check-quorum: others may have a leader by now.
        elections.become_follower(state, now, state.term)
        return
    if leadership.transfer is not None and now >= leadership.transfer.deadline:
        leadership.give_up_transfer()
    if now >= leadership.next_heartbeat:
        heartbeat(state, leadership, now)
    elif now >= leadership.tell_commit_at:
        tell_commit(state, leadership)


def heartbeat(state: State, leadership: Leadership, now: float) -> None:
    """Begin a round: everybody is sent something, and its answer proves that this server leads."""
    leadership.new_round(now)
    if state.serving and leadership.holds_lease(now, state.options.election_timeout):
        leadership.answer_questions()
    for peer in leadership.progress:
        requests = list(leadership.requests(peer, state.commit))
        state.outbox.extend(requests or [leadership.heartbeat_to(peer, state.commit)])
    leadership.acknowledge_round(state.voters)


def round_from_now(state: State, leadership: Leadership, now: float) -> int:
    """A round that begins now or later; its answers prove that this server led by then.

    While one is under way, the next one speaks for all reads that come meanwhile.
    """
    if leadership.quorum_round == leadership.round:
        heartbeat(state, leadership, now)
        return leadership.round
    leadership.round_wanted = leadership.round + 1
    return leadership.round_wanted


def on_read_index_request(state: State, now: float, request: ReadIndexRequest) -> None:
    """A follower asks how far it must be to show what is true now (dissertation, 6.4)."""
    leadership = state.leadership
    if leadership is None or request.sender not in leadership.progress:
        return
    waiting = leadership.questions.get(request.sender)
    if waiting is None or waiting.number != request.number:
        leased = leadership.holds_lease(now, state.options.election_timeout)
        # What former leaders acknowledged comes before the no-op of this term.
        index = max(state.commit, leadership.term_start)
        round_ = 0 if leased else round_from_now(state, leadership, now)
        leadership.questions[request.sender] = Question(request.number, round_, index)
    answer_questions(state, leadership)


def answer_questions(state: State, leadership: Leadership) -> None:
    """Answer the read index requests that may be answered now."""
    if not leadership.questions or not state.serving:
        return
    for peer, question in list(leadership.questions.items()):
        if leadership.quorum_round >= question.round:
            del leadership.questions[peer]
            state.outbox.append(
                ReadIndexReply(state.term, state.server_id, peer, question.number, question.index)
            )


def continue_reads(state: State, leadership: Leadership, now: float) -> None:
    """A quorum may have answered a round: go on with the reads that wait for one."""
    if leadership.round_wanted > leadership.round == leadership.quorum_round:
        heartbeat(state, leadership, now)
    answer_questions(state, leadership)


def replicate(state: State) -> None:
    """Send every server what it may be sent."""
    assert state.leadership is not None
    for peer in state.leadership.progress:
        state.outbox.extend(state.leadership.requests(peer, state.commit))
    if not state.leadership.untold(state.commit):
        state.leadership.tell_commit_at = NEVER


def on_append_reply(state: State, now: float, reply: AppendReply) -> None:
    """A server says how far it is: send what follows, commit, go on with what waits for it."""
    leadership = state.leadership
    if leadership is None:
        return
    if leadership.note_reply(reply, now):
        state.outbox.extend(leadership.requests(reply.sender, state.commit))
    leadership.acknowledge_round(state.voters)
    advance_commit(state, leadership, now)
    if leadership is state.leadership:
        continue_transfer(state, leadership)
        continue_reads(state, leadership, now)


def advance_commit(state: State, leadership: Leadership, now: float) -> None:
    """Commit what a quorum holds, if the last of it is of this term (paper, 5.4.2)."""
    index = leadership.committed(state.writes.durable, state.voters)
    if index <= state.commit or state.log.term_at(index) != state.term:
        return
    state.commit_to(index)
    if state.server_id not in state.voters and not state.change_pending:
        elections.become_follower(state, now, state.term)  # we led our own removal to its end
        return
    if state.options.commit_delay:
        leadership.tell_commit_at = min(leadership.tell_commit_at, now + state.options.commit_delay)
    else:
        tell_commit(state, leadership)


def tell_commit(state: State, leadership: Leadership) -> None:
    """Send the commit index where no request has carried it along."""
    leadership.tell_commit_at = NEVER
    state.outbox.extend(
        leadership.heartbeat_to(peer, state.commit) for peer in leadership.untold(state.commit)
    )


def continue_transfer(state: State, leadership: Leadership) -> None:
    """Tell the successor to stand, once it has the whole log."""
    transfer = leadership.transfer
    if transfer is None or transfer.told:
        return
    progress = leadership.progress.get(transfer.to)
    if progress is not None and progress.match == state.log.last_index:
        transfer.told = True
        state.outbox.append(TimeoutNow(state.term, state.server_id, transfer.to))


def check_configurations(state: State, proposals: Sequence[Proposal]) -> None:
    """Raise unless the members that are proposed may be appended: see ``Raft.propose``."""
    changes = [configuration for _, configuration in proposals if configuration is not None]
    if not changes:
        return
    if len(changes) > 1 or state.change_pending:
        raise ChangePending
    if state.leadership is not None and state.commit < state.leadership.term_start:
        raise ChangePending
    if not quorum.differ_by_one(state.configuration.voters, changes[0].voters):
        raise UnsafeChange
