"""Who waits for the outcome of a change or for the right to read, and how each is told.

A change that stands in the log of a leadership that was lost is not decided yet. The zone
decides it before long, and this server sees how: its entry is applied after all, or another
one has its place in the log, and then it never will be.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from oned.errors import Busy, NotLeader, OutcomeUnknown, ProposalError, Rejected
from oned.raft.leadership import Leadership
from oned.raft.reads import Reads
from oned.raft.types import Configuration, Index, Term

MAX_PROPOSALS = 4096
"""Proposals that may wait, queued or in flight; beyond that callers are told to try again."""


MAX_READS = 4096
"""Reads that may wait for a proof; beyond that callers are told to try again."""


FATE_SECONDS = 3.0
"""How long a caller waits to see what becomes of a change after leadership was lost.

An election takes less, and clients wait longer; beyond that the outcome is unknown.
"""


@dataclass(slots=True)
class Proposal:
    """A change that somebody waits for; refused when another term than ``term`` has begun."""

    data: bytes
    configuration: Configuration | None
    term: Term
    done: asyncio.Future[None]
    since: float

    def refuse(self, error: ProposalError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def tell(self, refusal: Rejected | None) -> None:
        """It is applied, unless the tables refused it."""
        if refusal is not None:
            self.refuse(refusal)
        elif not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class _Read:
    """A read that waits until a quorum has answered ``round`` and ``index`` is applied."""

    round: int
    index: Index
    done: asyncio.Future[None]


@dataclass(slots=True)
class _IndexRead:
    """A read on a follower, with the ticket of its question (``oned.raft.reads``)."""

    ticket: int
    done: asyncio.Future[None]


class Callers:
    """The queue of proposals, those in the log, those undecided, and the reads that wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Proposal] = deque()
        self._in_flight: dict[Index, Proposal] = {}
        self._undecided: dict[Index, list[Proposal]] = {}
        self._reads: list[_Read] = []
        self._index_reads: list[_IndexRead] = []

    def propose(
        self, data: bytes, configuration: Configuration | None, term: Term
    ) -> asyncio.Future[None]:
        """Queue a change; its future tells the outcome.

        Raises:
            Busy: too many wait.
        """
        if len(self._queue) + len(self._in_flight) + len(self._undecided) >= MAX_PROPOSALS:
            raise Busy("too many changes wait already, try again")
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(Proposal(data, configuration, term, done, time.monotonic()))
        return done

    def read(self, number: int, index: Index) -> asyncio.Future[None]:
        """Wait for a round and an index; the future fails when leadership is lost.

        Raises:
            Busy: too many wait.
        """
        done = self._new_read()
        self._reads.append(_Read(number, index, done))
        return done

    def index_read(self, ticket: int) -> asyncio.Future[None]:
        """Wait for the leader's answer and for the tables; the future fails when none comes.

        Raises:
            Busy: too many wait.
        """
        done = self._new_read()
        self._index_reads.append(_IndexRead(ticket, done))
        return done

    def _new_read(self) -> asyncio.Future[None]:
        if len(self._reads) + len(self._index_reads) >= MAX_READS:
            raise Busy("too many reads wait already, try again")
        return self._loop.create_future()

    def batches(self, term: Term) -> list[list[Proposal]]:
        """All that queued up; a change of membership stands alone, so that it fails alone."""
        batches: list[list[Proposal]] = []
        open_batch = False
        while self._queue:
            proposal = self._queue.popleft()
            if proposal.term != term:
                proposal.refuse(NotLeader("another term has begun"))
            elif open_batch and proposal.configuration is None:
                batches[-1].append(proposal)
            else:
                batches.append([proposal])
                open_batch = proposal.configuration is None
        return batches

    def appended(self, first: Index, batch: list[Proposal]) -> None:
        """A batch stands in the log from ``first`` on."""
        for offset, proposal in enumerate(batch):
            self._in_flight[Index(first + offset)] = proposal

    def applied(
        self,
        first: Index,
        last: Index,
        rejected: dict[Index, Rejected],
        commit: Callable[[float], None],
        term_at: Callable[[Index], Term | None],
    ) -> None:
        """Entries have been applied here; ``commit`` is told how long each of ours took.

        ``term_at`` tells the term of an applied entry, while it is in the log.
        """
        if self._undecided:
            self._decide(first, last, rejected, term_at)
        now = time.monotonic()
        for number in range(first, last + 1):
            proposal = self._in_flight.pop(Index(number), None)
            if proposal is None:
                continue
            commit(now - proposal.since)
            proposal.tell(rejected.get(Index(number)))

    def _decide(
        self,
        first: Index,
        last: Index,
        rejected: dict[Index, Rejected],
        term_at: Callable[[Index], Term | None],
    ) -> None:
        """See what became of changes in the log of a leadership that was lost.

        An entry is what its index and its term say. One of another term at its index that is
        applied was committed, so that ours never will be.
        """
        for index in [i for i in self._undecided if first <= i <= last]:
            term = term_at(index)
            for proposal in self._undecided.pop(index):
                if term == proposal.term:
                    proposal.tell(rejected.get(index))
                elif term is None:
                    proposal.refuse(OutcomeUnknown("leadership was lost, and the log purged"))
                else:
                    proposal.refuse(NotLeader("leadership was lost before this was made"))

    def release_reads(self, leadership: Leadership | None, applied: Index) -> None:
        """Let go of the reads that may be answered now, and of those that never will."""
        if not self._reads:
            return
        waiting, self._reads = self._reads, []
        for read in waiting:
            if read.done.done():
                continue
            if leadership is None:
                read.done.set_exception(NotLeader("leadership was lost"))
            elif leadership.quorum_round >= read.round and applied >= read.index:
                read.done.set_result(None)
            else:
                self._reads.append(read)

    def release_index_reads(self, reads: Reads) -> None:
        """The same for reads on a follower."""
        if not self._index_reads:
            return
        waiting, self._index_reads = self._index_reads, []
        for read in waiting:
            if read.done.done():
                continue
            match reads.outcome(read.ticket):
                case True:
                    read.done.set_result(None)
                case False:
                    read.done.set_exception(NotLeader("no leader confirms what is true now"))
                case None:
                    self._index_reads.append(read)

    def fail_reads(self) -> None:
        """What the reads waited for is no more."""
        reads: list[_Read | _IndexRead] = [*self._reads, *self._index_reads]
        self._reads, self._index_reads = [], []
        for read in reads:
            if not read.done.done():
                read.done.set_exception(NotLeader("this server's part in the zone has changed"))

    def fail(self, in_flight: ProposalError) -> None:
        """An office ended: what is not in the log was not made, the rest is undecided.

        Who does not see in time what becomes of it gets the error ``in_flight``.
        """
        self.fail_reads()
        undecided, self._in_flight = self._in_flight, {}
        for index, proposal in undecided.items():
            self._undecided.setdefault(index, []).append(proposal)
        if undecided:
            self._loop.call_later(FATE_SECONDS, self._expire, list(undecided.values()), in_flight)
        while self._queue:
            self._queue.popleft().refuse(NotLeader("this server does not lead"))

    def give_up(self, in_flight: ProposalError) -> None:
        """Nothing will be seen from here any more: an end, or a database that failed."""
        self.fail(in_flight)
        self._expire([p for waiting in self._undecided.values() for p in waiting], in_flight)

    def _expire(self, undecided: list[Proposal], in_flight: ProposalError) -> None:
        for proposal in undecided:
            proposal.refuse(in_flight)
        self._undecided = {
            index: left
            for index, waiting in self._undecided.items()
            if (left := [p for p in waiting if not p.done.done()])
        }
