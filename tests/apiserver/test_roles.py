"""The operator under exactly the chart's roles: each verb that is granted is used, and nothing is
asked for that is not granted. Namespaced and cluster-wide.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from chart_roles import SYSTEM, granted, install, render, used_by

from benchmarks.processes import wait_until
from benchmarks.scale.lab import Lab

NOT_ITS_OWN = {("endpointslices", "update")}
"""Granted so that it may be granted to the servers; the API server refuses to grant more."""

ELSEWHERE = {
    # In test_cert_manager.py.
    ("certificates", "get"),
    ("certificates", "create"),
    ("certificates", "patch"),
}
"""Used, but not by what this test does: by zones that other tests have left, if at all."""

BACKUPS = {"volume": {"claimName": "backups"}}


def is_marked(lab: Lab, pod: str) -> bool:
    annotations = lab.api.request("GET", pod)["metadata"].get("annotations", {})
    return bool(annotations.get("onezone.dev/fenced") == "true")


def ask(lab: Lab, namespace: str, name: str, **spec: Any) -> None:
    """A task, until it is finished."""
    path = f"/apis/onezone.dev/v1alpha1/namespaces/{namespace}/onezonetasks/{name}"
    manifest = {
        "apiVersion": "onezone.dev/v1alpha1",
        "kind": "OneZoneTask",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"zoneRef": {"name": "zone"}, **spec},
    }
    lab.api.apply(path, manifest)

    def is_finished() -> bool:
        task = lab.api.find(path)
        if task is None:
            return True  # deleted by its time to live
        conditions = task.get("status", {}).get("conditions", [])
        return any(each["status"] != "Unknown" for each in conditions)

    wait_until(is_finished, f"finished: {name}", 90)


def backup(namespace: str, name: str) -> str:
    return f"/apis/onezone.dev/v1alpha1/namespaces/{namespace}/onezonebackups/{name}"


def make_old_backups(lab: Lab, namespace: str) -> None:
    """Two that are over, while there is no zone: until that is said of them they would be taken."""
    for day in (1, 2):
        moment = f"2025-01-0{day}T02:00:00Z"
        manifest = {
            "apiVersion": "onezone.dev/v1alpha1",
            "kind": "OneZoneBackup",
            "metadata": {
                "name": f"old-{day}",
                "namespace": namespace,
                "annotations": {"onezone.dev/scheduled-for": moment},
            },
            "spec": {"zoneRef": {"name": "zone"}, "storage": BACKUPS},
        }
        over = {
            "type": "Succeeded", "status": "True", "reason": "Done", "lastTransitionTime": moment,
        }  # fmt: skip
        path = backup(namespace, f"old-{day}")
        lab.api.apply(path, manifest)
        lab.api.request(
            "PATCH",
            f"{path}/status",
            {"status": {"startedAt": moment, "completedAt": moment, "conditions": [over]}},
            content_type="application/merge-patch+json",
        )


def back_up(lab: Lab, namespace: str) -> None:
    """A backup by schedule is begun; of two that are over, the retention deletes the older."""
    schedule = {"schedule": "0 2 * * *", "storage": BACKUPS, "retention": {"last": 1}}
    lab.declare(
        namespace,
        "zone",
        replicas=1,
        image="example.org/oned:other",
        storage={"size": "20Gi"},
        backup=schedule,
    )
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    wait_until(lambda: lab.api.request("GET", jobs)["items"], "a Job of the backup", 30)
    wait_until(
        lambda: lab.api.find(backup(namespace, "old-1")) is None,
        "gone: the backup that is not kept",
        30,
    )


def enlarge(lab: Lab, namespace: str) -> None:
    """The volume of a zone of one server grows, and then its StatefulSet is made anew."""
    claim = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/data-zone-0"
    stateful_set = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/zone"
    pod = f"/api/v1/namespaces/{namespace}/pods/zone-0"
    before = [lab.api.request("GET", each)["metadata"]["uid"] for each in (stateful_set, pod)]
    lab.run_disks(namespace)
    lab.declare(
        namespace, "zone", replicas=1, image="example.org/oned:other", storage={"size": "20Gi"}
    )

    def asked() -> str:
        spec = lab.api.request("GET", claim)["spec"]
        return str(spec["resources"]["requests"]["storage"])

    wait_until(lambda: asked() == "20Gi", "asked for: a larger volume", 30)
    lab.run_disks(namespace)
    zone = lab.wait_until_steady(namespace, "zone")
    conditions = {each["type"]: each["status"] for each in zone["status"]["conditions"]}
    assert conditions["VolumesInSync"] == "True"
    made = lab.api.request("GET", stateful_set)
    template = made["spec"]["volumeClaimTemplates"][0]["spec"]
    assert template["resources"]["requests"]["storage"] == "20Gi"
    assert made["metadata"]["uid"] != before[0]
    assert lab.api.request("GET", pod)["metadata"]["uid"] == before[1]


def exercise(lab: Lab, namespace: str) -> None:
    """Every kind of work: make a zone, grow, roll, hand over, replace, shrink, back up, repair."""
    lab.make_storage_class("growing-by-default", expandable=True, is_default=True)
    make_old_backups(lab, namespace)
    lab.declare(namespace, "zone", replicas=1)
    lab.wait_until_steady(namespace, "zone")
    lab.declare(namespace, "zone", replicas=3)
    lab.wait_until_steady(namespace, "zone")
    lab.declare(namespace, "zone", replicas=3, image="example.org/oned:other")
    lab.wait_until_steady(namespace, "zone", 90)
    pod = f"/api/v1/namespaces/{namespace}/pods/zone-1"
    for fenced in (["zone-1"], []):
        lab.declare(
            namespace, "zone", replicas=3, image="example.org/oned:other", fencedServers=fenced
        )
        wait_until(lambda: is_marked(lab, pod) == bool(fenced), "marked as declared", 20)  # noqa: B023
    ask(lab, namespace, "hand-over", type="HandOver", ttlSecondsAfterFinished=0)
    ask(lab, namespace, "replace", type="ReplaceServer", server="zone-2")
    lab.wait_until_steady(namespace, "zone", 90)
    lab.declare(namespace, "zone", replicas=1, image="example.org/oned:other")
    lab.wait_until_steady(namespace, "zone")
    enlarge(lab, namespace)
    back_up(lab, namespace)
    network = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/zone"
    for enabled in (True, False):
        lab.declare(
            namespace,
            "zone",
            replicas=1,
            image="example.org/oned:other",
            networkPolicy={"enabled": enabled},
        )
        wait_until(
            lambda: (lab.api.find(network) is not None) == enabled,  # noqa: B023
            "there, or not, as declared: the NetworkPolicy",
            20,
        )
    policy = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/zone"
    lab.api.request("DELETE", policy)
    wait_until(lambda: lab.api.find(policy), "back: the budget", 10)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["namespaced", "clusterwide"])
def test_used_is_what_is_granted(lab: Lab, mode: str):
    namespace = f"roles-{mode}"
    lab.api.make_namespace(namespace)
    objects = render(mode, [namespace] if mode == "namespaced" else [])
    assert any(each["kind"] == "ClusterRole" for each in objects) == (mode == "clusterwide")
    account = install(lab, objects)
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    login = lab.api.kubeconfig(user, token=lab.api.token(SYSTEM, account))
    operator = lab.operator(
        mode,
        kubeconfig=login,
        namespaces=namespace if mode == "namespaced" else "",
        lease_namespace=SYSTEM,
        lease_name=account,
    )
    # A second one stands by: it watches the Lease.
    standby = lab.operator(
        f"{mode}-standby",
        kubeconfig=login,
        namespaces=namespace if mode == "namespaced" else "",
        lease_namespace=SYSTEM,
        lease_name=account,
    )
    try:
        exercise(lab, namespace)
        time.sleep(6)  # longer than a renewal
    finally:
        lab.end(standby)
        lab.end(operator)
    used, refused = used_by(lab, user)
    assert not refused
    unused = granted(objects) - used
    assert unused - ELSEWHERE == NOT_ITS_OWN
    assert used <= granted(objects)
