"""Which of several operators is at work: what one of them does about the Lease.

No clock of another machine is trusted. An operator measures, with its own monotonic clock, for how
long the Lease that it sees has not been written; the holder measures for how long it has not
managed to write it, and gives up well before anybody else may take over:

    last renewal ──── RENEW_DEADLINE: the holder writes nothing more ──── LEASE: others may take it
"""

from __future__ import annotations

from dataclasses import dataclass

from onezone_operator.models.lease import LEASE_SECONDS, LeaseFacts

__all__ = [
    "RENEW_DEADLINE_SECONDS",
    "RENEW_SECONDS",
    "RETRY_SECONDS",
    "Acquire",
    "Intent",
    "Renew",
    "Stand",
    "decide",
    "may_write",
]

RENEW_DEADLINE_SECONDS = 10.0
"""A holder that could not renew for so long stops. The difference to ``LEASE_SECONDS`` is what a
call that is under way then may still take."""
RENEW_SECONDS = 5.0
"""Between two renewals."""
RETRY_SECONDS = 2.0
"""Between two looks at a Lease that somebody else holds, and two attempts to renew."""


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the Lease, if it still is what was read."""

    transitions: int


@dataclass(frozen=True, slots=True)
class Renew:
    """Write the Lease again."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Stand by, and look again after this time or when the Lease changes."""

    seconds: float


Intent = Acquire | Renew | Stand


def decide(lease: LeaseFacts | None, *, me: str, unchanged_seconds: float) -> Intent:
    """What to do.

    Args:
        lease: as it was read, None if there is none.
        me: the identity of this process, which no other process ever had.
        unchanged_seconds: how long ago this process first saw this version of it.
    """
    if lease is None:
        return Acquire(0)
    if lease.holder == me:
        return Renew()
    if not lease.holder:
        return Acquire(lease.transitions + 1)
    # A holder of another version of the operator may have promised to renew less often.
    left = max(lease.seconds, LEASE_SECONDS) - unchanged_seconds
    if left <= 0:
        return Acquire(lease.transitions + 1)
    return Stand(min(left, RETRY_SECONDS))


def may_write(*, renewed_before_seconds: float | None) -> bool:
    """Whether a holder may still write.

    Args:
        renewed_before_seconds: since it *sent* the last renewal that succeeded, None if it holds
            no Lease.
    """
    return renewed_before_seconds is not None and renewed_before_seconds < RENEW_DEADLINE_SECONDS
