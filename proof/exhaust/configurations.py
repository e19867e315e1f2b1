"""The searches that are run: small zones, each with room for something else."""

from __future__ import annotations

from proof.exhaust.bounds import Bounds

DEFAULT = (
    Bounds("elections", elections=2, entries=1, crashes=0, messages=2),
    Bounds("zone", elections=2, entries=2, crashes=1, messages=1),
    Bounds("shared-writes", elections=1, entries=1, crashes=1, messages=2, batches=True),
    Bounds("crash", elections=1, entries=1, crashes=1, messages=3),
    Bounds("figure-8", elections=2, entries=0, crashes=0, messages=2, start="diverged"),
    Bounds("snapshots", elections=1, entries=1, crashes=0, heartbeats=1, purges=1, messages=2),
    Bounds("heartbeats", elections=1, entries=1, crashes=0, heartbeats=1, messages=2),
    Bounds("two-crashes", elections=1, entries=1, crashes=2, messages=2),
    Bounds("compaction", elections=2, entries=0, crashes=0, purges=1, messages=2),
    Bounds("duplicates", elections=1, entries=1, crashes=0, duplicates=1, messages=2),
    Bounds("transfer", elections=1, entries=0, crashes=0, transfers=1, messages=2),
    Bounds("connections", elections=1, entries=1, crashes=0, breaks=1, messages=2),
    Bounds("members", elections=1, entries=1, crashes=0, changes=1, messages=2),
    Bounds("two-changes", elections=1, entries=0, crashes=0, changes=2, messages=2),
    Bounds("member-elections", elections=2, entries=0, crashes=0, changes=1, messages=1),
    Bounds("newcomer", elections=1, entries=0, crashes=0, changes=2, messages=2, start="joining"),
    Bounds("five-servers", servers=5, elections=1, entries=1, crashes=0, messages=2),
)
"""What ``python -m proof.exhaust`` runs, each to its end; the largest first."""

LONG = (
    Bounds("long-zone", elections=2, entries=1, crashes=1, messages=2),
    Bounds("long-transfer", elections=1, entries=1, crashes=0, transfers=1, messages=2),
    Bounds("long-heartbeats", elections=1, entries=1, crashes=0, heartbeats=-1, messages=2),
    Bounds("long-members", elections=2, entries=0, crashes=0, changes=1, messages=2),
    Bounds(
        "long-newcomer", elections=1, entries=1, crashes=0, changes=2, messages=2, start="joining"
    ),
)
"""What ``--long`` runs besides; it takes hours and some ten gigabytes."""
