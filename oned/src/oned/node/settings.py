"""What a node is told when it is made, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from oned.raft.timing import Options
from oned.raft.types import ServerId, Term


@dataclass(slots=True)
class Settings:
    """What the node needs of oned.conf, in seconds."""

    options: Options
    log_retention: int
    limit_purge: int
    purge_interval: float
    solo: bool
    fixed_id: ServerId | None
    name: str


@dataclass(slots=True)
class Observers:
    """Who wants to know: hooks of role changes, metrics of writes, commits and elections.

    ``sync`` is told in the database's thread how long the disk took.
    """

    leading: Callable[[Term], None] = lambda _term: None
    following: Callable[[Term], None] = lambda _term: None
    batch: Callable[[int, float], None] = lambda _entries, _seconds: None
    commit: Callable[[float], None] = lambda _seconds: None
    sync: Callable[[float], None] = lambda _seconds: None
    election: Callable[[str, float | None], None] = lambda _outcome, _seconds: None
    snapshot: Callable[[str, str], None] = lambda _direction, _outcome: None
