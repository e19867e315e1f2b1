"""OneZoneTasks: what a user has done with a zone is done, or says why not, while clients write."""

from __future__ import annotations

import json
from typing import Any

import lab
import onezones
import pytest
import timeouts
from writer import Writer

pytestmark = timeouts.limit(600)


class Task:
    """One OneZoneTask of a zone."""

    def __init__(self, zone: onezones.Zone, name: str, **spec: Any) -> None:
        self.zone, self.name = zone, name
        self._where = ("-n", zone.namespace)
        lab.apply(
            {
                "apiVersion": "onezone.dev/v1alpha1",
                "kind": "OneZoneTask",
                "metadata": {"name": name},
                "spec": {"zoneRef": {"name": zone.name}, **spec},
            },
            *self._where,
        )

    def status(self) -> dict[str, Any]:
        found = lab.kubectl_json(*self._where, "get", "onezonetask", self.name)
        return dict(found.get("status") or {})

    def confirm(self) -> None:
        lab.kubectl(
            *self._where, "patch", "onezonetask", self.name, "--type=merge",
            "-p", json.dumps({"spec": {"confirm": True}}),
        )  # fmt: skip

    def outcome(self) -> str:
        conditions = self.status().get("conditions") or [{}]
        return str(conditions[0].get("status", ""))

    def wait_until_over(self, seconds: float) -> str:
        """Wait until it succeeded; its last message."""
        seen: set[str] = set()

        def is_over() -> bool:
            message = str(self.status().get("message"))
            if message not in seen:
                seen.add(message)
                lab.step(f"  {self.name}: {message}")
            return self.outcome() in {"True", "False"}

        lab.wait_until(f"task {self.name} is over", is_over, seconds)
        message = str(self.status()["message"])
        assert self.outcome() == "True", message
        return message

    def delete(self) -> None:
        lab.kubectl(*self._where, "delete", "onezonetask", self.name)


def members(zone: onezones.Zone) -> dict[str, int]:
    told = zone.server_status(zone.leader())["members"]
    return {member["name"]: member["id"] for member in told}


def claim_uid(zone: onezones.Zone, server: str) -> str:
    found = lab.kubectl_json("-n", zone.namespace, "get", "pvc", f"data-{server}")
    return str(found["metadata"]["uid"])


def test_leadership_goes_where_a_task_says(zone: onezones.Zone, writer: Writer) -> None:
    """The named server leads, and a writing client sees a short pause and no lost write."""
    wanted = zone.follower()
    task = Task(zone, "to-another", type="HandOver", server=wanted)
    message = task.wait_until_over(timeouts.STEP)
    assert message == f"{wanted} leads"
    assert zone.leader() == wanted
    zone.wait_until_routed_to(wanted)
    writer.wait_for_writes(20, timeouts.FAILOVER)
    lab.step(f"  hand-over: longest gap between two writes {writer.longest_gap * 1000:.0f} ms")
    assert writer.longest_gap <= timeouts.HAND_OVER
    writer.assert_nothing_lost()
    task.delete()


def test_the_middle_server_is_replaced_under_load(zone: onezones.Zone, writer: Writer) -> None:
    """Not the highest one: it gets a new volume and a new id under its old name."""
    server = f"{zone.name}-1"
    before, claim = members(zone), claim_uid(zone, server)
    disk = zone.server_status(server)["disk"]
    task = Task(zone, "new-disk", type="ReplaceServer", server=server)
    task.wait_until_over(timeouts.SERVER_BACK)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    after = members(zone)
    assert after[server] > max(before.values())
    others = {name: number for name, number in before.items() if name != server}
    assert others.items() <= after.items()
    assert set(after) == set(before)
    assert claim_uid(zone, server) != claim
    assert zone.server_status(server)["disk"] != disk
    assert writer.longest_gap <= timeouts.FAILOVER
    writer.assert_nothing_lost()
    task.delete()


def test_a_zone_goes_on_after_most_of_its_volumes_were_lost(namespace: str) -> None:
    """It is shown what would be lost, nothing is done unasked, and what was left is all there."""
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    survivor = f"{zone.name}-1"
    with Writer(zone) as writer:
        writer.wait_for_writes(50, timeouts.FAILOVER * 2)
        writer.stop()

        def has_all() -> bool:
            return writer.acknowledged.items() <= zone.documents(survivor).items()

        # What is on the survivor must not depend on which majority acknowledged the last write.
        lab.wait_until(f"{survivor} has every write", has_all, timeouts.CATCH_UP)
    for server in (f"{zone.name}-0", f"{zone.name}-2"):
        lab.kubectl("-n", namespace, "delete", "pvc", f"data-{server}", "--wait=false")
    for server in (f"{zone.name}-0", f"{zone.name}-2"):
        lab.kubectl("-n", namespace, "delete", "pod", server, "--force", "--grace-period=0")
    task = Task(zone, "rescue", type="RecoverQuorum")
    # It is taken back while it is not certain, for one pass, that there is no quorum.
    preview = " ".join(
        lab.wait_until(
            "the task tells what it would do", lambda: task.status().get("preview"), timeouts.STEP
        )
    )
    assert f"{survivor} begins the zone anew" in preview
    assert "are lost" in preview
    assert "startedAt" not in task.status()
    task.confirm()
    task.wait_until_over(timeouts.SERVER_BACK * 2)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    with Writer(zone) as again:
        again.wait_for_writes(20, timeouts.FAILOVER)
        again.assert_nothing_lost()
    writer.assert_nothing_lost()


BAD = {
    "no zone": ({"type": "HandOver"}, "spec.zoneRef"),
    "no type": ({"zoneRef": {"name": "zone"}}, "spec.type"),
    "unknown type": ({"type": "Explode"}, "supported values"),
    "nobody to replace": ({"type": "ReplaceServer"}, "needs server"),
    "no backup": ({"type": "Restore"}, "one of backupRef and location"),
    "two backups": (
        {"type": "Restore", "location": "s3://b/z.bck", "backupRef": {"name": "b"}},
        "one of backupRef and location",
    ),
    "a backup of no use": (
        {"type": "HandOver", "location": "s3://b/z.bck"},
        "belong to type Restore",
    ),
    "a location of no kind": ({"type": "Restore", "location": "ftp://b/z.bck"}, "spec.location"),
}


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_a_task_that_makes_no_sense_is_refused(
    zone: onezones.Zone, spec: dict[str, Any], message: str
) -> None:
    """The API server says which field, and what is allowed."""
    reference = {} if "zoneRef" in message else {"zoneRef": {"name": zone.name}}
    manifest = {
        "apiVersion": "onezone.dev/v1alpha1",
        "kind": "OneZoneTask",
        "metadata": {"name": "refused", "namespace": zone.namespace},
        "spec": {**reference, **spec},
    }
    assert message in lab.refused(manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"server": "zone-1"}, "server cannot be changed"),
        ({"type": "HandOver"}, "type cannot be changed"),
        ({"zoneRef": {"name": "another"}}, "zoneRef cannot be changed"),
        ({"ttlSecondsAfterFinished": 1}, "ttlSecondsAfterFinished cannot be changed"),
        ({"confirm": False}, "confirm cannot be taken back"),
    ],
)
def test_a_task_stays_what_it_was_made_as(
    zone: onezones.Zone, change: dict[str, Any], message: str
) -> None:
    """Only spec.confirm can be changed, and only once."""
    task = Task(zone, "fixed", type="RecoverQuorum", confirm=True)
    manifest = {
        "apiVersion": "onezone.dev/v1alpha1",
        "kind": "OneZoneTask",
        "metadata": {"name": "fixed", "namespace": zone.namespace},
        "spec": {
            "zoneRef": {"name": zone.name},
            "type": "RecoverQuorum",
            "confirm": True,
            **change,
        },
    }
    try:
        assert message in lab.refused(manifest)
    finally:
        task.delete()


def test_a_task_that_cannot_be_done_says_why(zone: onezones.Zone) -> None:
    """It fails, or waits, and the zone stays as it is."""
    before = members(zone)
    stranger = Task(zone, "stranger", type="ReplaceServer", server="other-0")
    lab.wait_until("the task failed", lambda: stranger.outcome() == "False", timeouts.STEP)
    assert "is no server of this zone" in stranger.status()["message"]
    healthy = Task(zone, "needless", type="RecoverQuorum", confirm=True)
    lab.wait_until("the task failed", lambda: healthy.outcome() == "False", timeouts.STEP)
    assert members(zone) == before
    stranger.delete()
    healthy.delete()
