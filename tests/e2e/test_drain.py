"""Draining the leader's node costs no call and hardly any time: the leader hands over first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import clients
import floating
import lab
import onezones
import pytest
import timeouts

pytestmark = timeouts.limit(480)


@contextmanager
def drained(node: str) -> Iterator[None]:
    """A node that is asked to be empty, and is used again afterwards."""
    try:
        lab.drain(node)
        yield
    finally:
        lab.kubectl("uncordon", node)


def client_of(zone: onezones.Zone, how: str) -> clients.RetryingClient:
    """A client that knows one address."""
    url = floating.url(zone) if how == "floating_zone" else zone.url()
    return clients.RetryingClient(url, zone.session())


@pytest.mark.parametrize("how", ["zone", "floating_zone"])
def test_leader_hands_over(how: str, request: pytest.FixtureRequest) -> None:
    """Through the leader Service and through the floating address."""
    zone: onezones.Zone = request.getfixturevalue(how)
    leader = zone.leader()
    node = zone.node_of(leader)
    with client_of(zone, how) as client:
        lab.step(f"draining {node}, the node of the leader {leader}")
        with drained(node):
            client.first_after(client.done[-1].answered + 3, timeouts.FAILOVER)
            gap = client.longest_gap()
            lab.step(f"  gap {gap * 1000:.0f} ms")
            assert zone.leader() != leader
            second = zone.node_of(zone.leader())
            with pytest.raises(lab.CommandFailed, match="disruption budget"):
                lab.drain(second, seconds=timeouts.REFUSED_DRAIN)
            lab.kubectl("uncordon", second)
        zone.wait_until_ready(3, timeouts.SERVER_BACK)
    assert not client.failed
    assert gap <= timeouts.DRAIN_GAP
    client.assert_nothing_lost(zone)
