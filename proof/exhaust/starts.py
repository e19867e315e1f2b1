"""States to start from. Each can be reached; the page says how."""

from __future__ import annotations

from collections.abc import Callable

from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Entry,
    HardState,
    Index,
    Member,
    ServerId,
    Term,
)
from proof.exhaust.disk import Disk

BASE = (Index(1), Term(0))
"""The bootstrap: entry 1 is in every database."""
FIRST = BASE[0] + 1


def _members(servers: int) -> Configuration:
    return Configuration(
        tuple(Member(ServerId(server), "", "", "", voter=True) for server in range(servers))
    )


def _disk(configuration: Configuration, *terms: int, term: int = 0, voted_for: int = -1) -> Disk:
    return Disk(
        hard_state=HardState(Term(term), ServerId(voted_for)),
        base=BASE,
        base_configuration=configuration,
        log=tuple(Entry(Index(FIRST + at), Term(of)) for at, of in enumerate(terms)),
        applied=BASE[0],
        tables=(),
    )


def new(servers: int) -> list[Disk]:
    """A zone that has just been made: no term, no entry."""
    return [_disk(_members(servers))] * servers


def diverged(servers: int) -> list[Disk]:
    """The paper's figure 8 (b), all restarted: s0 led term 1, s1 term 2, alone with their entries.

    All have heard of term 2: s1 asked s0 too, which refused its vote.
    """
    configuration = _members(servers)
    return [
        _disk(configuration, 1, term=2),
        _disk(configuration, 2, term=2, voted_for=1),
        *[_disk(configuration, term=2, voted_for=1)] * (servers - 2),
    ]


def joining(servers: int) -> list[Disk]:
    """All but the last server make the zone; the last has an empty database."""
    configuration = _members(servers - 1)
    empty = Disk(
        hard_state=HardState(Term(0), NO_SERVER),
        base=(Index(0), Term(0)),
        base_configuration=Configuration(),
        log=(),
        applied=Index(0),
        tables=(),
        initialised=False,
    )
    return [*[_disk(configuration)] * (servers - 1), empty]


STARTS: dict[str, Callable[[int], list[Disk]]] = {
    "new": new,
    "diverged": diverged,
    "joining": joining,
}
