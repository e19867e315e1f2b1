"""Every reachable state of a small zone, over the shipped Raft core.

``bounds`` says how small; ``server`` freezes and thaws one server around the core; ``steps`` is
all that can happen to one server; ``space`` joins servers and network to a zone; ``invariants``
is what must hold; ``search`` goes breadth-first. docs/explanation/exhaustive-search.md explains
the abstractions and reductions, and why they are sound.
"""
