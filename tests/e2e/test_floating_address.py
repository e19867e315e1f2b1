"""The floating address moves with the leader, and the nodes' network is told so."""

from __future__ import annotations

import floating
import lab
import onezones
import timeouts

pytestmark = timeouts.limit(420)


def wait_until_claimed(heard: floating.Neighbour, zone: onezones.Zone) -> str:
    """Wait until the last word on the wire is that of the leader's node; returns the leader."""

    def last_is_the_leaders() -> str:
        leader = zone.leader()
        wanted = floating.hardware_address(zone.node_of(leader))
        return leader if heard.claims and heard.claims[-1].hardware == wanted else ""

    return lab.wait_until(
        "the leader's node claims the address", last_is_the_leaders, timeouts.ROUTE
    )


def test_last_announcement_names_the_last_leaders_node(floating_zone: onezones.Zone) -> None:
    """Two changes of leaders in quick succession: the one killed, the other asked to go.

    A gratuitous ARP of the node before must not come after that of the node that has the leader.
    """
    zone = floating_zone
    before = zone.leader()
    with floating.Neighbour(floating.address(zone)) as heard, floating.client(zone) as client:
        term = zone.route().term
        lab.step(f"killing the leader {before}")
        lab.kill_process_of_pod(zone.namespace, before)
        lab.wait_until("a newer term is routed", lambda: zone.route().term > term, timeouts.ROUTE)
        second = zone.route()
        lab.step(f"asking its successor {second.leader} to go")
        lab.kubectl("-n", zone.namespace, "delete", "pod", second.leader, "--wait=false")
        lab.wait_until(
            "a third leader", lambda: zone.route().term > second.term, timeouts.SERVER_BACK
        )
        zone.wait_until_ready(3, timeouts.SERVER_BACK)
        last = wait_until_claimed(heard, zone)
        nodes = [floating.hardware_address(zone.node_of(each)) for each in zone.pods()]
        lab.step(
            f"  {before} -> {second.leader} -> {last}, claims by "
            f"{[zone.pods()[nodes.index(claim.hardware)] for claim in heard.claims]}"
        )
        client.first_after(heard.claims[-1].at, timeouts.FAILOVER)
    assert not client.failed
    client.assert_nothing_lost(zone)
