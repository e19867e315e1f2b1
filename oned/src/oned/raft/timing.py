"""Times of the core: the caller's monotonic seconds, and bounds for what has no time."""

from __future__ import annotations

import math
from dataclasses import dataclass

NEVER = math.inf
"""Later than any time: what is not to happen."""

NOT_YET = -NEVER
"""Earlier than any time: what has not happened."""


@dataclass(frozen=True, slots=True)
class Options:
    """Timers in seconds.

    Attributes:
        election_timeout: the shortest silence of a leader that starts an election; each
            server adds up to as much again at random.
        heartbeat: how often a leader is heard when nothing happens.
        commit_delay: how long the news of a commit may wait for a request that carries it
            along: one writer's next entry mostly comes sooner. Without it, it is told at once.
    """

    election_timeout: float = 1.0
    heartbeat: float = 0.15
    commit_delay: float = 0.005
