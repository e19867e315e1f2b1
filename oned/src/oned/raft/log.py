"""The log as the core sees it: a tail in memory, older entries through a reader.

1 … base │ base+1 … tail-1 │ tail … last
compacted │ in storage only │ in memory (and in storage, once written)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from oned.raft.types import Configuration, Entry, Index, Term

TAIL_ENTRIES = 8192
"""Entries kept in memory at most, once they are applied: what a short absence needs."""

TAIL_BYTES = 32 << 20
"""The same in bytes of their data."""

_SLACK = 8
"""One part in so many is forgotten at a time: each time costs as much as what is kept."""

HINT_STEPS = 1024
"""How far one refusal looks back for a common entry; a longer search takes more refusals."""


class LogReader(Protocol):
    """Entries that are no longer in memory."""

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        """Entries from ``first`` to ``last`` at most, at least one, fewer when they get large."""
        ...

    def term_at(self, index: Index) -> Term:
        """The term of one stored entry."""
        ...


class Log:
    """Entries after a compaction point, and the configurations among them.

    Attributes:
        base_index: the last compacted index; its entry is gone, its term is known.
        base_term: the term of that entry.
    """

    def __init__(
        self,
        reader: LogReader,
        *,
        base_index: Index,
        base_term: Term,
        last_index: Index,
        last_term: Term,
        configurations: Sequence[tuple[Index, Configuration]],
    ) -> None:
        self._reader = reader
        self.base_index = base_index
        self.base_term = base_term
        self._tail_from = Index(last_index + 1)
        self._tail: list[Entry] = []
        self._tail_bytes = 0
        self._last_before_tail = (last_index, last_term)
        # The newest configuration at or before the base comes first; never empty.
        self._configurations = list(configurations) or [(Index(0), Configuration())]

    @property
    def last_index(self) -> Index:
        return self._tail[-1].index if self._tail else self._last_before_tail[0]

    @property
    def last_term(self) -> Term:
        return self._tail[-1].term if self._tail else self._last_before_tail[1]

    @property
    def configuration(self) -> Configuration:
        """The newest configuration, committed or not: the one in force."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> Index:
        return self._configurations[-1][0]

    def configuration_at(self, index: Index) -> Configuration:
        """The configuration that was in force at ``index``."""
        for at, configuration in reversed(self._configurations):
            if at <= index:
                return configuration
        return self._configurations[0][1]

    def term_at(self, index: Index) -> Term | None:
        """The term of an entry, or None when it is compacted or not there yet."""
        if index == self.base_index:
            return self.base_term
        if index < self.base_index or index > self.last_index:
            return None
        if index >= self._tail_from:
            return self._tail[index - self._tail_from].term
        if index == self._last_before_tail[0]:
            return self._last_before_tail[1]
        return self._reader.term_at(index)

    def is_newer_than(self, last_index: Index, last_term: Term) -> bool:
        """Whether this log is more up to date than one that ends so (paper, 5.4.1)."""
        return (self.last_term, self.last_index) > (last_term, last_index)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one."""
        if not entries:
            return
        assert entries[0].index == self.last_index + 1, (entries[0].index, self.last_index)
        self._tail.extend(entries)
        self._tail_bytes += _bytes(entries)
        self._configurations.extend(
            (entry.index, entry.configuration)
            for entry in entries
            if entry.configuration is not None
        )

    def truncate(self, first: Index) -> None:
        """Remove the entries from ``first`` on; the caller made sure that none is committed."""
        assert first > self.base_index, (first, self.base_index)
        if first >= self._tail_from:
            self._tail_bytes -= _bytes(self._tail[first - self._tail_from :])
            del self._tail[first - self._tail_from :]
        else:
            before = Index(first - 1)
            term = self.term_at(before)
            assert term is not None
            self._tail, self._tail_bytes = [], 0
            self._tail_from = first
            self._last_before_tail = (before, term)
        while len(self._configurations) > 1 and self._configurations[-1][0] >= first:
            self._configurations.pop()

    def slice(self, first: Index, limit: int, max_bytes: int) -> Sequence[Entry] | None:
        """Up to ``limit`` entries from ``first`` on; None when ``first`` is compacted."""
        if first <= self.base_index:
            return None
        last = Index(min(self.last_index, first + limit - 1))
        if last < first:
            return ()
        if first < self._tail_from:
            return self._reader.entries(first, Index(min(last, self._tail_from - 1)), max_bytes)
        entries = self._tail[first - self._tail_from : last - self._tail_from + 1]
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > max_bytes and count:
                return entries[:count]
        return entries

    def hint(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last entry at or before ``index`` whose term is at most ``term``.

        A follower answers a refused append with it, and the leader looks on from there:
        one refusal skips a whole term of diverged entries.
        """
        at = Index(min(index, self.last_index))
        for _ in range(HINT_STEPS):
            found = self.term_at(at)
            if found is None:
                return Index(0), Term(0)
            if found <= term:
                break
            at = Index(at - 1)
        return at, self.term_at(at) or Term(0)

    def forget(self, applied: Index) -> None:
        """Keep no more applied entries in memory than the tail allows."""
        too_many = len(self._tail) >= TAIL_ENTRIES + TAIL_ENTRIES // _SLACK
        if not too_many and self._tail_bytes < TAIL_BYTES + TAIL_BYTES // _SLACK:
            return
        size, excess = self._tail_bytes, 0
        for entry in self._tail[: max(0, applied - self._tail_from)]:
            if size <= TAIL_BYTES and len(self._tail) - excess <= TAIL_ENTRIES:
                break
            size -= len(entry.data)
            excess += 1
        if excess:
            self._drop(excess)

    def _drop(self, count: int) -> None:
        """Remove the oldest entries from memory."""
        last = self._tail[count - 1]
        self._tail_bytes -= _bytes(self._tail[:count])
        del self._tail[:count]
        self._tail_from = Index(last.index + 1)
        self._last_before_tail = (last.index, last.term)

    def compact(self, index: Index, term: Term) -> None:
        """Entries up to ``index`` have been purged from storage."""
        assert self.base_index <= index <= self.last_index
        self.base_index, self.base_term = index, term
        kept = [pair for pair in self._configurations if pair[0] > index]
        self._configurations = [(index, self.configuration_at(index)), *kept]
        if index >= self._tail_from:
            self._drop(index - self._tail_from + 1)
        if not self._tail and self._last_before_tail[0] <= index:
            self._last_before_tail = (index, term)

    def reset(self, index: Index, term: Term, configuration: Configuration) -> None:
        """A snapshot has taken the place of everything."""
        self.base_index, self.base_term = index, term
        self._tail, self._tail_bytes, self._tail_from = [], 0, Index(index + 1)
        self._last_before_tail = (index, term)
        self._configurations = [(index, configuration)]


def _bytes(entries: Sequence[Entry]) -> int:
    """What entries take, but for a constant each."""
    return sum([len(entry.data) for entry in entries])
