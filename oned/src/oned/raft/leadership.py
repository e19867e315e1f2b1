"""What a server holds only while it leads: progress of the others, reads, a hand-over.

It is made when a term is won and thrown away when the term is over, so nothing of
one leadership can leak into the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from oned.raft import quorum
from oned.raft.log import Log
from oned.raft.messages import AppendReply, AppendRequest
from oned.raft.progress import Flow, Progress
from oned.raft.timing import NEVER, NOT_YET
from oned.raft.types import Configuration, Index, ServerId, Term

BATCH_ENTRIES = 512
"""Entries in one append request at most."""

BATCH_BYTES = 1 << 20
"""Bytes of entries in one append request at most, but for a single larger entry."""

CLOCK_DRIFT = 0.1
"""How much faster than ours a voter's clock may run: a lease ends this much early."""


@dataclass(slots=True)
class Transfer:
    """A hand-over under way: to whom, until when, and whether it was told to start."""

    to: ServerId
    deadline: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A follower wants a read index: ``index``, once a quorum has answered ``round``."""

    number: int
    round: int
    index: Index


class Leadership:
    """One server's time in office.

    Attributes:
        tell_commit_at: when a commit that no request has carried along is told by itself.
        term_start: index of the no-op of this term; when it is applied the leader serves.
        round_wanted: a round that reads wait for; it begins when the one under way is answered.
        questions: read index requests that wait, one a server at most.
    """

    def __init__(
        self, *, server_id: ServerId, term: Term, log: Log, now: float, heartbeat: float
    ) -> None:
        self.server_id = server_id
        self.term = term
        self.log = log
        self.started = now
        self.heartbeat = heartbeat
        self.next_heartbeat = now
        self.tell_commit_at = NEVER
        self.round = 0
        self.term_start = Index(log.last_index + 1)
        self.progress: dict[ServerId, Progress] = {}
        self.transfer: Transfer | None = None
        self._round_sent: deque[tuple[int, float]] = deque(maxlen=64)
        self.quorum_round = 0
        self.round_wanted = 0
        self.questions: dict[ServerId, Question] = {}
        self.lease_start = NOT_YET
        self._lease_broken = False
        self.follow(log.configuration)

    def follow(self, configuration: Configuration) -> None:
        """Keep progress for exactly the other members of ``configuration``."""
        wanted = [m.server_id for m in configuration.members if m.server_id != self.server_id]
        self.progress = {
            peer: self.progress.get(peer) or Progress(next=Index(self.log.last_index + 1))
            for peer in wanted
        }

    def committed(self, durable: Index, voters: frozenset[ServerId]) -> Index:
        """The highest index that a quorum holds durably; ours counts only once written."""
        matched: dict[ServerId, int] = {peer: p.match for peer, p in self.progress.items()}
        matched[self.server_id] = durable
        return Index(quorum.reached(matched, voters))

    def quorum_contact(self, now: float, voters: frozenset[ServerId]) -> float:
        """The latest moment at which a quorum, ourselves included, had been heard."""
        times = {
            peer: self.started if p.last_reply is None else p.last_reply
            for peer, p in self.progress.items()
        }
        times[self.server_id] = now
        return quorum.reached(times, voters)

    def new_round(self, now: float) -> None:
        """Start a heartbeat round; its answers renew the lease and release reads."""
        self.round += 1
        self._round_sent.append((self.round, now))
        self.next_heartbeat = now + self.heartbeat
        for progress in self.progress.values():
            progress.probing = False

    def answer_questions(self) -> None:
        """This server leads right now: its commit index answers all that was asked before."""
        for progress in self.progress.values():
            progress.answers = progress.asks

    def acknowledge_round(self, voters: frozenset[ServerId]) -> bool:
        """Note the newest round that a quorum has answered; whether it is a newer one."""
        answered: dict[ServerId, int] = {peer: p.round for peer, p in self.progress.items()}
        answered[self.server_id] = self.round
        reached = quorum.reached(answered, voters)
        if reached <= self.quorum_round:
            return False
        self.quorum_round = reached
        while self._round_sent and self._round_sent[0][0] <= reached:
            self.lease_start = self._round_sent.popleft()[1]
        return True

    def holds_lease(self, now: float, election_timeout: float) -> bool:
        """Whether no other leader can have been elected yet (dissertation, 6.4.1).

        A voter that answered a round refuses votes for an election timeout by its own
        clock; ours may be slower by the drift. A hand-over breaks that promise, and the
        request to start one may arrive long after it was given up.
        """
        if self.transfer is not None or self._lease_broken:
            return False
        return now < self.lease_start + election_timeout * (1 - CLOCK_DRIFT)

    def give_up_transfer(self) -> None:
        """Nobody took over in time: go on leading."""
        if self.transfer is not None and self.transfer.told:
            self._lease_broken = True  # for good: the word may still arrive in this term
        self.transfer = None

    def untold(self, commit: Index) -> list[ServerId]:
        """The servers that were sent every entry, and no request with this commit index."""
        return [
            peer
            for peer, progress in self.progress.items()
            if progress.flow is Flow.REPLICATE
            and progress.next > self.log.last_index
            and progress.told_commit < commit
        ]

    def requests(self, peer: ServerId, commit: Index) -> Iterator[AppendRequest]:
        """Everything that may be sent to ``peer`` now; empty when it must wait."""
        progress = self.progress[peer]
        while progress.can_send and progress.next <= self.log.last_index:
            previous = Index(progress.next - 1)
            previous_term = self.log.term_at(previous)
            entries = self.log.slice(progress.next, BATCH_ENTRIES, BATCH_BYTES)
            if previous_term is None or entries is None:
                progress.needs_snapshot()
                return
            progress.sent(entries[-1].index)
            progress.told_commit = commit
            yield AppendRequest(
                term=self.term,
                sender=self.server_id,
                to=peer,
                prev_index=previous,
                prev_term=previous_term,
                entries=tuple(entries),
                commit=commit,
                round=self.round,
                answers=progress.answers,
            )

    def heartbeat_to(self, peer: ServerId, commit: Index) -> AppendRequest:
        """An append request with no entries, which asks whether the logs agree so far.

        To a server that waits for a snapshot it names no entry: nothing can agree yet.
        """
        progress = self.progress[peer]
        previous = Index(progress.next - 1)
        previous_term = self.log.term_at(previous)
        if progress.flow is Flow.SNAPSHOT or previous_term is None:
            previous, previous_term = Index(0), Term(0)
        progress.told_commit = commit
        return AppendRequest(
            term=self.term,
            sender=self.server_id,
            to=peer,
            prev_index=previous,
            prev_term=previous_term,
            entries=(),
            commit=commit,
            round=self.round,
            answers=progress.answers,
        )

    def note_reply(self, reply: AppendReply, now: float) -> bool:
        """Take in a server's answer; whether something more may be sent to it now."""
        progress = self.progress.get(reply.sender)
        if progress is None:
            return False
        progress.last_reply = now
        progress.round = max(progress.round, reply.round)
        if reply.asks:
            progress.asks = reply.asks
        if not reply.success:
            common, _ = self.log.hint(reply.index, reply.hint_term)
            return progress.refused(reply.rejected, common)
        if progress.flow is Flow.SNAPSHOT:
            if self.log.term_at(reply.index) is None:
                return False
            progress.probe_from(Index(reply.index + 1))
        progress.succeeded(reply.index)
        return True

    def successor(self) -> ServerId | None:
        """The voter that would take over soonest: the one with the longest matching log."""
        voters = self.log.configuration.voters
        candidates = [
            (p.match, p.last_reply, peer)
            for peer, p in self.progress.items()
            if peer in voters and p.last_reply is not None
        ]
        return max(candidates)[2] if candidates else None
