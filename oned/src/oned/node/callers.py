"""Who waits for the outcome of a change or for the right to read, and how each is told."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from oned.errors import Busy, NotLeader, ProposalError, Rejected
from oned.raft.leadership import Leadership
from oned.raft.types import Configuration, Index, Term

MAX_PROPOSALS = 4096
"""Proposals that may wait, queued or in flight; beyond that callers are told to try again."""


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


@dataclass(slots=True)
class _Read:
    """A read that waits until a quorum has answered ``round`` and ``index`` is applied."""

    round: int
    index: Index
    done: asyncio.Future[None]


class Callers:
    """The queue of proposals, those in the log, and the reads that wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Proposal] = deque()
        self._in_flight: dict[Index, Proposal] = {}
        self._reads: list[_Read] = []

    def propose(
        self, data: bytes, configuration: Configuration | None, term: Term
    ) -> asyncio.Future[None]:
        """Queue a change; its future tells the outcome.

        Raises:
            Busy: too many wait.
        """
        if len(self._queue) + len(self._in_flight) >= MAX_PROPOSALS:
            raise Busy("too many changes wait already, try again")
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(Proposal(data, configuration, term, done, time.monotonic()))
        return done

    def read(self, number: int, index: Index) -> asyncio.Future[None]:
        """Wait for a round and an index; the future fails when leadership is lost."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._reads.append(_Read(number, index, done))
        return done

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
    ) -> None:
        """Entries have been applied here; ``commit`` is told how long each of ours took."""
        now = time.monotonic()
        for number in range(first, last + 1):
            proposal = self._in_flight.pop(Index(number), None)
            if proposal is None:
                continue
            commit(now - proposal.since)
            refusal = rejected.get(Index(number))
            if refusal is not None:
                proposal.refuse(refusal)
            elif not proposal.done.done():
                proposal.done.set_result(None)

    def release_reads(self, leadership: Leadership | None, applied: Index) -> None:
        """Let go of the reads that may be answered now, and of those that never will."""
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

    def fail(self, in_flight: ProposalError) -> None:
        """An office ended: what is in the log gets this error, what is not was not made."""
        waiting, self._in_flight = self._in_flight, {}
        for proposal in waiting.values():
            proposal.refuse(in_flight)
        while self._queue:
            self._queue.popleft().refuse(NotLeader("this server does not lead"))
