"""A server's database between two transactions, and what no transaction may do to it."""

from __future__ import annotations

from typing import NamedTuple

from oned.raft.types import NO_SERVER, Configuration, Entry, HardState, Index, Term
from oned.raft.writes import Write


class Violation(Exception):
    """A promise of Raft does not hold."""


class Disk(NamedTuple):
    """What a crash leaves.

    Attributes:
        log: the entries behind ``base``, without gaps.
        tables: the entries that were applied, in order: they stand for the tables.
    """

    hard_state: HardState
    base: tuple[Index, Term]
    base_configuration: Configuration
    log: tuple[Entry, ...]
    applied: Index
    tables: tuple[Entry, ...]
    initialised: bool = True

    @property
    def last(self) -> tuple[Index, Term]:
        return (self.log[-1].index, self.log[-1].term) if self.log else self.base

    def entry(self, index: int) -> Entry:
        assert self.base[0] < index <= self.last[0], f"entry {index} is not on disk"
        return self.log[index - self.base[0] - 1]

    def configurations(self) -> list[tuple[Index, Configuration]]:
        """As ``oned.storage`` gives them to a log: the base's, and those behind it."""
        logged = [(e.index, e.configuration) for e in self.log if e.configuration is not None]
        return [(self.base[0], self.base_configuration), *logged]

    def after(self, write: Write) -> Disk:
        """This disk after a transaction.

        Raises:
            Violation: it forgets a term, a vote, or what is applied, or leaves a gap.
        """
        before, after = self.hard_state, write.hard_state or self.hard_state
        if after.term < before.term:
            raise Violation(f"the disk goes from term {before.term} back to {after.term}")
        if after.term == before.term and before.voted_for not in (NO_SERVER, after.voted_for):
            raise Violation(
                f"two votes in term {after.term}: s{before.voted_for}, then s{after.voted_for}"
            )
        log = self.log
        if write.truncate_from is not None:
            if write.truncate_from <= self.applied:
                raise Violation(f"applied entry {write.truncate_from} is removed from the disk")
            log = log[: write.truncate_from - self.base[0] - 1]
        log = (*log, *write.entries)
        if any(entry.index != self.base[0] + 1 + at for at, entry in enumerate(log)):
            raise Violation(f"the log on disk has a gap: {[e.index for e in log]}")
        applied = Index(max(self.applied, write.apply_to))
        if applied > self.base[0] + len(log):
            raise Violation(f"entry {applied} is applied, and not on disk")
        tables = (*self.tables, *(log[i - self.base[0]] for i in range(self.applied, applied)))
        return self._replace(hard_state=after, log=log, applied=applied, tables=tables)

    def purged(self) -> Disk:
        """This disk without the log records that are applied."""
        term = self.entry(self.applied).term
        configuration = [c for index, c in self.configurations() if index <= self.applied][-1]
        return self._replace(
            base=(self.applied, term),
            base_configuration=configuration,
            log=self.log[self.applied - self.base[0] :],
        )
