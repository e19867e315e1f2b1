"""What of a server's state is on its disk, on the way there, and still to go.

A server acts on its log and its term at once, and speaks for them when they are durable. One
transaction is under way at a time; what comes meanwhile goes with the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from oned.raft.log import Log
from oned.raft.messages import Message
from oned.raft.types import Entry, HardState, Index

_ANY_SIZE = 1 << 62


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


class Writes:
    """The transactions of one server.

    Attributes:
        durable: the last entry that is on the disk, and not cut since.
        messages: what the next transaction makes true: votes and acknowledgements.
    """

    def __init__(self, hard_state: HardState, last_index: Index) -> None:
        self.durable = last_index
        self.messages: list[Message] = []
        self._stored_hard_state = self._durable_hard_state = hard_state
        self._handed_out = last_index
        self._under_way: Index | None = None
        self._truncate_from: Index | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a transaction was handed out that has not ended."""
        return self._under_way is not None

    def is_durable(self, hard_state: HardState) -> bool:
        """Whether the disk has this term and vote."""
        return self._durable_hard_state == hard_state

    def take(
        self, log: Log, hard_state: HardState, *, commit: Index, applied: Index
    ) -> Write | None:
        """The next transaction, or None when there is nothing to write, apply or send."""
        assert self._under_way is None, "one write at a time"
        entries: tuple[Entry, ...] = ()
        if self._handed_out < log.last_index:
            found = log.slice(
                Index(self._handed_out + 1), log.last_index - self._handed_out, _ANY_SIZE
            )
            assert found is not None
            entries = tuple(found)
        changed = hard_state != self._stored_hard_state
        nothing = not (changed or entries or self.messages or commit > applied)
        if nothing and self._truncate_from is None:
            return None
        write = Write(
            hard_state=hard_state if changed else None,
            truncate_from=self._truncate_from,
            entries=entries,
            apply_to=commit,
            messages=tuple(self.messages),
        )
        self._stored_hard_state = hard_state
        self._truncate_from = None
        self.messages = []
        self._handed_out = self._under_way = log.last_index
        return write

    def ended(self, write: Write, last_index: Index) -> None:
        """The transaction is durable; the log ends at ``last_index`` by now."""
        assert self._under_way is not None
        # Entries that were truncated while the write was under way are not ours any more.
        self.durable = max(min(self.durable, last_index), self._under_way)
        self._under_way = None
        if write.hard_state is not None:
            self._durable_hard_state = write.hard_state

    def cut(self, first: Index) -> None:
        """The log has lost its entries from ``first`` on: so must the disk, what it has of them."""
        kept = Index(first - 1)
        if first <= self._handed_out:
            cut = first if self._truncate_from is None else min(first, self._truncate_from)
            self._truncate_from = cut
        self._handed_out = min(self._handed_out, kept)
        self.durable = min(self.durable, kept)
        if self._under_way is not None:
            self._under_way = min(self._under_way, kept)

    def replaced(self, index: Index, *, log_agrees: bool) -> None:
        """A snapshot that ends at ``index`` is durable; the log went unless it agrees with it."""
        if not log_agrees:
            self._handed_out = Index(0)
        if self._handed_out < index:
            # What was stored did not reach so far, or parted before: the snapshot is all there is.
            self.durable = self._handed_out = index
            self._truncate_from = None
