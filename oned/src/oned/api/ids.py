"""Ids for new objects, counted in memory while this server leads."""

from __future__ import annotations

from oned.api.responses import internal
from oned.errors import NotLeader
from oned.raft.types import Term
from oned.state import counters
from oned.state.entry import Reader, Statement


class Ids:
    """Next ids by table, for one term.

    A serving leader has applied everything of former terms, so that the stored counter is the
    last id given before it; within its term it counts in memory. An id whose change fails is
    not given again in the term.
    """

    def __init__(self) -> None:
        self._term = Term(-1)
        self._last: dict[str, int] = {}

    def next(self, table: str, *, reader: Reader, term: Term) -> tuple[int, Statement]:
        """A new id and the statement that records it; both belong into one change.

        Raises:
            NotLeader: a later term has begun; the change could not be made any more.
            Failure: there is no id left.
        """
        if term < self._term:
            raise NotLeader("this server was leader anew since the call began")
        if term > self._term:
            self._term = term
            self._last = {}
        last = self._last.get(table)
        if last is None:
            last = counters.last_oid(reader, table)
        if last >= counters.OID_MAX:
            raise internal("No id is left for a new object")
        oid = last + 1
        self._last[table] = oid
        return oid, counters.raise_to(table, oid)
