"""All pods change under a client that writes: one change of leader, no call that fails; a bad image
stops at one pod.
"""

from __future__ import annotations

import clients
import lab
import onezones
import timeouts
from writer import Writer

pytestmark = timeouts.limit(900)

BAD_IMAGE = "onezone/oned:does-not-exist"
PATIENCE_SECONDS = 30
"""How long a roll that stopped is watched: a second pod would be gone long before."""


def test_roll_changes_the_leader_once(namespace: str) -> None:
    """Followers first, the leader last, so that the term grows by one."""
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    with clients.RetryingClient(zone.url(), zone.session()) as client:
        term, before = zone.get()["status"]["term"], uids(zone)
        zone.patch(resources={"requests": {"cpu": "110m", "memory": "128Mi"}})
        lab.wait_until("all pods are new", lambda: not uids(zone) & before, timeouts.ZONE_READY * 2)
        zone.wait_until_ready(3)
        client.first_after(client.done[-1].answered, timeouts.FAILOVER)
        assert zone.get()["status"]["term"] == term + 1
    assert not client.failed
    assert client.longest_gap() <= timeouts.DRAIN_GAP
    client.assert_nothing_lost(zone)


def test_bad_image_stops_at_one_pod(namespace: str) -> None:
    """The zone goes on, and the old image makes it whole again."""
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    with Writer(zone) as writer:
        before, image = uids(zone), zone.get()["spec"].get("image")
        zone.patch(image=BAD_IMAGE)
        lab.wait_until(
            "the first pod is replaced", lambda: len(before - uids(zone)) == 1, timeouts.STEP
        )
        lab.step("watch that no other follows")
        for _ in range(PATIENCE_SECONDS):
            writer.wait_for_write(timeouts.FAILOVER)
            assert len(before - uids(zone)) <= 1
            lab.run("sleep", "1")
        zone.patch(image=image)
        zone.wait_until_ready(3, timeouts.ZONE_READY * 2)
    writer.assert_nothing_lost()


def uids(zone: onezones.Zone) -> set[str]:
    items = lab.kubectl_json(
        "-n", zone.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={zone.name}"
    )["items"]
    return {item["metadata"]["uid"] for item in items}
