"""Volumes against what only the real thing shows: the API server's refusals, and a StatefulSet's
controller that takes pods up again which belong to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.processes import wait_until
from benchmarks.scale.lab import Lab

SERVERS = 3
POLICY = {"whenDeleted": "Delete", "whenScaled": "Delete"}


@pytest.fixture(scope="module", autouse=True)
def operator(lab: Lab) -> Iterator[None]:
    lab.make_storage_class("growing", expandable=True)
    lab.make_storage_class("fixed", expandable=False)
    process = lab.operator("volumes", namespaces="grows,refuses")
    yield
    lab.end(process)


def make(lab: Lab, namespace: str, storage: dict[str, Any]) -> None:
    lab.api.make_namespace(namespace)
    lab.declare(namespace, "zone", replicas=SERVERS, storage=storage)
    lab.wait_until_steady(namespace, "zone")
    lab.run_disks(namespace)


def condition(lab: Lab, namespace: str, kind: str) -> dict[str, Any]:
    zone = lab.zone(namespace, "zone")
    found = {each["type"]: each for each in zone["status"]["conditions"]}[kind]
    is_new = found["observedGeneration"] == zone["metadata"]["generation"]
    return found if is_new else {"status": "", "reason": "", "message": ""}


def items(lab: Lab, namespace: str, plural: str) -> list[dict[str, Any]]:
    group = "/apis/apps/v1" if plural in {"statefulsets", "controllerrevisions"} else "/api/v1"
    found: list[dict[str, Any]] = lab.api.request(
        "GET", f"{group}/namespaces/{namespace}/{plural}"
    )["items"]
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))


def asked(lab: Lab, namespace: str) -> list[str]:
    claims = items(lab, namespace, "persistentvolumeclaims")
    return [each["spec"]["resources"]["requests"]["storage"] for each in claims]


def stateful_set(lab: Lab, namespace: str) -> dict[str, Any]:
    (found,) = items(lab, namespace, "statefulsets")
    return found


def template_size(lab: Lab, namespace: str) -> str:
    found = items(lab, namespace, "statefulsets")
    claims = found[0]["spec"]["volumeClaimTemplates"] if found else [{}]
    return str(claims[0].get("spec", {}).get("resources", {}).get("requests", {}).get("storage"))


def owners(each: dict[str, Any]) -> set[str]:
    return {owner["uid"] for owner in each["metadata"].get("ownerReferences", [])}


def test_pods_are_taken_up_again_as_they_are(lab: Lab):
    """One claim at a time; then another StatefulSet with the same pods, revision and number."""
    storage = {"storageClassName": "growing", "persistentVolumeClaimRetentionPolicy": POLICY}
    make(lab, "grows", storage)
    before = stateful_set(lab, "grows")
    uids = [each["metadata"]["uid"] for each in items(lab, "grows", "pods")]
    lab.declare("grows", "zone", replicas=SERVERS, storage={**storage, "size": "20Gi"})
    for count in range(1, SERVERS + 1):
        wait_until(
            lambda: sum(each == "20Gi" for each in asked(lab, "grows")) == count,  # noqa: B023
            f"asked to grow: {count}",
            20,
        )
        assert condition(lab, "grows", "VolumesInSync")["reason"] == "Growing"
        lab.run_disks("grows")
    wait_until(lambda: template_size(lab, "grows") == "20Gi", "new: the template", 30)
    lab.wait_until_steady("grows", "zone")
    after = stateful_set(lab, "grows")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["replicas"] == SERVERS
    assert after["status"]["updateRevision"] == before["status"]["updateRevision"]
    assert after["spec"]["persistentVolumeClaimRetentionPolicy"] == POLICY
    pods = items(lab, "grows", "pods")
    assert [each["metadata"]["uid"] for each in pods] == uids
    mine = {after["metadata"]["uid"]}
    wait_until(
        lambda: all(
            owners(each) == mine
            for plural in ("pods", "persistentvolumeclaims", "controllerrevisions")
            for each in items(lab, "grows", plural)
        ),
        "of the new StatefulSet: pods, claims and revisions",
        20,
    )
    assert all(
        "deletionTimestamp" not in each["metadata"]
        for each in items(lab, "grows", "persistentvolumeclaims")
    )
    assert condition(lab, "grows", "VolumesInSync")["status"] == "True"
    history = [each["step"] for each in lab.zone("grows", "zone")["status"]["history"]]
    assert history.count("ExpandVolume") == SERVERS
    assert history.count("RecreateStatefulSet") == 1
    assert "ReplacePod" not in history


def test_a_refusal_is_told_in_the_api_servers_words(lab: Lab):
    """And is over when the size is set back."""
    storage = {"storageClassName": "fixed"}
    make(lab, "refuses", storage)
    lab.declare("refuses", "zone", replicas=SERVERS, storage={**storage, "size": "20Gi"})
    wait_until(
        lambda: condition(lab, "refuses", "VolumesInSync")["reason"] == "ExpansionRefused",
        "told: the refusal",
        30,
    )
    message = condition(lab, "refuses", "VolumesInSync")["message"]
    assert re.match(r'persistentvolumeclaims "data-zone-\d" is forbidden: ', message)
    assert "the storageclass that provisions the pvc must support resize" in message
    assert "OneZoneTask ReplaceServer" in message
    wait_until(lambda: template_size(lab, "refuses") == "20Gi", "new: the template", 30)
    lab.declare("refuses", "zone", replicas=SERVERS, storage={**storage, "size": "10Gi"})
    wait_until(lambda: template_size(lab, "refuses") == "10Gi", "the template as before", 30)
    lab.wait_until_steady("refuses", "zone")
    assert condition(lab, "refuses", "VolumesInSync")["status"] == "True"
    assert asked(lab, "refuses") == ["10Gi"] * SERVERS
    lab.declare("refuses", "zone", replicas=SERVERS, storage={**storage, "size": "1Gi"})
    wait_until(
        lambda: condition(lab, "refuses", "VolumesInSync")["reason"] == "ShrinkRefused",
        "told: no shrinking",
        30,
    )
