"""All mutants, in the order in which they are tried."""

from __future__ import annotations

from proof.mutants.faults import (
    commit,
    elections,
    membership,
    outcomes,
    reads,
    replication,
    snapshots,
    storage,
    timers,
)
from proof.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *elections.MUTANTS,
    *commit.MUTANTS,
    *replication.MUTANTS,
    *storage.MUTANTS,
    *snapshots.MUTANTS,
    *membership.MUTANTS,
    *reads.MUTANTS,
    *outcomes.MUTANTS,
    *timers.MUTANTS,
)


def named(name: str) -> Mutant:
    """The mutant with this name.

    Raises:
        KeyError: there is none.
    """
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise KeyError(name)
