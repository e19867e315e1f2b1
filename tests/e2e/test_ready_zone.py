"""A Ready zone is what its user asked for: spread, visible, reachable, and with few rights."""

from __future__ import annotations

import lab
import onezones
import pytest
import timeouts

pytestmark = timeouts.limit(180)

FORWARDED_WRITE = f"""
import xmlrpc.client
session = open("/etc/one/auth/one_auth").read().strip()
server = xmlrpc.client.ServerProxy("http://localhost:{onezones.API_PORT}/RPC2")
answer = server.one.document.allocate(session, 'NAME="by-a-follower"', {onezones.DOCUMENT_TYPE})
assert answer[0], answer
print(answer[1])
"""


def test_three_servers_on_three_nodes(zone: onezones.Zone) -> None:
    """No node holds two servers, so none takes the majority away."""
    assert len({zone.node_of(server) for server in zone.pods()}) == 3


def test_kubectl_get_tells_what_is_going_on(zone: onezones.Zone) -> None:
    """Servers, leader and term, in the columns of the list."""
    head, row = lab.kubectl("-n", zone.namespace, "get", "onezone", zone.name).splitlines()
    columns = ["NAME", "READY", "SERVERS", "LEADER", "TERM", "HEALTH", "STATUS"]
    assert head.split()[:7] == columns
    status = zone.get()["status"]
    shown = [zone.name, "True", "3/3", status["leader"], str(status["term"]), "Healthy"]
    assert row.split()[:6] == shown
    assert status["leader"] == zone.leader()


def test_follower_takes_a_write(zone: onezones.Zone) -> None:
    """It forwards the call to the leader; soon every server has the document."""
    document = int(zone.python(zone.follower(), FORWARDED_WRITE))
    for server in zone.pods():
        lab.wait_until(
            f"{server} has the document",
            lambda server=server: zone.documents(server).get(document) == "by-a-follower",
            timeouts.CATCH_UP,
        )


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("patch", "endpointslices/zone-leader", "yes"),
        ("patch", "endpointslices/other", "no"),
        ("delete", "endpointslices/zone-leader", "no"),
        ("get", "secrets", "no"),
        ("list", "pods", "no"),
        ("get", "onezones", "no"),
    ],
)
def test_servers_may_only_write_their_route(
    zone: onezones.Zone, verb: str, resource: str, allowed: str
) -> None:
    """A server that was broken into must not open the cluster."""
    account = lab.kubectl_json("-n", zone.namespace, "get", "pod", f"{zone.name}-0")["spec"]
    name = f"system:serviceaccount:{zone.namespace}:{account['serviceAccountName']}"
    try:
        answer = lab.kubectl("-n", zone.namespace, "auth", "can-i", verb, resource, f"--as={name}")
    except lab.CommandFailed as error:  # a "no" is exit code 1
        answer = str(error).rpartition(": ")[2]
    assert answer.split()[0] == allowed


def test_every_object_of_the_zone_is_found_by_its_label(zone: onezones.Zone) -> None:
    """`kubectl get … -l onezone.dev/zone=<name>` shows all of it, volumes included."""
    kinds = "statefulset,service,configmap,secret,serviceaccount,role,rolebinding,pvc,pdb,pod"
    selector = f"onezone.dev/zone={zone.name}"
    listed = lab.kubectl("-n", zone.namespace, "get", kinds, "-l", selector, "-o", "name")
    found = {line.partition("/")[0].partition(".")[0] for line in listed.split()}
    assert found == {
        "statefulset", "service", "configmap", "secret", "serviceaccount", "role", "rolebinding",
        "persistentvolumeclaim", "poddisruptionbudget", "pod",
    }  # fmt: skip
