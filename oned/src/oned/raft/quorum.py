"""Majorities: pure functions of sets and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from oned.raft.types import ServerId

Comparable = TypeVar("Comparable", int, float)


def majority(voters: int) -> int:
    """How many of ``voters`` make a quorum; of none, one that can never be reached."""
    return voters // 2 + 1


def is_quorum(granted: Iterable[ServerId], voters: frozenset[ServerId]) -> bool:
    """Whether ``granted`` contains a majority of ``voters``."""
    return len(voters.intersection(granted)) >= majority(len(voters))


def reached(values: Mapping[ServerId, Comparable], voters: frozenset[ServerId]) -> Comparable:
    """The largest value that a majority of voters has reached; who is missing counts as 0.

    Over matched log indexes this is the highest index on a quorum; over times of last
    contact it is the latest moment at which a quorum had been heard.
    """
    ordered = sorted((values.get(voter, 0) for voter in voters), reverse=True)
    needed = majority(len(voters))
    return ordered[needed - 1] if len(ordered) >= needed else 0


def differ_by_one(before: frozenset[ServerId], after: frozenset[ServerId]) -> bool:
    """Whether at most one voter was added or removed: then any two majorities overlap."""
    return len(before.symmetric_difference(after)) <= 1
