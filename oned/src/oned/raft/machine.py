"""One server's Raft: time and messages in; messages, writes and a deadline out.

How a driver uses it, in this order (``oned.node`` and the simulator both do):

1. feed inputs: ``tick``, ``receive``, ``propose`` …
2. send ``take_messages()`` at once: they claim nothing that is not durable;
3. if no write is under way, ``take_write()``, make it durable in one transaction,
   apply what it commits in the same one, call ``written`` and only then send its
   ``messages``: votes and acknowledgements, which speak for durability;
4. call ``tick`` again at ``deadline()`` at the latest.

What it holds is in ``state``, what each role does with it in ``elections``, ``following`` and
``leading``; here is what a driver sees, and which of them an input goes to.

References are to "In Search of an Understandable Consensus Algorithm" (paper) and to
Ongaro's dissertation.
"""

from __future__ import annotations

from collections.abc import Sequence

from oned.raft import elections, following, leading
from oned.raft.errors import NotLeading
from oned.raft.leadership import Transfer
from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    Message,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.progress import Flow, Progress
from oned.raft.state import State
from oned.raft.timing import NEVER, NOT_YET
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Entry,
    HardState,
    Index,
    Proposal,
    Role,
    ServerId,
    Term,
)
from oned.raft.writes import Write


class Raft(State):
    """The core of one server."""

    # --- what can be asked ---------------------------------------------------------

    def keeps_quorum(self, now: float, configuration: Configuration) -> bool:
        """Whether a majority of the voters there would be was heard within an election timeout.

        A change that leaves the zone to servers which do not answer could not be taken back.
        """
        if self.leadership is None:
            return True
        heard = self.leadership.quorum_contact(now, configuration.voters)
        return now - heard <= self.options.election_timeout

    def deadline(self) -> float:
        """When ``tick`` must be called next, in the caller's monotonic seconds."""
        if self.leadership is not None:
            return min(self.leadership.next_heartbeat, self.leadership.tell_commit_at)
        return min(self.election_deadline, self.reads.deadline)

    def staleness(self, now: float) -> float | None:
        """Everything acknowledged so many seconds ago or before is in these tables.

        It needs no clock but this server's own, and on a leader those of its voters to
        keep within the drift that leases allow for. None: nothing is known yet.
        """
        if self.lease_read(now):
            return 0.0
        fresh_at = self.reads.fresh_at
        if self.leadership is not None and self.serving:
            fresh_at = max(fresh_at, self.leadership.lease_start)
        return None if fresh_at == NOT_YET else max(0.0, now - fresh_at)

    def lease_read(self, now: float) -> bool:
        """Whether a read is linearizable here and now, without asking anybody."""
        if self.role is Role.SOLO:
            return True
        return (
            self.leadership is not None
            and self.serving
            and (
                self.voters == {self.server_id}
                or self.leadership.holds_lease(now, self.options.election_timeout)
            )
        )

    # --- inputs --------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.leadership is not None:
            leading.tick(self, self.leadership, now)
            return
        if now >= self.election_deadline:
            self.wait_for_leader(now)  # an entry may have taken its vote since it last did
            if self.election_deadline != NEVER:
                self._campaign(now, pre=True)
        if now >= self.reads.deadline and self.reads.repeat(now, self.options.heartbeat):
            following.ask(self, self.reads.outstanding)

    def receive(self, now: float, message: Message) -> None:
        """A message for this server has arrived, from a member or a future leader of it."""
        if self.role is Role.SOLO:
            return
        if isinstance(message, VoteRequest):
            elections.on_vote_request(self, now, message)
            return
        if isinstance(message, VoteReply) and message.pre and message.granted:
            self._count(now, message)
            return
        if message.term > self.term:
            elections.become_follower(self, now, message.term)
        if message.term < self.term:
            if isinstance(message, AppendRequest | SnapshotOffer):
                following.reply(self, message, success=False, index=Index(0))
            return
        self._take(now, message)

    def _take(self, now: float, message: Message) -> None:
        """A message of this term."""
        match message:
            case VoteRequest():
                pass  # answered before, whatever its term
            case VoteReply():
                self._count(now, message)
            case AppendRequest():
                following.hear_leader(self, now, message.sender)
                following.on_append_request(self, message)
            case AppendReply():
                leading.on_append_reply(self, now, message)
            case TimeoutNow():
                if self.server_id in self.voters and self.role is not Role.LEADER:
                    self._campaign(now, pre=False, transfer=True)
            case SnapshotOffer():
                following.hear_leader(self, now, message.sender)
            case ReadIndexRequest():
                leading.on_read_index_request(self, now, message)
            case ReadIndexReply():
                following.on_answer(self, now, message.number, message.index)

    def propose(self, proposals: Sequence[Proposal]) -> Index:
        """Append proposals in one go and send them on; they are committed later or never.

        Returns:
            The index of the first one; the others follow it.

        Raises:
            NotLeading: nothing was appended.
            ChangePending: a configuration must wait for the one before it to be committed,
                and for the no-op of this term (Ongaro's correction of single-server changes).
            UnsafeChange: more than one voter would come or go.
        """
        if not self.is_leading or (self.leadership is not None and self.leadership.transfer):
            raise NotLeading
        leading.check_configurations(self, proposals)
        first = Index(self.log.last_index + 1)
        self.log.append(
            [
                Entry(Index(first + offset), self.term, data, configuration)
                for offset, (data, configuration) in enumerate(proposals)
            ]
        )
        if self.leadership is not None:
            if any(configuration is not None for _, configuration in proposals):
                self.leadership.follow(self.log.configuration)
            leading.replicate(self)
        return first

    def read_round(self, now: float) -> tuple[int, Index]:
        """Begin to prove that this server still leads (dissertation, 6.4).

        Returns:
            A round and an index: a read is linearizable once ``quorum_round`` has reached
            the round and the index is applied.
        """
        if self.leadership is None or not self.serving:
            raise NotLeading
        index = self.commit
        return leading.round_from_now(self, self.leadership, now), index

    def read_index(self, now: float) -> int:
        """Begin to ask the leader how far this server must be to read what is true now.

        Returns:
            A ticket: ``reads.outcome`` tells whether the read may go on, waits, or was given
            up because no leader answered within an election timeout.

        Raises:
            NotLeading: no leader is known, or there is no database to read.
        """
        if self.role is not Role.FOLLOWER or not self.serving:
            raise NotLeading
        ticket = self.reads.join()
        following.ask_for_readers(self, now)
        return ticket

    def transfer(self, now: float, to: ServerId | None = None) -> ServerId:
        """Hand over to ``to`` or the most advanced voter; proposals are refused meanwhile.

        It is given up after an election timeout.

        Raises:
            NotLeading: this server does not lead, or nobody can take over.
        """
        if self.leadership is None:
            raise NotLeading
        target = self.leadership.successor() if to is None else to
        if target is None or target == self.server_id or target not in self.voters:
            raise NotLeading
        if target not in self.leadership.progress:
            raise NotLeading
        self.leadership.give_up_transfer()  # one under way is told already, or replaced
        self.leadership.transfer = Transfer(target, now + self.options.election_timeout)
        leading.continue_transfer(self, self.leadership)
        leading.replicate(self)
        return target

    def step_down(self, now: float) -> None:
        """Stop leading, in the same term: this server cannot do its work."""
        if self.leadership is not None:
            elections.become_follower(self, now, self.term)

    def unreachable(self, peer: ServerId) -> None:
        """The connection to ``peer`` broke: what was in flight is lost."""
        progress = self.leadership.progress.get(peer) if self.leadership else None
        if progress is not None and progress.flow is Flow.REPLICATE:
            progress.probe_from(Index(progress.match + 1))

    def snapshots_wanted(self) -> list[ServerId]:
        """The servers whose next entry is compacted: stream them a snapshot."""
        if self.leadership is None:
            return []
        return [
            p for p, progress in self.leadership.progress.items() if progress.flow is Flow.SNAPSHOT
        ]

    def snapshot_ended(self, peer: ServerId, index: Index | None) -> None:
        """A stream ended: the server holds everything up to ``index``, or nothing new (None)."""
        progress = self.leadership.progress.get(peer) if self.leadership else None
        if progress is not None and progress.flow is Flow.SNAPSHOT:
            progress.probe_from(Index((progress.match if index is None else index) + 1))

    def force_snapshot(self, peer: ServerId) -> None:
        """Send ``peer`` a snapshot whatever its log holds (``one.zone.resetserver``)."""
        if self.leadership is not None and peer in self.leadership.progress:
            self.leadership.progress[peer].needs_snapshot()

    def installed(self, now: float, index: Index, term: Term, configuration: Configuration) -> None:
        """A snapshot that ends with this entry is durable and has replaced the tables.

        Entries behind it stay when the logs agree at its end: they may have been
        acknowledged (paper, figure 13). No write may be under way.
        """
        assert not self.writes.is_under_way
        agrees = self.log.term_at(index) == term
        if agrees:
            self.log.compact(index, term)
        else:
            self.log.reset(index, term, configuration)
        self.writes.replaced(index, log_agrees=agrees)
        self.initialised = True
        self.commit = max(self.commit, index)
        self.applied = index
        self.reads.applied(index)
        self.wait_for_leader(now)
        if self.leader_id != NO_SERVER:
            self.writes.messages.append(
                AppendReply(self.term, self.server_id, self.leader_id, True, index, 0)
            )

    def forget_progress(self, peer: ServerId) -> None:
        """What ``peer`` acknowledged is void: it has another disk now."""
        if self.leadership is not None and peer in self.leadership.progress:
            self.leadership.progress[peer] = Progress(next=Index(self.log.last_index + 1))

    def caught_up(self, peer: ServerId, entries: int) -> bool:
        """Whether a member's log ends less than ``entries`` before ours, and keeps up."""
        progress = self.leadership.progress.get(peer) if self.leadership else None
        return (
            progress is not None
            and progress.flow is Flow.REPLICATE
            and progress.match + entries > self.log.last_index
        )

    # --- elections -----------------------------------------------------------------

    @property
    def _hard_state(self) -> HardState:
        return HardState(self.term, self.voted_for)

    def _campaign(self, now: float, *, pre: bool, transfer: bool = False) -> None:
        if elections.campaign(self, now, pre=pre, transfer=transfer):
            leading.begin(self, now)

    def _count(self, now: float, reply: VoteReply) -> None:
        if elections.on_vote_reply(self, now, reply):
            leading.begin(self, now)

    # --- outputs -------------------------------------------------------------------

    def take_messages(self) -> list[Message]:
        """Messages that claim nothing undurable: send them now.

        While this server's term is not durable there are none: a lone voter that wins a
        term and forgets it would win it twice, with other entries.
        """
        if not self.writes.is_durable(self._hard_state):
            return []
        messages, self.outbox = self.outbox, []
        return messages

    def take_write(self) -> Write | None:
        """The next transaction, or None when there is nothing to write, apply or send."""
        return self.writes.take(
            self.log, self._hard_state, commit=self.commit, applied=self.applied
        )

    def written(self, now: float, write: Write) -> None:
        """The transaction is durable, and everything it commits is applied."""
        self.writes.ended(write, self.log.last_index)
        self.applied = write.apply_to
        self.log.forget(self.applied)
        self.reads.applied(self.applied)
        if self.leadership is not None:
            leading.answer_questions(self, self.leadership)
            leading.advance_commit(self, self.leadership, now)
        elif self.role is Role.SOLO:
            self.commit_to(self.writes.durable)
