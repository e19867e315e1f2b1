"""The leader's node loses its network: the leader goes on running and must notice that it leads no
more.
"""

from __future__ import annotations

import lab
import onezones
import timeouts
from watches import RouteWatch
from writer import Writer

pytestmark = timeouts.limit(600)

ALLOCATE = """<?xml version="1.0"?><methodCall>
<methodName>one.document.allocate</methodName><params>
<param><value><string>{session}</string></value></param>
<param><value><string>NAME="{name}"</string></value></param>
<param><value><int>{kind}</int></value></param></params></methodCall>"""
STRAY = "written-in-isolation"


def write_in_isolation(zone: onezones.Zone, node: str, address: str) -> str:
    """Write to the isolated server from its own node, which is all that can still reach it."""
    body = ALLOCATE.format(session=zone.session(), name=STRAY, kind=onezones.DOCUMENT_TYPE)
    command = (
        f"curl -s -m 10 -H 'Content-Type: text/xml' --data-binary @- http://{address}:2633/RPC2"
    )
    try:
        return lab.run("docker", "exec", "-i", node, "sh", "-c", command, stdin=body)
    except lab.CommandFailed as error:
        return f"no answer: {error}"


def test_writes_go_on_elsewhere_only(nodes: None, zone: onezones.Zone, writer: Writer) -> None:
    """`docker network disconnect` of the leader's node: the majority goes on, the old leader stops.

    When the node is back, the old leader must not take the Service back with its old term.
    """
    leader = zone.leader()
    node = zone.node_of(leader)
    pod = lab.kubectl_json("-n", zone.namespace, "get", "pod", leader)
    with RouteWatch(zone) as watch:
        term = zone.route().term
        lab.step(f"cutting off {node}, the node of the leader {leader}")
        lab.docker("network", "disconnect", "kind", node)
        try:
            lab.wait_until("a newer term", lambda: zone.route().term > term, timeouts.ROUTE)
            writer.wait_for_writes(50, timeouts.NODE_LOSS)
            assert zone.route().leader != leader
            answer = write_in_isolation(zone, node, pod["status"]["podIP"])
            lab.step(f"  the isolated server says: {' '.join(answer.split())[:300]}")
            assert "<boolean>1</boolean>" not in answer, "a write without a majority was confirmed"
        finally:
            lab.step(f"connecting {node}")
            lab.bring_node_back(node)
        zone.wait_until_ready(3, timeouts.NODE_BACK)
        zone.wait_until_routed_to(zone.leader())
    assert writer.longest_gap <= timeouts.NODE_LOSS
    watch.assert_never_backwards()
    writer.assert_nothing_lost()
    names = [set(zone.documents(server).values()) for server in zone.pods()]
    assert all(STRAY not in held for held in names)
