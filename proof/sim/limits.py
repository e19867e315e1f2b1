"""Limits of the shipped source, made small in some seeds, so that short runs reach them.

What happens when a batch is full, a window closed or an entry no longer in memory is seen in
production after thousands of entries, and here after a dozen (FoundationDB calls it "buggify").
"""

from __future__ import annotations

import random
from types import ModuleType

from oned.raft import leadership, log, progress

SMALL: tuple[tuple[ModuleType, str, int], ...] = (
    (leadership, "BATCH_ENTRIES", 4),
    (leadership, "BATCH_BYTES", 600),
    (progress, "WINDOW", 2),
    (log, "TAIL_ENTRIES", 16),
)
"""Module, name and small value of each."""

_SHIPPED = {(module, name): getattr(module, name) for module, name, _ in SMALL}


def set_limits(seed: int) -> None:
    """Make some limits small, others as they are shipped."""
    chance = random.Random(f"{seed} limits")
    for module, name, small in SMALL:
        setattr(module, name, small if chance.random() < 0.4 else _SHIPPED[module, name])
