"""Failover needs no operator."""

from __future__ import annotations

from collections.abc import Iterator

import lab
import onezones
import pytest
import timeouts
from watches import RouteWatch
from writer import Writer

pytestmark = timeouts.limit(420)


@pytest.fixture
def no_operator(zone: onezones.Zone) -> Iterator[None]:
    """The operator at 0 replicas, and back afterwards."""
    lab.step("stopping the operator")
    lab.scale_operator(0)
    yield
    lab.scale_operator(1)


def test_service_follows_the_leader(no_operator: None, zone: onezones.Zone, writer: Writer) -> None:
    """With nobody but the servers themselves, the Service moves and writes go on."""
    leader = zone.leader()
    with RouteWatch(zone) as watch:
        term = zone.route().term
        lab.step(f"killing the leader {leader}")
        lab.kill_process_of_pod(zone.namespace, leader)
        lab.wait_until("a newer term is routed", lambda: zone.route().term > term, timeouts.ROUTE)
        writer.wait_for_writes(20, timeouts.FAILOVER)
        zone.wait_until_routed_to(zone.leader())
        assert writer.longest_gap <= timeouts.FAILOVER
    watch.assert_never_backwards()
    lab.step("starting the operator")
    lab.scale_operator(1)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    writer.assert_nothing_lost()
