"""spec.bootstrap.restore: who founds the zone, from what, and that nobody does so twice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from operator_facts import NOW, UUID, build_observed, build_zone
from test_backups import S3, VOLUME, build_backup, build_taken

from oned import founding
from onezone_operator.models.observed import (
    ObservedAuthority,
    ObservedStatefulSet,
    ObservedVolume,
    ObservedZone,
)
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.reconcile import plan
from onezone_operator.reconcile.founding import Founding
from onezone_operator.reconcile.restore import founding_text, restore_storage
from onezone_operator.reconcile.sources import source_of_task
from onezone_operator.reconcile.steps import ApplyObjects, CreateAuthority, Wait

LOCATION = "file:///backups/front/zone/one.bck"
NEW = {"bootstrapped": False, "zoneUUID": None}


def build_new(**restore):
    restore = restore or {"location": LOCATION, "storage": VOLUME}
    return build_zone(replicas=3, status=NEW, bootstrap={"restore": restore})


def build_begun(zone, **changes):
    """The zone has its secrets, and no object yet."""
    observed = build_observed(zone, 1, reports={}, **changes)
    authority = ObservedAuthority(UUID, False, "fingerprint")
    return replace(
        observed, authority=authority, pods=(), statefulset=ObservedStatefulSet(1, "n", True)
    )


def with_founding(observed, text):
    key = ("ConfigMap", "zone-config")
    data = {**observed.objects[key]["data"], "founding": text}
    return replace(
        observed, objects={**observed.objects, key: {**observed.objects[key], "data": data}}
    )


def test_the_first_server_begins_with_the_backup_and_makes_no_empty_zone():
    zone = build_new()
    step = plan(zone, build_begun(zone), NOW)
    assert isinstance(step, ApplyObjects)
    written = {each["kind"]: each for each in step.manifests}
    data = written["ConfigMap"]["data"]
    assert data["bootstrap"] == ""
    assert json.loads(data["founding"]) == {
        "id": zone.metadata.uid,
        "server": "zone-0",
        "source": LOCATION,
    }
    spec = written["StatefulSet"]["spec"]["template"]["spec"]
    (first,) = spec["initContainers"]
    mount = {"name": "backups", "mountPath": "/backups", "readOnly": True}
    assert mount in first["volumeMounts"]
    assert mount not in spec["containers"][0]["volumeMounts"]


def test_keys_of_a_bucket_are_given_to_the_preparation_alone():
    zone = build_new(location="s3://front-end/zone/one.bck", storage=S3)
    step = plan(zone, build_begun(zone), NOW)
    spec = {each["kind"]: each for each in step.manifests}["StatefulSet"]["spec"]["template"][
        "spec"
    ]
    names = {each["name"] for each in spec["initContainers"][0]["env"]}
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} <= names
    assert not any(each["name"].startswith("AWS") for each in spec["containers"][0]["env"])


def test_once_the_zone_exists_nobody_founds_it_and_the_storage_is_let_go():
    zone = build_new()
    before = Founding(zone.metadata.uid, "zone-0", LOCATION)
    observed = with_founding(build_begun(zone), before.text())
    made = replace(observed, authority=ObservedAuthority(UUID, True, "fingerprint"))
    assert founding_text(zone, made) == replace(before, server="").text()
    assert restore_storage(zone, observed) is not None
    assert restore_storage(zone, made) is None


def test_a_zone_that_exists_is_not_touched_by_its_bootstrap():
    zone = build_zone(bootstrap={"restore": {"location": LOCATION, "storage": VOLUME}})
    assert founding_text(zone, build_observed(zone)) == ""


def test_what_a_task_wrote_stays():
    zone = build_zone()
    text = Founding("task", "zone-1", None).text()
    assert founding_text(zone, with_founding(build_observed(zone), text)) == text


def test_a_backup_that_is_missing_is_waited_for_before_anything_is_made():
    zone = build_new(backupRef={"name": "one"})
    step = plan(zone, ObservedZone(), NOW)
    assert isinstance(step, Wait)
    assert step.reason == "BackupMissing"
    unfinished = build_backup("one", storage=VOLUME, zoneRef={"name": "old"})
    assert plan(zone, ObservedZone(backups=(unfinished,)), NOW) == step
    taken = build_taken("one", "2026-02-01T02:00:00Z", zoneRef={"name": "old"})
    assert isinstance(plan(zone, ObservedZone(backups=(taken,)), NOW), CreateAuthority)


def test_a_backup_reference_brings_its_location_and_storage():
    zone = build_new(backupRef={"name": "one"})
    taken = build_taken("one", "2026-02-01T02:00:00Z", zoneRef={"name": "old"})
    observed = build_begun(zone, backups=(taken,))
    assert json.loads(founding_text(zone, observed))["source"] == taken.status.location
    assert restore_storage(zone, observed) == taken.status.storage


def test_volumes_of_an_earlier_zone_are_not_replaced():
    volume = ObservedVolume("data-zone-0", zone_uuid=UUID)
    step = plan(build_new(), ObservedZone(volumes=(volume,)), NOW)
    assert isinstance(step, Wait)
    assert step.reason == "VolumesKept"


@pytest.mark.parametrize("server", ["zone-0", "zone-1", ""])
@pytest.mark.parametrize("source", [LOCATION, None])
def test_the_daemon_reads_what_the_operator_writes(server, source):
    found = founding.parse(Founding("7f0c-uid", server, source).text())
    assert found is not None
    assert (found.id, found.server, found.source) == ("7f0c-uid", server, source)
    # Whoever is not named makes way, also when nobody is named any more.
    task = founding.decide(found, done="", server="zone-2")
    assert task is founding.Task.MAKE_WAY


def build_task(**spec):
    return OneZoneTask.model_validate(
        {
            "metadata": {"name": "back", "namespace": "front", "uid": "uid-back"},
            "spec": {"zoneRef": {"name": "zone"}, "type": "Restore", "confirm": True, **spec},
            "status": {"startedAt": "2026-03-01T11:59:00Z", "server": "zone-0"},
        }
    )


def test_a_task_restores_from_a_backup_and_its_storage():
    zone = build_zone()
    taken = build_taken("one", "2026-02-01T02:00:00Z")
    task = build_task(backupRef={"name": "one"})
    observed = build_observed(zone, backups=(taken,), tasks=(task,))
    assert source_of_task(zone, observed, task).location == taken.status.location
    assert restore_storage(zone, observed) == taken.status.storage
    assert source_of_task(zone, replace(observed, backups=()), task) is None


@pytest.mark.parametrize(
    ("location", "storage"),
    [("s3://front-end/zone/one.bck", S3), ("file:///backups/zone/one.bck", VOLUME)],
)
def test_a_tasks_location_is_looked_for_in_the_zones_own_storage(location, storage):
    task = build_task(location=location)
    zone = build_zone(backup={"storage": storage})
    observed = build_observed(zone, tasks=(task,))
    assert source_of_task(zone, observed, task).storage == zone.spec.backup.storage
    other = build_zone(backup={"storage": VOLUME if storage is S3 else S3})
    assert source_of_task(other, observed, task).storage is None
