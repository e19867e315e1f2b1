"""How long each promise may take: the one table of deadlines, in seconds.

They are for two cores that run four nodes, the servers and the tests. A promise to users is in
the documentation; these only tell late from never.
"""

from __future__ import annotations

import pytest

CLUSTER_READY = 1500
"""Cluster (its first build included), images and operator."""

METALLB_READY = 600
"""Compiled the first time."""

POLICED = 900
"""What makes nodes heed NetworkPolicies is compiled the first time."""

POLICY = 30
"""A NetworkPolicy that was made, changed or deleted is heeded by all nodes."""

CUT_OFF = 2
"""A connection that was not made by then is taken for one that a policy forbids."""

OPERATOR_READY = 180
ZONE_READY = 240
"""A new zone of three servers."""

STEP = 120
"""One server more, or one less."""

SERVER_BACK = 240
"""A server that was killed, or lost its volume, is a voter again with nothing left to fetch."""

NODE_BACK = 300
"""The same after its node was away: the kubelet, its pods and their network come first."""

FAILOVER = 20
"""The longest time without an acknowledged write around the death of a leader's process."""

FLOATING_FAILOVER = 3
"""Half of the failovers through a floating address, as promised in docs/explanation/routing.md."""

DRAIN_GAP = 0.5
"""The longest time without an acknowledged write when the leader's node is drained, and while all
servers are replaced.
"""

DRAIN = 120
REFUSED_DRAIN = 8
"""How long a drain is tried that a disruption budget forbids."""

NODE_LOSS = 45
"""The same when the leader's node is gone: connections hang instead of being refused, and a client
notices only when it gives up."""

HAND_OVER = 5
"""The longest time without an acknowledged write around a hand-over that a task asked for: a call
that comes before the leader Service has followed is sent on."""

BACKUP = 180
"""A backup is asked for, taken, started as a server, and stored; images and claims come first."""

ROUTE = 60
"""The leader Service's slice names the leader that the zone has."""

API_BACK = 2
"""The same after the API server was away."""

SPEC_HEARD = 60
"""A spec that changed right after the operator's connections died is in the status."""

CONFIRMED = 4
"""The leader has seen its route so recently; it looks every two seconds."""

SCRAPED = 60
"""Prometheus has seen what is new, and judged it."""

DELETED = 120
CALL = 60
"""One call of kubectl or docker."""

WRITE = 3
"""After this a client gives a write up, not knowing what became of it."""

CLIENT_PATIENCE = 20
"""After this a client that tries again and again calls its call failed."""

CATCH_UP = 60
"""Every server has every acknowledged write."""


def limit(seconds: float) -> pytest.MarkDecorator:
    """A test's own time; what its fixtures take is bounded by the deadlines above."""
    return pytest.mark.timeout(seconds, func_only=True)
