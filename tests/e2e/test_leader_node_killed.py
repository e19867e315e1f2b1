"""The leader's node dies: writes go on from the two other nodes, and the server comes back with
it.
"""

from __future__ import annotations

import lab
import onezones
import timeouts
from watches import RouteWatch
from writer import Writer

pytestmark = timeouts.limit(600)


def test_writes_go_on(nodes: None, zone: onezones.Zone, writer: Writer) -> None:
    """`docker kill` of the leader's node, then `docker start`."""
    leader = zone.leader()
    node = zone.node_of(leader)
    with RouteWatch(zone) as watch:
        term = zone.route().term
        lab.step(f"killing {node}, the node of the leader {leader}")
        lab.docker("kill", node)
        try:
            lab.wait_until("a newer term", lambda: zone.route().term > term, timeouts.ROUTE)
            writer.wait_for_writes(50, timeouts.NODE_LOSS)
            assert zone.route().leader != leader
        finally:
            lab.step(f"starting {node}")
            lab.bring_node_back(node)
        zone.wait_until_ready(3, timeouts.NODE_BACK)
        zone.wait_until_routed_to(zone.leader())
    assert writer.longest_gap <= timeouts.NODE_LOSS
    watch.assert_never_backwards()
    writer.assert_nothing_lost()
