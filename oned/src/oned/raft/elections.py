"""Terms, candidacies and votes (paper, 5.2 and 5.4.1)."""

from __future__ import annotations

from oned.raft import quorum
from oned.raft.messages import VoteReply, VoteRequest
from oned.raft.state import State
from oned.raft.types import NO_SERVER, Role, Term


def become_follower(state: State, now: float, term: Term) -> None:
    """Lead and stand no more, in a term that is this one or has just been heard of."""
    if term > state.term:
        state.term, state.voted_for = term, NO_SERVER
        state.writes.messages = []  # acknowledgements of a former term are nobody's business
    if state.leadership is not None and state.serving:
        state.reads.fresh_at = max(state.reads.fresh_at, state.leadership.lease_start)
    state.role = Role.FOLLOWER
    state.leader_id = NO_SERVER
    state.leadership = None
    state.wait_for_leader(now)


def campaign(state: State, now: float, *, pre: bool, transfer: bool = False) -> bool:
    """Ask for votes; first (``pre``) only whether there would be any (dissertation, 9.6).

    Returns:
        Whether the election is won at once, by the only voter.
    """
    state.pre_campaign = pre
    state.granted = {state.server_id}
    state.leader_id = NO_SERVER
    state.leadership = None
    state.role = Role.CANDIDATE
    if not pre:
        state.term, state.voted_for = Term(state.term + 1), state.server_id
    state.wait_for_leader(now)
    if state.voters == {state.server_id}:
        return not pre or campaign(state, now, pre=False)
    wanted = Term(state.term + 1) if pre else state.term
    last_index, last_term = state.log.last_index, state.log.last_term
    # A vote for oneself must be durable before anybody hears of it, hence after the write.
    state.writes.messages.extend(
        VoteRequest(wanted, state.server_id, peer, last_index, last_term, pre, transfer)
        for peer in sorted(state.voters - {state.server_id})
    )
    return False


def on_vote_request(state: State, now: float, request: VoteRequest) -> None:
    """Give a vote, or refuse it; once the answer is durable it is sent."""
    led = state.leadership is not None or (
        now < state.last_contact + state.options.election_timeout
    )
    if led and not request.transfer and request.term > state.term:
        return  # a server that hears its leader helps nobody to depose it
    if not request.pre and request.term > state.term:
        become_follower(state, now, request.term)
    current = request.term > state.term if request.pre else request.term == state.term
    free = request.pre or state.voted_for in (NO_SERVER, request.sender)
    granted = (
        current
        and free
        and state.initialised
        and not state.log.is_newer_than(request.last_index, request.last_term)
    )
    if granted and not request.pre:
        state.voted_for = request.sender
        state.wait_for_leader(now)
    state.writes.messages.append(
        VoteReply(
            term=request.term if granted else state.term,
            sender=state.server_id,
            to=request.sender,
            granted=granted,
            pre=request.pre,
        )
    )


def on_vote_reply(state: State, now: float, reply: VoteReply) -> bool:
    """Count a vote; whether the election is won by it."""
    if state.role is not Role.CANDIDATE or reply.pre != state.pre_campaign or not reply.granted:
        return False
    if reply.term != state.term + (1 if reply.pre else 0):
        return False
    state.granted.add(reply.sender)
    if not quorum.is_quorum(state.granted, state.voters):
        return False
    return not reply.pre or campaign(state, now, pre=False)
