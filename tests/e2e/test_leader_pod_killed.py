"""The leader's pod dies without a word: writes go on through the leader Service."""

from __future__ import annotations

import lab
import onezones
import pytest
import timeouts
from watches import RouteWatch
from writer import Writer

pytestmark = timeouts.limit(420)


def delete_by_force(namespace: str, pod: str) -> None:
    """Take the pod away at once, as if its node had thrown it out."""
    lab.kubectl(
        "-n", namespace, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false"
    )


@pytest.mark.parametrize("kill", [lab.kill_process_of_pod, delete_by_force])
def test_writes_go_on(zone: onezones.Zone, writer: Writer, kill) -> None:
    """A new leader takes over, the Service leads to it, nothing acknowledged is lost."""
    leader = zone.leader()
    zone.wait_until_routed_to(leader)
    with RouteWatch(zone) as watch:
        term = zone.route().term
        lab.step(f"killing the leader {leader}")
        kill(zone.namespace, leader)
        lab.wait_until("a newer term is routed", lambda: zone.route().term > term, timeouts.ROUTE)
        writer.wait_for_writes(20, timeouts.FAILOVER)
        zone.wait_until_ready(3, timeouts.SERVER_BACK)
        zone.wait_until_routed_to(zone.leader())
    assert writer.longest_gap <= timeouts.FAILOVER
    watch.assert_never_backwards()
    writer.assert_nothing_lost()
