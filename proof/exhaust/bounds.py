"""How small the zone is: what may happen how often, and where a search starts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

UNCOUNTED = -1
"""A budget that never runs out."""


_SINGULAR = {"entries": "entry", "crashes": "crash"}


class Cost(IntEnum):
    """What an event uses up; the position in a state's budgets."""

    ELECTIONS = 0
    ENTRIES = 1
    CRASHES = 2
    DUPLICATES = 3
    HEARTBEATS = 4
    TRANSFERS = 5
    BREAKS = 6
    CHANGES = 7
    PURGES = 8
    FREE = 9


@dataclass(frozen=True, slots=True)
class Bounds:
    """One complete search: how often each thing may happen, on the way to any state.

    Attributes:
        elections: election timers that run out; each raises the highest term by one at most.
        entries: proposals of clients.
        crashes: crashes, each followed by a restart.
        duplicates: messages that arrive once more than they were sent.
        heartbeats: heartbeats by the leader's timer.
        transfers: hand-overs of leadership.
        breaks: connections that a leader sees break.
        changes: proposed changes of membership.
        purges: compactions of a log to what is applied.
        messages: messages in flight at once, of those that will ever arrive.
        start: the state to start from, a key of ``space.STARTS``.
        batches: whether inputs may share a write, as in the driver's loop.
    """

    name: str = "zone"
    servers: int = 3
    elections: int = 2
    entries: int = 2
    crashes: int = 1
    duplicates: int = 0
    heartbeats: int = 0
    transfers: int = 0
    breaks: int = 0
    changes: int = 0
    purges: int = 0
    messages: int = 1
    start: str = "new"
    batches: bool = False

    @property
    def budgets(self) -> tuple[int, ...]:
        return tuple(getattr(self, cost.name.lower()) for cost in Cost if cost is not Cost.FREE)

    @property
    def snapshots(self) -> bool:
        """Whether any server may ever need a snapshot."""
        return bool(self.purges or self.changes or self.start == "joining")

    def told(self) -> str:
        """The bounds that are not nought, in words."""
        parts = [f"{self.servers} servers"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("name", "servers", "start", "batches", "messages") or not value:
                continue
            word = field.name if value != 1 else _SINGULAR.get(field.name, field.name[:-1])
            parts.append(f"any {word}" if value == UNCOUNTED else f"{value} {word}")
        parts.append(f"<= {self.messages} messages in flight")
        if self.start != "new":
            parts.append(f"start {self.start}")
        if self.batches:
            parts.append("inputs share writes")
        return ", ".join(parts)
