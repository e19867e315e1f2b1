"""One situation of a backup, one step: which server, how often, what is said, what is deleted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import ObservedJob
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.reconcile import plan
from onezone_operator.reconcile.backup_status import build_backup_status, judge_backups
from onezone_operator.reconcile.backups import ATTEMPTS_MAX
from onezone_operator.reconcile.steps import (
    CreateBackup,
    CreateJob,
    DeleteBackup,
    Nothing,
    ReportBackup,
    Wait,
)

VOLUME = {"volume": {"claimName": "backups", "path": "front"}}
S3 = {
    "s3": {
        "bucket": "front-end",
        "prefix": "zones",
        "endpoint": "https://s3.example.org",
        "region": "eu-1",
        "credentialsSecretRef": {"name": "s3-keys"},
        "caSecretRef": {"name": "s3-ca"},
    }
}
NIGHTLY = {"schedule": "0 2 * * *", "storage": VOLUME, "retention": {"last": 2}}


def build_backup(name="one", *, created=0, scheduled=None, status=None, **spec):
    spec = {"zoneRef": {"name": "zone"}, **spec}
    moment = (NOW + timedelta(seconds=created)).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {} if scheduled is None else {"onezone.dev/scheduled-for": scheduled}
    return OneZoneBackup.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "front",
                "uid": f"uid-{name}-0123456789",
                "generation": 1,
                "creationTimestamp": moment,
                "annotations": annotations,
            },
            "spec": spec,
            "status": status or {},
        }
    )


def build_taken(name, moment, *, good=True, verified=True, **spec):
    """A scheduled backup that is over."""
    condition = {
        "type": "Succeeded",
        "status": "True" if good else "False",
        "reason": "Done",
        "lastTransitionTime": moment,
    }
    status = {
        "startedAt": moment,
        "completedAt": moment,
        "location": f"file:///backups/zone/{name}.bck",
        "storage": VOLUME,
        "verified": verified,
        "message": "no space left" if not good else "",
        "conditions": [condition],
    }
    return build_backup(name, scheduled=moment, status=status, deletionPolicy="Delete", **spec)


def decide(*backups, jobs=(), zone=None, servers=3, now=NOW, **changes):
    zone = zone or build_zone(replicas=servers)
    observed = build_observed(zone, servers, backups=backups, jobs=jobs, **changes)
    return plan(zone, observed, now)


def begun(backup, **kinds):
    """The backup after the step that begins it."""
    step = decide(backup, **kinds)
    assert isinstance(step, ReportBackup)
    return backup.model_copy(update={"status": step.status})


def job(backup, state, *, attempt=1, said="", kind="take", **fields):
    name = f"{backup.name}-{kind}-{attempt}" if kind == "take" else f"{backup.name}-drop"
    return ObservedJob(name, backup.uid, state, outcome=said, **fields)


REPORT = json.dumps(
    {"sha256": "ab" * 32, "size": 7, "index": 9, "zone_uuid": "u", "verified": True}
)


# --- taking one ----------------------------------------------------------------------------


def test_nothing_is_done_without_backups():
    assert isinstance(decide(), Nothing)


def test_server_and_place_are_noted_before_the_job():
    backup = build_backup(storage=VOLUME)
    status = begun(backup).status
    assert (status.server, status.attempts) == ("zone-1", 1)
    assert status.location == "file:///backups/front/zone/one-uid-one-.bck"
    step = decide(begun(backup))
    assert isinstance(step, CreateJob)
    assert step.manifest["metadata"]["name"] == "one-take-1"


def test_the_follower_with_the_least_lag_is_taken():
    reports = build_reports(3)
    leader = reports["zone-0"]
    lagging = tuple(
        replace(each, lag=500) if each.name == "zone-1" else each for each in leader.members
    )
    reports["zone-0"] = replace(leader, members=lagging)
    assert begun(build_backup(storage=VOLUME), reports=reports).status.server == "zone-2"


def test_a_follower_that_is_not_ready_is_not_taken():
    pods = (build_pod(0), build_pod(1, ready=False), build_pod(2))
    assert begun(build_backup(storage=VOLUME), pods=pods).status.server == "zone-2"


def test_the_leader_is_taken_only_when_it_is_alone():
    assert begun(build_backup(storage=VOLUME), servers=1).status.server == "zone-0"


def test_without_a_quorum_it_waits_and_says_why():
    reports = build_reports(3, leader=None, silent=(1, 2))
    step = decide(build_backup(storage=VOLUME), reports=reports)
    assert isinstance(step, ReportBackup)
    assert step.status.message == "Waiting for a leader: the zone is NoQuorum"
    assert not step.status.started_at
    told = build_backup(storage=VOLUME).model_copy(update={"status": step.status})
    assert isinstance(decide(told, reports=reports), Wait)


def test_storage_is_the_zones_unless_the_backup_has_one():
    zone = build_zone(backup={"storage": S3})
    status = begun(build_backup(), zone=zone).status
    assert status.location == "s3://front-end/zones/zone/one-uid-one-.bck"
    assert begun(build_backup(storage=VOLUME), zone=zone).status.storage.volume is not None


def test_without_a_storage_it_fails():
    step = decide(build_backup())
    assert isinstance(step, ReportBackup)
    assert step.status.outcome.reason == "NoStorage"


def test_one_at_a_time_and_the_oldest_first():
    older, newer = build_backup("b", storage=VOLUME), build_backup("a", created=5, storage=VOLUME)
    step = decide(newer, older)
    assert isinstance(step, ReportBackup)
    assert step.backup.name == "b"
    running = begun(newer)
    step = decide(older, running)
    assert isinstance(step, CreateJob)
    assert step.manifest["metadata"]["name"] == "a-take-1"


def test_while_a_job_runs_the_plan_goes_on():
    backup = begun(build_backup(storage=VOLUME))
    assert isinstance(decide(backup, jobs=(job(backup, "Running"),)), Nothing)


def test_what_keeps_the_jobs_pod_from_running_is_said():
    backup = begun(build_backup(storage=VOLUME))
    step = decide(backup, jobs=(job(backup, "Running", trouble='secret "s3-keys" not found'),))
    assert isinstance(step, ReportBackup)
    assert "s3-keys" in step.status.message


def test_success_is_what_the_program_reported():
    backup = begun(build_backup(storage=VOLUME))
    step = decide(backup, jobs=(job(backup, "Succeeded", said=REPORT),))
    assert isinstance(step, ReportBackup)
    status = step.status
    assert status.outcome.status == "True"
    assert (status.index, status.size, status.verified) == (9, 7, True)
    over = backup.model_copy(update={"status": status})
    assert isinstance(decide(over, jobs=(job(backup, "Succeeded", said=REPORT),)), Nothing)


@pytest.mark.parametrize(
    ("state", "said", "reason"),
    [
        ("Failed", '{"error": "no space left"}', "no space left"),
        ("Failed", "", "DeadlineExceeded"),
        ("Succeeded", "", "not known"),
        ("Succeeded", "Traceback", "Traceback"),
    ],
)
def test_a_failed_attempt_is_repeated_with_another_server(state, said, reason):
    backup = begun(build_backup(storage=VOLUME))
    fault = "DeadlineExceeded" if state == "Failed" else ""
    step = decide(backup, jobs=(job(backup, state, said=said, reason=fault),))
    assert isinstance(step, ReportBackup)
    assert (step.status.attempts, step.status.server, step.status.tried) == (
        2,
        "zone-2",
        ["zone-1"],
    )
    assert reason in step.status.message


def test_attempts_are_bounded():
    backup = begun(build_backup(storage=VOLUME))
    for attempt in range(1, ATTEMPTS_MAX + 1):
        step = decide(backup, jobs=(job(backup, "Failed", attempt=attempt, said="no"),))
        assert isinstance(step, ReportBackup)
        backup = backup.model_copy(update={"status": step.status})
    assert backup.is_finished
    assert not backup.has_succeeded
    assert isinstance(decide(backup), Nothing)


def test_jobs_of_an_earlier_backup_of_the_name_do_not_count():
    backup = begun(build_backup(storage=VOLUME))
    foreign = replace(job(backup, "Succeeded", said=REPORT), backup="another")
    assert isinstance(decide(backup, jobs=(foreign,)), CreateJob)


def test_backups_of_other_zones_are_left_alone():
    assert isinstance(decide(build_backup(storage=VOLUME, zoneRef={"name": "other"})), Nothing)


# --- the Job -------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", [VOLUME, S3], ids=["volume", "s3"])
def test_the_jobs_pod_is_confined_and_no_server(storage):
    step = decide(begun(build_backup(storage=storage)))
    template = step.manifest["spec"]["template"]
    spec, labels = template["spec"], template["metadata"]["labels"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    selector = build_zone().name
    assert "onezone.dev/zone" not in labels
    assert labels.get("app.kubernetes.io/instance") != selector
    assert "http://zone-1.zone-servers.front.svc:2633/RPC2" in container["command"]
    assert "--verify" in container["command"]
    # A network that heeds policies has not heard of a pod that has just started.
    assert {"name": "ONE_REACH_SECONDS", "value": "15"} in container["env"]


def test_keys_come_from_their_secret():
    step = decide(begun(build_backup(storage=S3)))
    (container,) = step.manifest["spec"]["template"]["spec"]["containers"]
    found = {each["name"]: each for each in container["env"]}
    reference = {"name": "s3-keys", "key": "AWS_SECRET_ACCESS_KEY"}
    assert found["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == reference
    assert found["AWS_ENDPOINT_URL"]["value"] == "https://s3.example.org"
    assert found["AWS_CA_BUNDLE"]["value"] == "/etc/one/s3/ca.crt"


def test_a_backup_that_needs_no_server_started_is_not_verified():
    step = decide(begun(build_backup(storage=VOLUME, verify=False)))
    (container,) = step.manifest["spec"]["template"]["spec"]["containers"]
    assert "--verify" not in container["command"]


# --- schedule and retention ----------------------------------------------------------------


def test_a_backup_is_made_for_the_latest_time_alone():
    zone = build_zone(backup=NIGHTLY)
    step = decide(build_taken("old", "2026-02-20T02:00:00Z"), zone=zone)
    assert isinstance(step, CreateBackup)
    assert step.manifest["metadata"]["name"] == "zone-202603010200"
    assert "ownerReferences" not in step.manifest["metadata"]
    again = build_backup("zone-202603010200", scheduled="2026-03-01T02:00:00Z", storage=VOLUME)
    assert isinstance(decide(again, zone=zone), ReportBackup)


def test_what_was_made_and_deleted_is_not_made_again():
    status = {"backup": {"lastScheduledTime": "2026-03-01T02:00:00Z"}}
    zone = build_zone(backup=NIGHTLY, status=status)
    assert isinstance(decide(zone=zone), Nothing)


def test_none_is_made_while_suspended_or_unreadable():
    for change in ({"suspend": True}, {"schedule": "61 * * * *"}, {"timeZone": "Nowhere/Else"}):
        zone = build_zone(backup={**NIGHTLY, **change})
        assert isinstance(decide(zone=zone), Nothing)


def nights(*days, **kinds):
    return [build_taken(f"n{day}", f"2026-02-{day}T02:00:00Z", **kinds) for day in days]


def scheduled_zone(**changes):
    status = {"backup": {"lastScheduledTime": "2026-03-01T02:00:00Z"}}
    return build_zone(backup={**NIGHTLY, **changes}, status=status)


def test_the_file_goes_before_its_backup():
    backups = nights(25, 26, 27, 28)
    zone = scheduled_zone()
    step = decide(*backups, zone=zone)
    assert isinstance(step, CreateJob)
    (container,) = step.manifest["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["onedb", "backup-delete", "file:///backups/zone/n25.bck"]
    oldest = backups[0]
    running = decide(*backups, zone=zone, jobs=(job(oldest, "Running", kind="drop"),))
    assert isinstance(running, Nothing)
    gone = decide(*backups, zone=zone, jobs=(job(oldest, "Succeeded", kind="drop"),))
    assert gone == DeleteBackup("n25", oldest.uid)


def test_a_file_that_cannot_be_deleted_holds_up_no_other():
    backups = nights(25, 26, 27, 28)
    step = decide(*backups, zone=scheduled_zone(), jobs=(job(backups[0], "Failed", kind="drop"),))
    assert isinstance(step, CreateJob)
    assert step.manifest["metadata"]["name"] == "n26-drop"


def test_backups_that_users_made_are_never_deleted():
    taken = [each.model_copy(update={"metadata": each.metadata.model_copy(
        update={"annotations": {}})}) for each in nights(24, 25, 26, 27, 28)]  # fmt: skip
    assert isinstance(decide(*taken, zone=scheduled_zone()), Nothing)


# --- what is said of it --------------------------------------------------------------------


def verdict(*backups, zone=None, now=NOW):
    zone = zone or scheduled_zone()
    return judge_backups(zone, build_observed(zone, backups=backups), now)


def test_fresh_stale_failing_and_none():
    good = build_taken("good", "2026-03-01T02:00:00Z")
    assert (verdict(good).status, verdict(good).reason) == ("True", "Fresh")
    assert verdict().reason == "NoBackup"
    late = verdict(good, now=NOW + timedelta(days=2))
    assert (late.status, late.reason) == ("False", "Stale")
    bad = build_taken("bad", "2026-03-01T02:00:00Z", good=False)
    found = verdict(build_taken("good", "2026-02-28T02:00:00Z"), bad)
    assert (found.status, found.reason) == ("False", "Failing")
    assert "no space left" in found.message


def test_not_configured_suspended_and_bad_schedule():
    assert verdict(zone=build_zone()).reason == "NotConfigured"
    assert verdict(zone=scheduled_zone(suspend=True)).reason == "Suspended"
    assert verdict(zone=scheduled_zone(schedule="61 * * * *")).reason == "BadSchedule"


def test_status_has_the_newest_the_verified_and_the_next():
    zone = scheduled_zone()
    backups = (*nights(26, 27), build_taken("n28", "2026-02-28T02:00:00Z", verified=False))
    found = build_backup_status(zone, build_observed(zone, backups=backups), NOW)
    assert found.last_successful == "n28"
    assert found.last_successful_time == "2026-02-28T02:00:00Z"
    assert found.last_verified_time == "2026-02-27T02:00:00Z"
    assert found.next_time == "2026-03-02T02:00:00Z"
    assert found.failures == 0
    assert build_backup_status(build_zone(), build_observed(build_zone()), NOW) is None
