"""True time, and what each machine believes it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

WALL_START = 1_700_000_000.0
"""The time of day at which every simulation begins; a constant, so that it repeats."""


@dataclass(slots=True)
class Clock:
    """One machine's clocks.

    Attributes:
        rate: seconds that the machine counts in one true second: its drift.
        offset: what its monotonic clock showed at true time 0.
        wall_step: how far its time of day has been set from the true one.
    """

    rate: float = 1.0
    offset: float = 0.0
    wall_step: float = 0.0

    def monotonic(self, true: float) -> float:
        return self.offset + true * self.rate

    def set_rate(self, rate: float, true: float) -> None:
        """Run at another rate from this moment on."""
        self.offset, self.rate = self.monotonic(true) - true * rate, rate

    def wall(self, true: float) -> float:
        return WALL_START + true + self.wall_step

    def true_time_of(self, monotonic: float) -> float:
        """When in true time the monotonic clock shows this, and no less for want of digits."""
        true = (monotonic - self.offset) / self.rate
        while self.monotonic(true) < monotonic:
            true = math.nextafter(true, math.inf)
        return true
