"""The Lease that says which of several operators is at work, as facts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEASE_SECONDS", "LeaseFacts"]

LEASE_SECONDS = 15.0
"""A Lease that was not written for so long may be taken."""


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """The Lease as it was read.

    Attributes:
        holder: who holds it; empty when it was given back.
        seconds: for how long, as the holder said.
        version: of the object: another one is another renewal.
        transitions: how often the holder changed.
    """

    holder: str
    seconds: float
    version: str
    transitions: int = 0
