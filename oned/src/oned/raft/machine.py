"""One server's Raft: time and messages in; messages, writes and a deadline out.

How a driver uses it, in this order (``oned.node`` and the simulator both do):

1. feed inputs: ``tick``, ``receive``, ``propose`` …
2. send ``take_messages()`` at once: they claim nothing that is not durable;
3. if no write is under way, ``take_write()``, make it durable in one transaction,
   apply what it commits in the same one, call ``written`` and only then send its
   ``messages``: votes and acknowledgements, which speak for durability;
4. call ``tick`` again at ``deadline()`` at the latest.

References are to "In Search of an Understandable Consensus Algorithm" (paper) and to
Ongaro's dissertation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from oned.raft import quorum
from oned.raft.errors import ChangePending, NotLeading, UnsafeChange
from oned.raft.leadership import Leadership, Question, Transfer
from oned.raft.log import Log
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
from oned.raft.reads import Reads
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Entry,
    HardState,
    Index,
    Role,
    ServerId,
    Term,
)

Proposal: TypeAlias = tuple[bytes, Configuration | None]

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Options:
    """Timers in seconds.

    Attributes:
        election_timeout: the shortest silence of a leader that starts an election; each
            server adds up to as much again at random.
        heartbeat: how often a leader is heard when nothing happens.
        commit_delay: how long the news of a commit may wait for a request that carries it
            along: one writer's next entry mostly comes sooner. Without it, it is told at once.
    """

    election_timeout: float = 1.0
    heartbeat: float = 0.15
    commit_delay: float = 0.005


@dataclass(frozen=True, slots=True)
class Write:
    """One transaction: hard state, truncation, new entries, then everything committed.

    Attributes:
        truncate_from: remove stored entries from this index on, before appending.
        apply_to: apply entries up to this index; it is never past the last one stored.
        messages: send them once the transaction is durable, not before.
    """

    hard_state: HardState | None
    truncate_from: Index | None
    entries: tuple[Entry, ...]
    apply_to: Index
    messages: tuple[Message, ...]

    @property
    def must_sync(self) -> bool:
        """Whether the transaction carries something that cannot be replayed from the log."""
        return self.hard_state is not None or bool(self.entries) or self.truncate_from is not None


class Raft:
    """The core of one server.

    Args:
        server_id: this server's id; ``NO_SERVER`` for a solo server.
        initialised: False for a database that holds no zone yet: it neither votes nor
            campaigns, and waits for a leader's snapshot.
        solo: OpenNebula's state before high availability: alone, without elections.
        random: numbers in [0, 1), for election timeouts.
    """

    def __init__(
        self,
        *,
        server_id: ServerId,
        hard_state: HardState,
        log: Log,
        applied: Index,
        initialised: bool,
        solo: bool,
        options: Options,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.server_id = server_id
        self.term = hard_state.term
        self.voted_for = hard_state.voted_for
        self.log = log
        self.initialised = initialised
        self.options = options
        self.role = Role.SOLO if solo else Role.FOLLOWER
        self.leader_id = NO_SERVER
        self.commit = applied
        self.applied = applied
        self.leadership: Leadership | None = None
        self.reads = Reads(random)
        self._random = random
        self._stored_hard_state = self._durable_hard_state = hard_state
        # What is known durable, what was handed out to be written, and since when to cut.
        self._durable = log.last_index
        self._handed_out = log.last_index
        self._under_way: Index | None = None
        self._truncate_from: Index | None = None
        # A restarted voter may have promised a leader not to vote; it keeps the promise.
        self._last_contact = now
        self._election_deadline = NEVER
        self._pre_campaign = False
        self._granted: set[ServerId] = set()
        self._messages: list[Message] = []
        self._after_write: list[Message] = []
        self._wait_for_leader(now)

    # --- what can be asked ---------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        return self.log.configuration

    @property
    def voters(self) -> frozenset[ServerId]:
        return (
            frozenset((self.server_id,))
            if self.role is Role.SOLO
            else self.log.configuration.voters
        )

    @property
    def is_leading(self) -> bool:
        """Whether writes may be proposed here: as leader, or solo."""
        return self.role in (Role.LEADER, Role.SOLO)

    @property
    def serving(self) -> bool:
        """Whether an answer from here reflects everything that was acknowledged before.

        A leader's tables are complete once its own no-op is applied (paper, section 8).
        """
        if self.role is Role.LEADER:
            assert self.leadership is not None
            return self.applied >= self.leadership.term_start
        return self.role is Role.SOLO or (
            self.role is Role.FOLLOWER and self.leader_id != NO_SERVER and self.initialised
        )

    @property
    def change_pending(self) -> bool:
        """Whether the newest configuration is not committed yet."""
        return self.log.configuration_index > self.commit

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
        return min(self._election_deadline, self.reads.deadline)

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
        return None if fresh_at == -NEVER else max(0.0, now - fresh_at)

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
            self._tick_leader(self.leadership, now)
            return
        if now >= self._election_deadline:
            self._wait_for_leader(now)  # an entry may have taken its vote since it last did
            if self._election_deadline != NEVER:
                self._campaign(now, pre=True)
        if now >= self.reads.deadline and self.reads.repeat(now, self.options.heartbeat):
            self._ask(self.reads.outstanding)

    def receive(self, now: float, message: Message) -> None:
        """A message for this server has arrived, from a member or a future leader of it."""
        if self.role is Role.SOLO:
            return
        if isinstance(message, VoteRequest):
            self._on_vote_request(now, message)
            return
        if isinstance(message, VoteReply) and message.pre and message.granted:
            self._on_vote_reply(now, message)
            return
        if message.term > self.term:
            self._become_follower(now, message.term)
        if message.term < self.term:
            if isinstance(message, AppendRequest | SnapshotOffer):
                self._reply(message, success=False, index=Index(0))
            return
        self._take(now, message)

    def _take(self, now: float, message: Message) -> None:
        """A message of this term."""
        match message:
            case VoteRequest():
                pass  # answered before, whatever its term
            case VoteReply():
                self._on_vote_reply(now, message)
            case AppendRequest():
                self._hear_leader(now, message.sender)
                self._on_append_request(message)
            case AppendReply():
                self._on_append_reply(now, message)
            case TimeoutNow():
                if self.server_id in self.voters and self.role is not Role.LEADER:
                    self._campaign(now, pre=False, transfer=True)
            case SnapshotOffer():
                self._hear_leader(now, message.sender)
            case ReadIndexRequest():
                self._on_read_index_request(now, message)
            case ReadIndexReply():
                self._on_answer(now, message.number, message.index)

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
        self._check_configurations(proposals)
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
            self._replicate()
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
        return self._round_from_now(self.leadership, now), index

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
        self._ask_for_readers(now)
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
        self._continue_transfer(self.leadership)
        self._replicate()
        return target

    def step_down(self, now: float) -> None:
        """Stop leading, in the same term: this server cannot do its work."""
        if self.leadership is not None:
            self._become_follower(now, self.term)

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
        assert self._under_way is None
        if self.log.term_at(index) == term:
            self.log.compact(index, term)
        else:
            self.log.reset(index, term, configuration)
            self._handed_out = Index(0)
        if self._handed_out < index:
            # What was stored did not reach so far, or parted before: the snapshot is all there is.
            self._durable = self._handed_out = index
            self._truncate_from = None
        self.initialised = True
        self.commit = max(self.commit, index)
        self.applied = index
        self.reads.applied(index)
        self._wait_for_leader(now)
        if self.leader_id != NO_SERVER:
            self._after_write.append(
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

    # --- outputs -------------------------------------------------------------------

    def take_messages(self) -> list[Message]:
        """Messages that claim nothing undurable: send them now.

        While this server's term is not durable there are none: a lone voter that wins a
        term and forgets it would win it twice, with other entries.
        """
        if self._durable_hard_state != HardState(self.term, self.voted_for):
            return []
        messages, self._messages = self._messages, []
        return messages

    def take_write(self) -> Write | None:
        """The next transaction, or None when there is nothing to write, apply or send."""
        assert self._under_way is None, "one write at a time"
        hard_state = HardState(self.term, self.voted_for)
        entries: tuple[Entry, ...] = ()
        if self._handed_out < self.log.last_index:
            found = self.log.slice(
                Index(self._handed_out + 1), self.log.last_index - self._handed_out, 1 << 62
            )
            assert found is not None
            entries = tuple(found)
        changed = hard_state != self._stored_hard_state
        nothing = not (changed or entries or self._after_write or self.commit > self.applied)
        if nothing and self._truncate_from is None:
            return None
        write = Write(
            hard_state=hard_state if changed else None,
            truncate_from=self._truncate_from,
            entries=entries,
            apply_to=self.commit,
            messages=tuple(self._after_write),
        )
        self._stored_hard_state = hard_state
        self._truncate_from = None
        self._after_write = []
        self._handed_out = self.log.last_index
        self._under_way = self.log.last_index
        return write

    def written(self, now: float, write: Write) -> None:
        """The transaction is durable, and everything it commits is applied."""
        assert self._under_way is not None
        # Entries that were truncated while the write was under way are not ours any more.
        self._durable = max(min(self._durable, self.log.last_index), self._under_way)
        self._under_way = None
        if write.hard_state is not None:
            self._durable_hard_state = write.hard_state
        self.applied = write.apply_to
        self.log.forget(self.applied)
        self.reads.applied(self.applied)
        if self.leadership is not None:
            self._answer_questions(self.leadership)
            self._advance_commit(self.leadership, now)
        elif self.role is Role.SOLO:
            self._commit_to(self._durable)

    # --- elections -----------------------------------------------------------------

    def _wait_for_leader(self, now: float) -> None:
        """Draw a new election deadline; a server that may not campaign has none."""
        may_campaign = (
            self.initialised
            and self.role in (Role.FOLLOWER, Role.CANDIDATE)
            and self.server_id in self.log.configuration.voters
        )
        timeout = self.options.election_timeout * (1 + self._random())
        self._election_deadline = now + timeout if may_campaign else NEVER

    def _become_follower(self, now: float, term: Term) -> None:
        if term > self.term:
            self.term, self.voted_for = term, NO_SERVER
            self._after_write = []  # acknowledgements of a former term are nobody's business
        if self.leadership is not None and self.serving:
            self.reads.fresh_at = max(self.reads.fresh_at, self.leadership.lease_start)
        self.role = Role.FOLLOWER
        self.leader_id = NO_SERVER
        self.leadership = None
        self._wait_for_leader(now)

    def _hear_leader(self, now: float, leader: ServerId) -> None:
        assert self.leadership is None, f"two leaders in term {self.term}: {leader} too"
        another = self.leader_id != leader
        self.role = Role.FOLLOWER
        self.leader_id = leader
        self._last_contact = now
        self._wait_for_leader(now)
        if another:
            self.reads.heartbeat = 0
            self._ask(self.reads.outstanding)

    def _campaign(self, now: float, *, pre: bool, transfer: bool = False) -> None:
        """Ask for votes; first (``pre``) only whether there would be any (dissertation, 9.6)."""
        self._pre_campaign = pre
        self._granted = {self.server_id}
        self.leader_id = NO_SERVER
        self.leadership = None
        self.role = Role.CANDIDATE
        if not pre:
            self.term, self.voted_for = Term(self.term + 1), self.server_id
        self._wait_for_leader(now)
        if self.voters == {self.server_id}:
            if pre:
                self._campaign(now, pre=False)
            else:
                self._become_leader(now)
            return
        wanted = Term(self.term + 1) if pre else self.term
        last_index, last_term = self.log.last_index, self.log.last_term
        # A vote for oneself must be durable before anybody hears of it, hence after the write.
        self._after_write.extend(
            VoteRequest(wanted, self.server_id, peer, last_index, last_term, pre, transfer)
            for peer in sorted(self.voters - {self.server_id})
        )

    def _on_vote_request(self, now: float, request: VoteRequest) -> None:
        led = self.leadership is not None or (
            now < self._last_contact + self.options.election_timeout
        )
        if led and not request.transfer and request.term > self.term:
            return  # a server that hears its leader helps nobody to depose it
        if not request.pre and request.term > self.term:
            self._become_follower(now, request.term)
        current = request.term > self.term if request.pre else request.term == self.term
        free = request.pre or self.voted_for in (NO_SERVER, request.sender)
        granted = (
            current
            and free
            and self.initialised
            and not self.log.is_newer_than(request.last_index, request.last_term)
        )
        if granted and not request.pre:
            self.voted_for = request.sender
            self._wait_for_leader(now)
        self._after_write.append(
            VoteReply(
                term=request.term if granted else self.term,
                sender=self.server_id,
                to=request.sender,
                granted=granted,
                pre=request.pre,
            )
        )

    def _on_vote_reply(self, now: float, reply: VoteReply) -> None:
        if self.role is not Role.CANDIDATE or reply.pre != self._pre_campaign or not reply.granted:
            return
        if reply.term != self.term + (1 if reply.pre else 0):
            return
        self._granted.add(reply.sender)
        if not quorum.is_quorum(self._granted, self.voters):
            return
        if reply.pre:
            self._campaign(now, pre=False)
        else:
            self._become_leader(now)

    def _become_leader(self, now: float) -> None:
        self.role = Role.LEADER
        self.leader_id = self.server_id
        self._election_deadline = NEVER
        self.reads.give_up()  # who waits reads as of a leader now
        self.leadership = Leadership(
            server_id=self.server_id,
            term=self.term,
            log=self.log,
            now=now,
            heartbeat=self.options.heartbeat,
        )
        # Entries of former terms are committed by this one, never by counting (paper, 5.4.2).
        self.log.append([Entry(self.leadership.term_start, self.term)])
        self._heartbeat(self.leadership, now)
        self._replicate()

    # --- following -----------------------------------------------------------------

    def _reply(
        self,
        request: AppendRequest | SnapshotOffer,
        *,
        success: bool,
        index: Index,
        hint_term: Term = Term(0),
    ) -> None:
        heard = request if isinstance(request, AppendRequest) else None
        if request.term != self.term:
            heard = None  # its sender may lead again: what it named then says nothing of this term
        asks = 0
        if heard is not None and heard.round > self.reads.heartbeat:
            self.reads.heartbeat = heard.round
            asks = self.reads.put(self._last_contact)
        self._after_write.append(
            AppendReply(
                term=self.term,
                sender=self.server_id,
                to=request.sender,
                success=success,
                index=index,
                round=heard.round if heard else 0,
                hint_term=hint_term,
                rejected=heard.prev_index if heard else Index(0),
                asks=asks,
            )
        )

    def _on_append_request(self, request: AppendRequest) -> None:
        if request.answers:
            self._on_answer(self._last_contact, request.answers, request.commit)
        if request.prev_index < self.log.base_index and request.prev_index < self.commit:
            # Everything up to the commit index is equal by definition.
            self._reply(
                request, success=True, index=self.commit if request.prev_index else Index(0)
            )
            return
        if self.log.term_at(request.prev_index) != request.prev_term:
            index, term = self.log.hint(request.prev_index, request.prev_term)
            self._reply(request, success=False, index=index, hint_term=term)
            return
        entries = request.entries
        for position, entry in enumerate(entries):
            if self.log.term_at(entry.index) != entry.term:
                self._replace_tail(entries[position:])
                break
        last = Index(request.prev_index + len(entries))
        self._commit_to(min(request.commit, last))
        self._reply(request, success=True, index=last)

    def _replace_tail(self, entries: tuple[Entry, ...]) -> None:
        """Append the leader's entries, after removing ours that contradict them."""
        first = entries[0].index
        if first <= self.log.last_index:
            assert first > self.commit, f"entry {first} is committed, {self.commit}"
            self.log.truncate(first)
            kept = Index(first - 1)
            if first <= self._handed_out:
                cut = first if self._truncate_from is None else min(first, self._truncate_from)
                self._truncate_from = cut
            self._handed_out = min(self._handed_out, kept)
            self._durable = min(self._durable, kept)
            if self._under_way is not None:
                self._under_way = min(self._under_way, kept)
        self.log.append(entries)

    def _commit_to(self, index: Index) -> None:
        self.commit = max(self.commit, index)

    def _ask_for_readers(self, now: float) -> None:
        """One question at a time speaks for all who came before it was sent."""
        if self.reads.must_ask:
            number = self.reads.sent(
                now,
                retry_seconds=self.options.heartbeat,
                patience_seconds=self.options.election_timeout,
            )
            self._ask(number)

    def _ask(self, number: int) -> None:
        if number and self.role is Role.FOLLOWER and self.leader_id != NO_SERVER:
            self._messages.append(
                ReadIndexRequest(self.term, self.server_id, self.leader_id, number)
            )

    def _on_answer(self, now: float, number: int, index: Index) -> None:
        self.reads.answer(number, index)
        self.reads.applied(self.applied)
        self._ask_for_readers(now)

    # --- leading -------------------------------------------------------------------

    def _tick_leader(self, leadership: Leadership, now: float) -> None:
        silence = now - leadership.quorum_contact(now, self.voters)
        if self.voters != {self.server_id} and silence > self.options.election_timeout:
            self._become_follower(now, self.term)  # check-quorum: others may have a leader by now
            return
        if leadership.transfer is not None and now >= leadership.transfer.deadline:
            leadership.give_up_transfer()
        if now >= leadership.next_heartbeat:
            self._heartbeat(leadership, now)
        elif now >= leadership.tell_commit_at:
            self._tell_commit(leadership)

    def _heartbeat(self, leadership: Leadership, now: float) -> None:
        leadership.new_round(now)
        if self.serving and leadership.holds_lease(now, self.options.election_timeout):
            leadership.answer_questions()
        for peer in leadership.progress:
            requests = list(leadership.requests(peer, self.commit))
            self._messages.extend(requests or [leadership.heartbeat_to(peer, self.commit)])
        leadership.acknowledge_round(self.voters)

    def _round_from_now(self, leadership: Leadership, now: float) -> int:
        """A round that begins now or later; its answers prove that this server led by then.

        While one is under way, the next one speaks for all reads that come meanwhile.
        """
        if leadership.quorum_round == leadership.round:
            self._heartbeat(leadership, now)
            return leadership.round
        leadership.round_wanted = leadership.round + 1
        return leadership.round_wanted

    def _on_read_index_request(self, now: float, request: ReadIndexRequest) -> None:
        leadership = self.leadership
        if leadership is None or request.sender not in leadership.progress:
            return
        waiting = leadership.questions.get(request.sender)
        if waiting is None or waiting.number != request.number:
            leased = leadership.holds_lease(now, self.options.election_timeout)
            # What former leaders acknowledged comes before the no-op of this term.
            index = max(self.commit, leadership.term_start)
            round_ = 0 if leased else self._round_from_now(leadership, now)
            leadership.questions[request.sender] = Question(request.number, round_, index)
        self._answer_questions(leadership)

    def _answer_questions(self, leadership: Leadership) -> None:
        """Answer the read index requests that may be answered now."""
        if not leadership.questions or not self.serving:
            return
        for peer, question in list(leadership.questions.items()):
            if leadership.quorum_round >= question.round:
                del leadership.questions[peer]
                self._messages.append(
                    ReadIndexReply(self.term, self.server_id, peer, question.number, question.index)
                )

    def _continue_reads(self, leadership: Leadership, now: float) -> None:
        """A quorum may have answered a round: go on with the reads that wait for one."""
        if leadership.round_wanted > leadership.round == leadership.quorum_round:
            self._heartbeat(leadership, now)
        self._answer_questions(leadership)

    def _replicate(self) -> None:
        """Send every server what it may be sent."""
        assert self.leadership is not None
        for peer in self.leadership.progress:
            self._messages.extend(self.leadership.requests(peer, self.commit))
        if not self.leadership.untold(self.commit):
            self.leadership.tell_commit_at = NEVER

    def _on_append_reply(self, now: float, reply: AppendReply) -> None:
        leadership = self.leadership
        if leadership is None:
            return
        if leadership.note_reply(reply, now):
            self._messages.extend(leadership.requests(reply.sender, self.commit))
        leadership.acknowledge_round(self.voters)
        self._advance_commit(leadership, now)
        if leadership is self.leadership:
            self._continue_transfer(leadership)
            self._continue_reads(leadership, now)

    def _advance_commit(self, leadership: Leadership, now: float) -> None:
        """Commit what a quorum holds, if the last of it is of this term (paper, 5.4.2)."""
        index = leadership.committed(self._durable, self.voters)
        if index <= self.commit or self.log.term_at(index) != self.term:
            return
        self._commit_to(index)
        if self.server_id not in self.voters and not self.change_pending:
            self._become_follower(now, self.term)  # we led our own removal to its end
            return
        if self.options.commit_delay:
            leadership.tell_commit_at = min(
                leadership.tell_commit_at, now + self.options.commit_delay
            )
        else:
            self._tell_commit(leadership)

    def _tell_commit(self, leadership: Leadership) -> None:
        """Send the commit index where no request has carried it along."""
        leadership.tell_commit_at = NEVER
        self._messages.extend(
            leadership.heartbeat_to(peer, self.commit) for peer in leadership.untold(self.commit)
        )

    def _continue_transfer(self, leadership: Leadership) -> None:
        transfer = leadership.transfer
        if transfer is None or transfer.told:
            return
        progress = leadership.progress.get(transfer.to)
        if progress is not None and progress.match == self.log.last_index:
            transfer.told = True
            self._messages.append(TimeoutNow(self.term, self.server_id, transfer.to))

    def _check_configurations(self, proposals: Sequence[Proposal]) -> None:
        changes = [configuration for _, configuration in proposals if configuration is not None]
        if not changes:
            return
        if len(changes) > 1 or self.change_pending:
            raise ChangePending
        if self.leadership is not None and self.commit < self.leadership.term_start:
            raise ChangePending
        if not quorum.differ_by_one(self.configuration.voters, changes[0].voters):
            raise UnsafeChange
