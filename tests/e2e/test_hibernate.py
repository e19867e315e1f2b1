"""A zone sleeps with its volumes kept and is not called ill, and wakes with every write."""

from __future__ import annotations

import lab
import onezones
import timeouts
from writer import Writer

pytestmark = timeouts.limit(600)


def test_zone_sleeps_and_wakes(namespace: str) -> None:
    """No pod is left and no volume is lost, though volumes of removed servers are deleted."""
    manifest = onezones.example("three-servers")
    policy = {"whenScaled": "Delete"}
    manifest["spec"].setdefault("storage", {})["persistentVolumeClaimRetentionPolicy"] = policy
    zone = onezones.make(namespace, manifest, 3)
    with Writer(zone) as writer:
        writer.wait_for_writes(20, timeouts.FAILOVER)
        writer.stop()
    claims = volumes(zone)
    lab.step("hibernate")
    zone.patch(hibernated=True)
    lab.wait_until(
        "the zone sleeps", lambda: condition(zone, "Hibernated") == "True", timeouts.STEP * 3
    )
    assert not zone.pods()
    assert volumes(zone) == claims
    assert condition(zone, "Degraded") == "False"
    lab.step("wake")
    zone.patch(hibernated=False)
    zone.wait_until_ready(3)
    assert volumes(zone) == claims
    writer.assert_nothing_lost()


def volumes(zone: onezones.Zone) -> set[str]:
    items = lab.kubectl_json(
        "-n", zone.namespace, "get", "pvc", "-l", f"app.kubernetes.io/instance={zone.name}"
    )["items"]
    return {item["metadata"]["uid"] for item in items}


def condition(zone: onezones.Zone, kind: str) -> str:
    found = {each["type"]: each["status"] for each in zone.get()["status"]["conditions"]}
    return str(found[kind])
