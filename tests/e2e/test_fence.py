"""A fenced leader takes no part while its pod stays, and takes part again when it may."""

from __future__ import annotations

import lab
import onezones
import timeouts
from writer import Writer

pytestmark = timeouts.limit(600)


def test_leader_is_fenced_and_comes_back(namespace: str) -> None:
    """Writes go on without it; one server more is refused, since it would cost the quorum."""
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    with Writer(zone) as writer:
        leader, follower = zone.leader(), zone.follower()
        uid = pod(zone, leader)["metadata"]["uid"]
        lab.step(f"fence {leader}, which leads")
        zone.patch(fencedServers=[leader])
        lab.wait_until(
            f"{leader} is fenced",
            lambda: zone.server_status(leader)["state"] == "fenced",
            timeouts.STEP,
        )
        writer.wait_for_writes(20, timeouts.FAILOVER)
        lab.step("a second one is refused")
        zone.patch(fencedServers=[leader, follower])
        lab.wait_until(
            "the zone tells why",
            lambda: zone.get()["status"]["plan"].get("waitingFor") == "FenceRefused",
            timeouts.STEP,
        )
        assert zone.server_status(follower)["state"] != "fenced"
        zone.patch(fencedServers=[])
        zone.wait_until_ready(3, timeouts.STEP * 3)
        assert pod(zone, leader)["metadata"]["uid"] == uid
    writer.assert_nothing_lost()


def pod(zone: onezones.Zone, name: str) -> dict:
    found: dict = lab.kubectl_json("-n", zone.namespace, "get", "pod", name)
    return found
