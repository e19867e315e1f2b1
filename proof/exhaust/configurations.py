"""The searches that are run: one zone each, small in its own way."""

from __future__ import annotations

from proof.exhaust.bounds import Bounds

DEFAULT = (Bounds("zone", elections=2, entries=1, crashes=1, messages=2),)
"""What ``python -m proof.exhaust`` runs, each to its end."""

LONG: tuple[Bounds, ...] = ()
"""What ``--long`` runs besides."""
