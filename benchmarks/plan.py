"""How much is done, and what a workload hands back."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks.tables import Table


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often; ``FULL`` is what a published table needs.

    Attributes:
        clients: how many clients write at once, one row each.
        seconds: for which one row is measured.
        warm_up: seconds before that.
        kills: leaders of oned killed with SIGKILL, and of each peer.
        stops: leaders of oned stopped with SIGTERM, and of each peer.
        lags: entries that a follower is behind.
        state_bytes: what a snapshot has to carry.
        idle: seconds for which an idle zone is watched.
        applied: entries proposed in one process.
    """

    clients: tuple[int, ...] = (1, 16, 64, 256)
    seconds: float = 5.0
    warm_up: float = 1.5
    kills: tuple[int, int] = (100, 10)
    stops: tuple[int, int] = (20, 5)
    lags: tuple[int, ...] = (10_000, 100_000)
    state_bytes: int = 1 << 30
    idle: float = 20.0
    applied: int = 100_000


FULL = Plan()
QUICK = Plan(
    clients=(1, 64),
    seconds=2.0,
    warm_up=0.5,
    kills=(5, 2),
    stops=(3, 2),
    lags=(10_000,),
    state_bytes=64 << 20,
    idle=5.0,
    applied=20_000,
)


@dataclass(slots=True)
class Results:
    """Tables to print, and the values that targets are about, in their units, by name."""

    tables: list[Table] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)

    def __iadd__(self, other: Results) -> Self:
        self.tables += other.tables
        self.values |= other.values
        return self


def lacking(absent: Mapping[Any, str], measured: Container[Any]) -> list[tuple[Any, str]]:
    """The systems that a table has no numbers of, with the reason."""
    return [(system, reason) for system, reason in absent.items() if system not in measured]
