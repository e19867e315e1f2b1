"""Behind its NetworkPolicies, on nodes that heed them, a zone lives as before, and strangers get no
further than its API, or not even there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import clusters
import floating
import https
import lab
import onezones
import policing
import pytest
import timeouts
from onezonebackups import CLAIM, STORAGE, wait_until_taken
from writer import Writer

pytestmark = timeouts.limit(900)

API, PEER, ADMIN = 2633, 2635, 2636
OPEN, CUT_OFF = "open", "cut off"
CLIENT = {"role": "front-end"}
NODES = "kubernetes.default.svc"
"""Where the API server is, which the leader's hook calls."""


@pytest.fixture(scope="module")
def policed(nodes: None) -> Iterator[None]:
    """Nodes that heed policies, for these tests alone."""
    policing.enforce(wanted=True)
    yield
    policing.enforce(wanted=False)


@pytest.fixture
def zone(policed: None, namespace: str) -> onezones.Zone:
    """A zone of three servers without policies, to begin with."""
    lab.apply(CLAIM, "-n", namespace)
    manifest = onezones.example("three-servers")
    manifest["spec"]["backup"] = {"storage": STORAGE}
    return onezones.make(namespace, manifest, 3)


@pytest.fixture
def visitors(zone: onezones.Zone) -> tuple[policing.Visitor, policing.Visitor]:
    """A stranger, and a pod with a client's label."""
    pod = lab.kubectl_json("-n", zone.namespace, "get", "pod", zone.pods()[0])
    image = next(each["image"] for each in pod["spec"]["containers"] if each["name"] == "oned")
    make = policing.Visitor.make
    return make(zone.namespace, "stranger", image, {}), make(
        zone.namespace, "front-end", image, CLIENT
    )


def addresses(zone: onezones.Zone) -> list[str]:
    found = lab.kubectl_json(
        "-n", zone.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={zone.name}"
    )["items"]
    return [each["status"]["podIP"] for each in found]


def doors(zone: onezones.Zone, visitor: policing.Visitor) -> list[str]:
    """API, peer and admin port, as a visitor finds them at every server."""
    hosts = addresses(zone)
    found = [visitor.tries([(host, port) for host in hosts]) for port in (API, PEER, ADMIN)]
    # Each node learns of a policy for itself: meanwhile servers may differ.
    return [each[0] if len(set(each)) == 1 else "differs" for each in found]


def wait_until_doors(zone: onezones.Zone, visitor: policing.Visitor, wanted: list[str]) -> None:
    lab.wait_until(
        f"{visitor.name} finds API, peer and admin port {wanted}",
        lambda: doors(zone, visitor) == wanted,
        timeouts.POLICY,
    )


def declare(zone: onezones.Zone, **policy: Any) -> None:
    zone.patch(networkPolicy=policy)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)


def policies(zone: onezones.Zone) -> list[str]:
    found = lab.kubectl_json("-n", zone.namespace, "get", "networkpolicies")["items"]
    return sorted(each["metadata"]["name"] for each in found)


def wait_until_there_are(zone: onezones.Zone, wanted: list[str]) -> None:
    """A zone is Ready with or without its policies: that they are written is awaited here."""
    lab.wait_until(f"policies {wanted}", lambda: policies(zone) == wanted, timeouts.POLICY)


def ways_out(zone: onezones.Zone, visitor: policing.Visitor) -> dict[str, str]:
    """Where a server gets to: a pod that listens, and the API server, both by name or address."""
    targets = [(visitor.address(), policing.LISTENS), (NODES, 443)]
    found = list(json.loads(zone.python(zone.leader(), policing.probe(targets))).values())
    return {"visitor": found[0], "API server": found[1]}


def fail_over(zone: onezones.Zone, writer: Writer) -> None:
    """The leader is killed: another one is elected, routed to by its hook, and written to."""
    before, term = zone.leader(), zone.route().term
    lab.kill_process_of_pod(zone.namespace, before)
    lab.wait_until("a newer term is routed", lambda: zone.route().term > term, timeouts.ROUTE)
    writer.wait_for_writes(20, timeouts.FAILOVER)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)


def back_up(zone: onezones.Zone, name: str) -> None:
    lab.apply(
        {
            "apiVersion": "onezone.dev/v1alpha1",
            "kind": "OneZoneBackup",
            "metadata": {"name": name},
            "spec": {"zoneRef": {"name": zone.name}},
        },
        "-n", zone.namespace,
    )  # fmt: skip
    assert wait_until_taken(zone.namespace, name)["verified"] is True


def nodes_network() -> str:
    """Where calls through a port of a node come from."""
    network = json.loads(lab.docker("network", "inspect", "kind"))[0]["IPAM"]["Config"]
    return next(str(each["Subnet"]) for each in network if ":" not in each["Subnet"])


def test_a_zone_lives_behind_its_policies_and_strangers_are_cut_off(
    zone: onezones.Zone, visitors: tuple[policing.Visitor, policing.Visitor]
) -> None:
    """Switched on under a writing client, narrowed to named clients, and switched off again."""
    stranger, client = visitors
    assert policies(zone) == []
    assert doors(zone, stranger) == [OPEN, OPEN, OPEN]
    assert ways_out(zone, stranger) == {"visitor": OPEN, "API server": OPEN}
    with Writer(zone) as writer:
        lab.step("policies that let every client in")
        declare(zone, enabled=True)
        wait_until_there_are(zone, [zone.name, f"{zone.name}-backup"])
        wait_until_doors(zone, stranger, [OPEN, CUT_OFF, CUT_OFF])
        assert ways_out(zone, stranger) == {"visitor": CUT_OFF, "API server": OPEN}
        fail_over(zone, writer)
        back_up(zone, "behind-policies")

        lab.step("policies that let some clients in")
        named = [
            {"podSelector": {"matchLabels": CLIENT}},
            {"ipBlock": {"cidr": nodes_network()}},
        ]
        declare(
            zone,
            enabled=True,
            clientsFrom=named,
            metricsFrom=[{"podSelector": {"matchLabels": CLIENT}}],
        )
        wait_until_doors(zone, stranger, [CUT_OFF, CUT_OFF, CUT_OFF])
        wait_until_doors(zone, client, [OPEN, CUT_OFF, OPEN])
        fail_over(zone, writer)
        back_up(zone, "behind-named-clients")
        zone.patch(replicas=5)
        zone.wait_until_ready(5, timeouts.STEP * 2)
        zone.patch(replicas=3)
        zone.wait_until_ready(3, timeouts.STEP * 2)

        lab.step("no policies")
        declare(zone, enabled=False, clientsFrom=None, metricsFrom=None)
        wait_until_there_are(zone, [])
        wait_until_doors(zone, stranger, [OPEN, OPEN, OPEN])
        writer.wait_for_writes(20, timeouts.FAILOVER)
    assert writer.longest_gap < timeouts.FAILOVER
    writer.assert_nothing_lost()


def test_behind_a_floating_address_a_client_is_known_by_its_own(
    policed: None, namespace: str
) -> None:
    """On whichever node the leader is, and with https: the policy sees who calls, not a node."""
    floating.install_metallb()
    manifest = onezones.example("metallb")
    manifest["spec"]["tls"] = {"enabled": True}
    zone = onezones.make(namespace, manifest, 3)
    address = floating.address(zone)
    here = policing.own_address(address)

    def finds(wanted: str) -> None:
        lab.wait_until(
            f"{address} is {wanted}",
            lambda: policing.finds_from_here(address, onezones.API_PORT) == wanted,
            timeouts.POLICY,
        )

    finds(OPEN)
    lab.step("the nodes' network is let in, but for this machine")
    nodes = nodes_network()
    declare(
        zone, enabled=True, clientsFrom=[{"ipBlock": {"cidr": nodes, "except": [f"{here}/32"]}}]
    )
    finds(CUT_OFF)

    lab.step("this machine alone is let in")
    declare(zone, enabled=True, clientsFrom=[{"ipBlock": {"cidr": f"{here}/32"}}])
    finds(OPEN)
    client = https.Client(zone, f"https://{address}:{onezones.API_PORT}/RPC2")
    lab.wait_until(
        "calls are served at the address that MetalLB gave", client.is_served, https.STAGE
    )
    before = zone.leader()
    lab.step(f"the leader {before} is asked to go")
    lab.kubectl("-n", namespace, "delete", "pod", before, "--wait=false")
    lab.wait_until("another one is routed", lambda: zone.route().leader != before, timeouts.ROUTE)
    lab.wait_until("calls are served on its node", client.is_served, timeouts.FAILOVER)


def test_the_nodes_heed_policies(policed: None, namespace: str) -> None:
    """What the other test relies on: a policy that lets nobody in, without any zone."""
    image = lab.kubectl_json(
        "-n", clusters.NAMESPACE, "get", lab.OPERATOR_DEPLOYMENT
    )["spec"]["template"]["spec"]["containers"][0]["image"]  # fmt: skip
    make = policing.Visitor.make
    first, second = (
        make(namespace, "first", image, {"app": "first"}),
        make(namespace, "second", image, {}),
    )
    target = [(first.address(), policing.LISTENS)]
    assert second.tries(target) == [OPEN]
    shut = {"podSelector": {"matchLabels": {"app": "first"}}, "policyTypes": ["Ingress"]}
    lab.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "shut"},
            "spec": shut,
        },
        "-n", namespace,
    )  # fmt: skip
    lab.wait_until("it is cut off", lambda: second.tries(target) == [CUT_OFF], timeouts.POLICY)
