"""What a follower does: it takes its leader's log, says how far it is, and asks for readers."""

from __future__ import annotations

from oned.raft.messages import AppendReply, AppendRequest, ReadIndexRequest, SnapshotOffer
from oned.raft.state import State
from oned.raft.types import NO_SERVER, Entry, Index, Role, ServerId, Term


def hear_leader(state: State, now: float, leader: ServerId) -> None:
    """The leader of this term has spoken."""
    assert state.leadership is None, f"two leaders in term {state.term}: {leader} too"
    another = state.leader_id != leader
    state.role = Role.FOLLOWER
    state.leader_id = leader
    state.last_contact = now
    state.wait_for_leader(now)
    if another:
        state.reads.heartbeat = 0
        ask(state, state.reads.outstanding)


def reply(
    state: State,
    request: AppendRequest | SnapshotOffer,
    *,
    success: bool,
    index: Index,
    hint_term: Term = Term(0),
) -> None:
    """Answer a leader, once what it sent is durable."""
    heard = request if isinstance(request, AppendRequest) else None
    if request.term != state.term:
        heard = None  # its sender may lead again: what it named then says nothing of this term
    asks = 0
    if heard is not None and heard.round > state.reads.heartbeat:
        state.reads.heartbeat = heard.round
        asks = state.reads.put(state.last_contact)
    state.writes.messages.append(
        AppendReply(
            term=state.term,
            sender=state.server_id,
            to=request.sender,
            success=success,
            index=index,
            round=heard.round if heard else 0,
            hint_term=hint_term,
            rejected=heard.prev_index if heard else Index(0),
            asks=asks,
        )
    )


def on_append_request(state: State, request: AppendRequest) -> None:
    """Take the leader's entries if they go on from ours (paper, 5.3)."""
    if request.answers:
        on_answer(state, state.last_contact, request.answers, request.commit)
    if request.prev_index < state.log.base_index and request.prev_index < state.commit:
        # Everything up to the commit index is equal by definition.
        reply(state, request, success=True, index=state.commit if request.prev_index else Index(0))
        return
    if state.log.term_at(request.prev_index) != request.prev_term:
        index, term = state.log.hint(request.prev_index, request.prev_term)
        reply(state, request, success=False, index=index, hint_term=term)
        return
    entries = request.entries
    for position, entry in enumerate(entries):
        if state.log.term_at(entry.index) != entry.term:
            replace_tail(state, entries[position:])
            break
    last = Index(request.prev_index + len(entries))
    state.commit_to(min(request.commit, last))
    reply(state, request, success=True, index=last)


def replace_tail(state: State, entries: tuple[Entry, ...]) -> None:
    """Append the leader's entries, after removing ours that contradict them."""
    first = entries[0].index
    if first <= state.log.last_index:
        assert first > state.commit, f"entry {first} is committed, {state.commit}"
        state.log.truncate(first)
        state.writes.cut(first)
    state.log.append(entries)


def ask_for_readers(state: State, now: float) -> None:
    """One question at a time speaks for all who came before it was sent."""
    if state.reads.must_ask:
        number = state.reads.sent(
            now,
            retry_seconds=state.options.heartbeat,
            patience_seconds=state.options.election_timeout,
        )
        ask(state, number)


def ask(state: State, number: int) -> None:
    """Put a question to the leader, if there is one; 0 is none."""
    if number and state.role is Role.FOLLOWER and state.leader_id != NO_SERVER:
        state.outbox.append(ReadIndexRequest(state.term, state.server_id, state.leader_id, number))


def on_answer(state: State, now: float, number: int, index: Index) -> None:
    """The leader has answered a question."""
    state.reads.answer(number, index)
    state.reads.applied(state.applied)
    ask_for_readers(state, now)
