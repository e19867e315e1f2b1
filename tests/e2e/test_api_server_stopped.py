"""The zone needs no Kubernetes API to elect, to serve and to take writes; the route is right soon
after the API is back, and a metric tells meanwhile for how long nobody has confirmed it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import clients
import lab
import onezones
import timeouts
from watches import RouteWatch

pytestmark = timeouts.limit(420)

UNCONFIRMED = re.compile(r"^oned_route_unconfirmed_seconds\{.*\} (\S+)$", re.MULTILINE)
CALL = """<?xml version="1.0"?><methodCall><methodName>one.document.allocate</methodName><params>
<param><value><string>{session}</string></value></param>
<param><value><string>NAME="{name}"</string></value></param>
<param><value><int>{kind}</int></value></param></params></methodCall>"""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that is asked from its own node, without Kubernetes' help."""

    name: str
    address: str
    node: str
    process: str

    def get(self, path: str) -> str:
        """The admin port's answer."""
        return lab.docker(
            "exec", self.node, "curl", "-sf", "-m", "5", f"http://{self.address}:2636{path}"
        )

    def leads(self) -> bool:
        """Whether it serves as the leader now."""
        try:
            status = json.loads(self.get("/status"))
        except lab.CommandFailed:
            return False
        return status["state"] == "leader" and bool(status["serving"])

    def allocate(self, session: str, name: str) -> str:
        """Write through this server; the answer."""
        body = CALL.format(session=session, name=name, kind=onezones.DOCUMENT_TYPE)
        return lab.run(
            "docker", "exec", "-i", self.node, "curl", "-s", "-m", "5", "--data-binary", "@-",
            "-H", "Content-Type: text/xml", f"http://{self.address}:{onezones.API_PORT}/RPC2",
            stdin=body,
        )  # fmt: skip


def servers(zone: onezones.Zone) -> list[Server]:
    """What must be known before the API is gone."""
    found = []
    for name in zone.pods():
        pod = lab.kubectl_json("-n", zone.namespace, "get", "pod", name)
        node = pod["spec"]["nodeName"]
        process = lab.process_of_pod(pod["metadata"]["uid"], node)
        found.append(Server(name, pod["status"]["podIP"], node, process))
    return found


@contextmanager
def api_server_stopped() -> Iterator[None]:
    """The process stands still: connections to it hang, which is worse than being refused."""
    node = lab.entry_node()
    try:
        lab.docker("exec", node, "pkill", "-STOP", "-x", "kube-apiserver")
        yield
    finally:
        lab.docker("exec", node, "pkill", "-CONT", "-x", "kube-apiserver")


def unconfirmed_seconds(leader: Server) -> float:
    """For how long the leader has not seen its route, by its own metric."""
    found = UNCONFIRMED.search(leader.get("/metrics"))
    assert found, "the leader does not tell for how long its route is unconfirmed"
    return float(found[1])


def test_zone_goes_on_and_the_route_follows(nodes: None, zone: onezones.Zone) -> None:
    """The leader is killed while nobody can write the route."""
    before = zone.leader()
    session, known = zone.session(), servers(zone)
    old = next(server for server in known if server.name == before)
    with RouteWatch(zone) as watch, clients.RetryingClient(zone.url(), session) as client:
        with api_server_stopped():
            lab.step(f"the API server stands still, killing the leader {before}")
            killed = time.time()
            lab.docker("exec", old.node, "kill", "-9", old.process)
            leader = lab.wait_until(
                "another leader",
                lambda: next((s for s in known if s is not old and s.leads()), None),
                timeouts.FAILOVER,
            )
            first = client.first_after(killed + 1, timeouts.FAILOVER)
            lab.step(f"  {leader.name} leads, first write {first.answered - killed:.2f} s after")
            for server in known:
                lab.wait_until(
                    f"a write through {server.name}",
                    lambda server=server: (
                        "<boolean>1</boolean>" in server.allocate(session, f"by-{server.name}")
                    ),
                    timeouts.SERVER_BACK,
                )
            lab.wait_until(
                "the leader tells that its route is unconfirmed",
                lambda: unconfirmed_seconds(leader) > timeouts.CONFIRMED,
                timeouts.ROUTE,
            )
        back = time.time()
        route = lab.wait_until(
            "the route names the leader",
            lambda: (found := zone.route()).leader == leader.name and found,
            timeouts.ROUTE,
        )
        # By the watch, which is there already: another kubectl takes its own time to ask.
        followed = lab.wait_until(
            "the watch has seen it", lambda: watch.first_named(leader.name), timeouts.ROUTE
        )
        lab.step(f"  the API is back, route right within {followed - back:.2f} s")
        assert route.addresses == (leader.address,)
        assert followed - back <= timeouts.API_BACK
        # It confirms its route when it has heard that it was written, a moment after others see it.
        lab.wait_until(
            "the leader tells that its route is confirmed",
            lambda: unconfirmed_seconds(leader) <= timeouts.CONFIRMED,
            timeouts.CONFIRMED,
        )
    assert not client.failed
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    watch.assert_never_backwards()
    client.assert_nothing_lost(zone)
