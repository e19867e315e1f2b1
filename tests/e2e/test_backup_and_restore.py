"""A backup that is taken under writes holds what was acknowledged before, and a new zone begins
with it.
"""

from __future__ import annotations

import copy
from typing import Any

import lab
import onezones
import timeouts
from onezonebackups import CLAIM, STORAGE, backup, wait_until_taken
from writer import Writer

pytestmark = timeouts.limit(900)


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    found = copy.deepcopy(onezones.example("three-servers"))
    found["metadata"]["name"] = name
    found["spec"] |= spec
    return found


def test_a_new_zone_begins_with_a_backup_of_one_that_is_gone(namespace: str) -> None:
    """From a follower, under a writing client; the first zone and its volumes are deleted."""
    lab.apply(CLAIM, "-n", namespace)
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    storage = {"size": "1Gi", "persistentVolumeClaimRetentionPolicy": policy}
    zone = onezones.make(namespace, manifest("first", storage=storage), 3)
    leader = zone.leader()
    with Writer(zone) as writer:
        writer.wait_for_writes(100, timeouts.FAILOVER)
        before = dict(writer.acknowledged)
        lab.apply(
            {
                "apiVersion": "onezone.dev/v1alpha1",
                "kind": "OneZoneBackup",
                "metadata": {"name": "now"},
                "spec": {"zoneRef": {"name": "first"}, "storage": STORAGE},
            },
            "-n", namespace,
        )  # fmt: skip
        status = wait_until_taken(namespace, "now")
        writer.wait_for_writes(10, timeouts.FAILOVER)
    assert status["verified"] is True
    if zone.leader() == leader:
        assert status["server"] != leader
    lab.kubectl("-n", namespace, "delete", "onezone", "first", "--wait", seconds=timeouts.DELETED)

    def is_gone() -> bool:
        left = lab.kubectl(
            "-n", namespace, "get", "pods,pvc", "-l", "onezone.dev/zone=first", "-o", "name"
        )
        return not left.split()

    lab.wait_until("the first zone and its volumes are gone", is_gone, timeouts.DELETED)
    restore = {"restore": {"backupRef": {"name": "now"}}}
    again = onezones.make(namespace, manifest("second", bootstrap=restore), 3)
    for server in again.pods():
        held = again.documents(server)
        assert before.items() <= held.items(), f"{server} lacks acknowledged writes"
    # It is a zone like any other, with a password of its own.
    with Writer(again) as writer:
        writer.wait_for_writes(20, timeouts.FAILOVER)
    writer.assert_nothing_lost()


def test_a_schedule_takes_its_first_backup_at_once(namespace: str) -> None:
    """And the condition, the status and the file's folder say so."""
    lab.apply(CLAIM, "-n", namespace)
    schedule = {"schedule": "0 2 * * *", "storage": STORAGE, "retention": {"last": 1}}
    zone = onezones.make(namespace, manifest("nightly", backup=schedule), 1)

    def condition() -> str:
        found = zone.get()["status"]["conditions"]
        (ready,) = [each for each in found if each["type"] == "BackupReady"]
        return str(ready["reason"])

    lab.wait_until("the backup is fresh", lambda: condition() == "Fresh", timeouts.BACKUP)
    status = zone.get()["status"]["backup"]
    found = backup(namespace, status["lastSuccessful"])["status"]
    assert found["location"].startswith("file:///backups/nightly/nightly-")
    assert found["server"] == "nightly-0"
    assert status["nextTime"] > status["lastSuccessfulTime"]
