"""At rest the operator costs the API server nothing, and what somebody changes it puts back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.processes import wait_until
from benchmarks.scale.lab import Lab
from onezone_operator.kube import WATCHED

READING = {"get", "list", "watch"}
REPAIR_SECONDS = 10.0
IDLE_SECONDS = 30.0


@pytest.fixture(scope="module")
def zone(lab: Lab) -> Iterator[str]:
    """A zone at rest, in a namespace of its own."""
    lab.api.make_namespace("watched")
    operator = lab.operator("watched", namespaces="watched")
    lab.declare("watched", "zone", replicas=3)
    lab.wait_until_steady("watched", "zone")
    yield "watched"
    lab.end(operator)


def requests(lab: Lab, mark: int) -> Counter[tuple[str, str]]:
    events = lab.api.requests("operator", since=mark)
    return Counter((each["verb"], each["objectRef"]["resource"]) for each in events)


def test_a_zone_at_rest_is_neither_written_nor_read(lab: Lab, zone: str):
    """Only watches that end and begin again; the servers' own status is asked for all the time."""
    before = lab.zone(zone, "zone")
    time.sleep(2)
    mark = lab.api.mark()
    time.sleep(IDLE_SECONDS)
    seen = requests(lab, mark)
    assert not {each for each in seen if each[0] != "watch"}, seen
    assert sum(seen.values()) <= len(WATCHED)
    assert (
        lab.zone(zone, "zone")["metadata"]["resourceVersion"]
        == (before["metadata"]["resourceVersion"])
    )


CHILDREN = [
    ("/api/v1", "services", "zone-any"),
    ("/api/v1", "services", "zone"),
    ("/api/v1", "configmaps", "zone-config"),
    ("/api/v1", "serviceaccounts", "zone"),
    ("/apis/policy/v1", "poddisruptionbudgets", "zone"),
    ("/apis/rbac.authorization.k8s.io/v1", "roles", "zone"),
    ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", "zone"),
    ("/apis/discovery.k8s.io/v1", "endpointslices", "zone-leader"),
]


@pytest.mark.parametrize(("group", "plural", "name"), CHILDREN, ids=lambda each: each)
def test_a_deleted_child_comes_back(lab: Lab, zone: str, group: str, plural: str, name: str):
    path = f"{group}/namespaces/{zone}/{plural}/{name}"
    uid = lab.api.request("GET", path)["metadata"]["uid"]
    started = time.monotonic()
    lab.api.request("DELETE", path)

    def is_back() -> bool:
        live = lab.api.find(path)
        return live is not None and live["metadata"]["uid"] != uid

    wait_until(is_back, f"back: {name}", REPAIR_SECONDS)
    print(f"{plural}/{name} was back after {time.monotonic() - started:.2f} s")


def patch(lab: Lab, path: str, change: Any) -> None:
    lab.api.request("PATCH", path, change, content_type="application/merge-patch+json")


def test_a_changed_child_is_put_back(lab: Lab, zone: str):
    path = f"/api/v1/namespaces/{zone}/services/zone-any"
    for change in (
        {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}},
        # Without the label the operator's watch loses sight of it.
        {"metadata": {"labels": {"onezone.dev/zone": None}}},
        {"metadata": {"annotations": {"onezone.dev/desired": None}}},
    ):
        before = lab.api.request("GET", path)
        patch(lab, path, change)

        def is_back(before: Any = before) -> bool:
            live = lab.api.request("GET", path)
            return bool(
                live["spec"]["selector"] == before["spec"]["selector"]
                and live["metadata"].get("labels") == before["metadata"]["labels"]
                and live["metadata"].get("annotations") == before["metadata"]["annotations"]
            )

        wait_until(is_back, f"put back: {change}", REPAIR_SECONDS)


def test_a_foreign_object_under_a_zones_name_is_left_alone(lab: Lab, zone: str):
    """It has no label that the operator watches for."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken"},
        "spec": {"ports": [{"port": 80}]},
    }
    path = f"/api/v1/namespaces/{zone}/services"
    made = lab.api.request("POST", path, service)
    lab.declare(zone, "taken", replicas=1)

    def is_told() -> bool:
        conditions = (lab.zone(zone, "taken").get("status") or {}).get("conditions") or []
        return any(each["reason"] == "NameTaken" for each in conditions)

    wait_until(is_told, "told", REPAIR_SECONDS)
    live = lab.api.request("GET", f"{path}/taken")
    assert live["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    lab.api.request("DELETE", f"/apis/onezone.dev/v1alpha1/namespaces/{zone}/onezones/taken")


def test_a_step_costs_at_most_twelve_calls(lab: Lab, zone: str):
    """Growing and shrinking again: calls between two writes of the status."""
    for replicas in (5, 3):
        mark = lab.api.mark()
        lab.declare(zone, "zone", replicas=replicas)
        lab.wait_until_steady(zone, "zone")
        calls, most = 0, 0
        for event in lab.api.requests("operator", since=mark):
            calls = 0 if event["objectRef"].get("subresource") == "status" else calls
            calls += event["verb"] != "watch"
            most = max(most, calls)
        print(f"at most {most} calls a step on the way to {replicas} servers")
        assert 1 < most <= 12
