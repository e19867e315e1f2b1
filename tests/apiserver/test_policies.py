"""NetworkPolicies of a zone as a real API server stores them: what it fills in and leaves out is no
drift, what somebody changes is put back, and bad peers are refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.processes import BenchmarkError, wait_until
from benchmarks.scale.lab import Lab, Operator

REPAIR_SECONDS = 10.0
REST_SECONDS = 12.0
"""Longer than an object that is absent is believed to be so."""
NAMESPACE = "policies"
PATH = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
PEERS = [
    {"podSelector": {}},
    {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "front-end"}}},
    {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}},
    {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}},
    {"ipBlock": {"cidr": "2001:db8::/64"}},
]
POLICY = {"enabled": True, "clientsFrom": PEERS, "metricsFrom": PEERS[:2]}
S3 = {
    "bucket": "backups",
    "endpoint": "http://store:9000",
    "credentialsSecretRef": {"name": "store"},
}


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    """That of a zone behind policies that use all there is."""
    lab.api.make_namespace(NAMESPACE)
    made = lab.operator(NAMESPACE, namespaces=NAMESPACE)
    declare(lab, POLICY)
    lab.wait_until_steady(NAMESPACE, "zone")
    yield made
    lab.end(made)


def declare(lab: Lab, policy: dict[str, Any]) -> None:
    lab.declare(NAMESPACE, "zone", replicas=1, networkPolicy=policy, backup={"storage": {"s3": S3}})


def names(lab: Lab) -> list[str]:
    return sorted(each["metadata"]["name"] for each in lab.api.request("GET", PATH)["items"])


def at_rest(lab: Lab, operator: Operator) -> list[Any]:
    """What the operator asks of the API server while nothing is to be done."""
    lab.wait_until_at_rest(operator, NAMESPACE, "zone")
    mark = lab.api.mark()
    time.sleep(REST_SECONDS)
    return [each for each in lab.api.requests("operator", since=mark) if each["verb"] != "watch"]


def test_what_the_api_server_stores_is_what_was_meant(lab: Lab, operator: Operator):
    assert names(lab) == ["zone", "zone-backup"]
    stored = lab.api.request("GET", f"{PATH}/zone")["spec"]
    (_, api, admin) = stored["ingress"]
    assert api["from"][-len(PEERS) :] == PEERS
    assert admin["from"][-2:] == PEERS[:2]
    backup = lab.api.request("GET", f"{PATH}/zone-backup")["spec"]
    assert backup["egress"][-1] == {"ports": [{"port": 9000, "protocol": "TCP"}]}
    assert not at_rest(lab, operator)


@pytest.mark.parametrize("name", ["zone", "zone-backup"])
def test_what_is_changed_or_deleted_is_put_back(lab: Lab, operator: Operator, name: str):
    path = f"{PATH}/{name}"
    before = lab.api.request("GET", path)["spec"]
    merge = "application/merge-patch+json"
    lab.api.request("PATCH", path, {"spec": {"egress": [{}]}}, content_type=merge)
    wait_until(lambda: lab.api.request("GET", path)["spec"] == before, "put back", REPAIR_SECONDS)
    lab.api.request("DELETE", path)
    wait_until(
        lambda: (lab.api.find(path) or {}).get("spec") == before,
        "back",
        REPAIR_SECONDS,
    )


BAD = {
    "nothing": ({}, "a peer needs"),
    "two things": ({"ipBlock": {"cidr": "192.0.2.0/24"}, "podSelector": {}}, "a peer needs"),
    "no network": ({"ipBlock": {"cidr": "192.0.2.0"}}, "cidr"),
    "no values": (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "In and NotIn need values",
    ),
    "values of no use": (
        {
            "podSelector": {
                "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
            }
        },
        "In and NotIn need values",
    ),
    "no label": ({"podSelector": {"matchLabels": {"a": "b c"}}}, "matchLabels"),
}


@pytest.mark.parametrize(("peer", "message"), BAD.values(), ids=BAD.keys())
def test_bad_peers_are_refused(lab: Lab, operator: Operator, peer: dict[str, Any], message: str):
    with pytest.raises(BenchmarkError, match=message):
        declare(lab, {"enabled": True, "clientsFrom": [peer]})


def test_switched_off_they_go_and_cost_nothing(lab: Lab, operator: Operator):
    declare(lab, {"enabled": False})
    wait_until(lambda: not names(lab), "gone", REPAIR_SECONDS)
    assert not at_rest(lab, operator)
    declare(lab, POLICY)
    wait_until(lambda: len(names(lab)) == 2, "back", REPAIR_SECONDS)
