"""A leader's view of one other server's log."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from oned.raft.types import Index

WINDOW = 16
"""Append requests with entries that may be in flight to one server."""


class Flow(Enum):
    """How entries are sent to a server."""

    PROBE = "probe"
    """One request at a time, until the common entry is found."""

    REPLICATE = "replicate"
    """Requests follow each other without waiting, up to the window."""

    SNAPSHOT = "snapshot"
    """What it needs is compacted: heartbeats only, until a snapshot has arrived."""


@dataclass(slots=True)
class Progress:
    """What one server has, and what was sent to it.

    Attributes:
        next: the index that is sent next.
        match: the last index known to be durable there and equal to ours.
        last_reply: when it last answered in this term; None before it has.
        round: the last heartbeat round that it has answered.
        told_commit: the commit index in the last request that was sent.
        asks: the question that it put last along the way, see ``oned.raft.reads``.
        answers: the newest of its questions that our commit index answers.
    """

    next: Index
    match: Index = Index(0)
    flow: Flow = Flow.PROBE
    last_reply: float | None = None
    round: int = 0
    probing: bool = False
    inflight: deque[Index] = field(default_factory=deque)
    told_commit: Index = Index(0)
    asks: int = 0
    answers: int = 0

    @property
    def can_send(self) -> bool:
        """Whether a request with entries may go out now."""
        if self.flow is Flow.PROBE:
            return not self.probing
        return self.flow is Flow.REPLICATE and len(self.inflight) < WINDOW

    def sent(self, last: Index) -> None:
        """Entries up to ``last`` have gone out."""
        if self.flow is Flow.PROBE:
            self.probing = True
        elif last >= self.next:
            self.inflight.append(last)
            self.next = Index(last + 1)

    def succeeded(self, match: Index) -> None:
        """The server has everything up to ``match``."""
        self.match = max(self.match, match)
        self.next = max(self.next, Index(self.match + 1))
        while self.inflight and self.inflight[0] <= match:
            self.inflight.popleft()
        if self.flow is Flow.PROBE:
            self.flow, self.probing = Flow.REPLICATE, False

    def refused(self, rejected: Index, common: Index) -> bool:
        """The server did not have ``rejected``; look for agreement at ``common``.

        Returns:
            False when the refusal is an old one and says nothing new.
        """
        if self.flow is Flow.SNAPSHOT or rejected <= self.match:
            return False
        if self.flow is Flow.PROBE and rejected != self.next - 1:
            return False
        self.probe_from(Index(max(min(rejected, common + 1), self.match + 1)))
        return True

    def probe_from(self, index: Index) -> None:
        """Forget what is in flight and feel the way from ``index``."""
        self.flow, self.probing, self.next = Flow.PROBE, False, index
        self.inflight.clear()

    def needs_snapshot(self) -> None:
        self.flow, self.probing = Flow.SNAPSHOT, False
        self.inflight.clear()
