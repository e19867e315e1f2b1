"""Clocks, hand-overs, and what a leader does when its disk does not."""

from __future__ import annotations

from proof.mutants.faults import CORE, DRIVER, ELECTIONS, LEADING, SNAPSHOTS, WRITING
from proof.mutants.mutant import Edit, Mutant

_WALL = (
    ("_next_purge = time.monotonic() + settings", "_next_purge = time.time() + settings"),
    ("now, core = time.monotonic(), self.core", "now, core = time.time(), self.core"),
    ("self.writing.is_stuck(time.monotonic())", "self.writing.is_stuck(time.time())"),
    (
        "now = time.monotonic()\n        try:\n            self.core.transfer",
        "now = time.time()\n        try:\n            self.core.transfer",
    ),
    ("work(time.monotonic())", "work(time.time())"),
    ("core.step_down(time.monotonic())", "core.step_down(time.time())"),
    (
        "now = time.monotonic()\n        self.core.written",
        "now = time.time()\n        self.core.written",
    ),
    ("self.core.installed(time.monotonic(),", "self.core.installed(time.time(),"),
)

MUTANTS = (
    Mutant(
        "timers-follow-the-time-of-day",
        "Setting a clock neither causes nor prevents an election.",
        (
            *(Edit(DRIVER, old, new) for old, new in _WALL),
            Edit(CORE, "now=time.monotonic(),", "now=time.time(),"),
            Edit(
                SNAPSHOTS,
                "core.receive(time.monotonic(), offer)",
                "core.receive(time.time(), offer)",
            ),
            Edit(
                WRITING,
                "self.stuck_at = started + STUCK_SECONDS",
                "self.stuck_at = time.time() + STUCK_SECONDS",
            ),
        ),
        defect="N6",
    ),
    Mutant(
        "hand-over-hindered-by-voters",
        "A hand-over that the leader asked for costs no election timeout.",
        (Edit(ELECTIONS, "if led and not request.transfer and", "if led and"),),
    ),
    Mutant(
        "hand-over-to-one-that-is-behind",
        "A successor has the leader's whole log before it is told to stand.",
        (
            Edit(
                LEADING,
                "if progress is not None and progress.match == state.log.last_index:",
                "if progress is not None:",
            ),
        ),
    ),
    Mutant(
        "hand-over-never-given-up",
        "A leader goes on when nobody takes over.",
        (Edit(LEADING, "now >= leadership.transfer.deadline:", "now >= NEVER:"),),
    ),
    Mutant(
        "leader-stays-without-its-disk",
        "A leader whose disk cannot be written leads no more.",
        (
            Edit(
                DRIVER,
                "        core = self.core\n        if core.leadership is not None:\n"
                "            successor",
                "        return\n        if core.leadership is not None:\n            successor",
            ),
        ),
        defect="N14",
    ),
)
