"""OneZoneBackups: the next step of taking one, of the zone's schedule, and of its retention.

One backup of a zone is taken at a time, the oldest first. What an attempt was begun with is in the
backup's status before its Job is made, so that the facts tell at any moment what is done already.
No step here waits: the rest of the plan goes on while a Job runs.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import ObservedJob, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.request import SUCCEEDED
from onezone_operator.models.status import Condition
from onezone_operator.naming import backup_job_name, delete_job_name
from onezone_operator.reconcile.quorum import Diagnosis
from onezone_operator.reconcile.schedule import find_expired, read_calendar
from onezone_operator.reconcile.steps import (
    CreateBackup,
    CreateJob,
    DeleteBackup,
    ReportBackup,
    Step,
)
from onezone_operator.resources.backup_job import (
    build_backup_job,
    build_delete_job,
    build_scheduled_backup,
)
from onezone_operator.resources.storages import file_location

__all__ = ["ATTEMPTS_MAX", "active_backup", "plan_backups", "plan_waiting_backup", "zone_backups"]

ATTEMPTS_MAX = 3
"""Jobs that one backup is tried with, each on another server if there is one."""

_MESSAGE_MAX = 1024
_SHA256_LENGTH = 64


def zone_backups(zone: OneZone, observed: ObservedZone) -> tuple[OneZoneBackup, ...]:
    """The zone's own backups, the oldest first; the facts may hold one of another zone."""
    return tuple(each for each in observed.backups if each.zone == zone.name)


def active_backup(zone: OneZone, observed: ObservedZone) -> OneZoneBackup | None:
    """The backup that is taken now: one that was begun, else the oldest."""
    open_ones = [
        each
        for each in zone_backups(zone, observed)
        if not each.is_finished and each.metadata.deletion_timestamp is None
    ]
    begun = [each for each in open_ones if each.is_started]
    return min(begun or open_ones, key=lambda each: each.order, default=None)


def plan_waiting_backup(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """Say why no backup is begun while there is no leader with a quorum."""
    backup = active_backup(zone, observed)
    if diagnosis.is_quorate or backup is None or backup.is_started:
        return None
    message = f"Waiting for a leader: the zone is {diagnosis.health}"
    return _told(backup, "Waiting", message, now)


def plan_backups(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """The next step for backups. Only to be called with a quorum; None when there is none."""
    return (
        _plan_taking(zone, observed, diagnosis, now)
        or _plan_schedule(zone, observed, now)
        or _plan_retention(zone, observed)
    )


# --- taking one ----------------------------------------------------------------------------


def _plan_taking(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    backup = active_backup(zone, observed)
    if backup is None:
        return None
    if not backup.is_started:
        return _begin(zone, observed, diagnosis, backup, now)
    name = backup_job_name(backup.name, backup.status.attempts)
    job = observed.job(name, backup.uid)
    if job is None:
        assert backup.status.server is not None
        assert backup.status.storage is not None
        assert backup.status.location is not None
        manifest = build_backup_job(
            zone,
            backup,
            attempt=backup.status.attempts,
            server=backup.status.server,
            storage=backup.status.storage,
            location=backup.status.location,
        )
        return CreateJob(manifest, f"taking backup {backup.name} from {backup.status.server}")
    if job.state == "Running":
        text = f"Taking it from {backup.status.server}"
        return _told(backup, "Running", f"{text}: {job.trouble}" if job.trouble else text, now)
    report = _report(job)
    if job.state == "Succeeded" and report is not None:
        return _succeed(backup, report, now)
    reason = _failure(job)
    if backup.status.attempts < ATTEMPTS_MAX:
        return _try_again(observed, diagnosis, backup, reason, now)
    return _over(backup, "False", "Failed", reason, now)


def _begin(
    zone: OneZone,
    observed: ObservedZone,
    diagnosis: Diagnosis,
    backup: OneZoneBackup,
    now: datetime,
) -> Step | None:
    storage = backup.spec.storage
    if storage is None and zone.spec.backup is not None:
        storage = zone.spec.backup.storage
    if storage is None:
        text = "There is nowhere to store it: neither spec.storage, nor spec.backup.storage of the"
        return _over(backup, "False", "NoStorage", f"{text} zone", now)
    server = _source(observed, diagnosis, ())
    if server is None:
        return _told(backup, "Waiting", "Waiting for a server that is ready and healthy", now)
    record = {
        "started_at": _timestamp(now),
        "attempts": 1,
        "server": server,
        "storage": storage,
        "location": _location(zone, backup, storage),
    }
    return _written(backup, "Unknown", "Running", f"Taking it from {server}", now, record)


def _try_again(
    observed: ObservedZone,
    diagnosis: Diagnosis,
    backup: OneZoneBackup,
    reason: str,
    now: datetime,
) -> Step | None:
    tried = [*backup.status.tried, *([backup.status.server] if backup.status.server else [])]
    server = _source(observed, diagnosis, tuple(tried))
    if server is None:
        return _told(backup, "Waiting", f"Waiting for a healthy server. {reason}", now)
    record = {"attempts": backup.status.attempts + 1, "server": server, "tried": tried}
    return _written(
        backup, "Unknown", "Running", f"Tried again with {server}. {reason}", now, record
    )


def _source(observed: ObservedZone, diagnosis: Diagnosis, tried: tuple[str, ...]) -> str | None:
    """A healthy follower with the least lag, one that was not tried if there is one. The leader
    only when it is alone: it has enough to do.
    """
    assert diagnosis.leader is not None
    ready = {pod.name for pod in observed.pods if pod.ready and not pod.is_terminating}
    usable = [each for each in diagnosis.voters if each.name in diagnosis.healthy & ready]
    best = min(
        usable,
        key=lambda each: (
            each.name in tried,
            each.name == diagnosis.leader.name,  # type: ignore[union-attr]
            each.lag or 0,
            each.name,
        ),
        default=None,
    )
    return None if best is None else best.name


def _location(zone: OneZone, backup: OneZoneBackup, storage: BackupStorage) -> str:
    """A name that no other backup has: one that is made again under its name is another."""
    return file_location(storage, zone.name, f"{backup.name}-{backup.uid[:8]}.bck")


def _report(job: ObservedJob) -> dict[str, Any] | None:
    """What ``onedb backup`` said of a backup that it stored."""
    try:
        found = json.loads(job.outcome)
    except ValueError:
        return None
    if not isinstance(found, dict) or "error" in found or "sha256" not in found:
        return None
    return found


def _failure(job: ObservedJob) -> str:
    try:
        found = json.loads(job.outcome)
    except ValueError:
        found = None
    said = found.get("error") if isinstance(found, dict) else job.outcome.strip()
    return str(said or job.reason or "What became of it is not known")[-_MESSAGE_MAX // 2 :]


def _succeed(backup: OneZoneBackup, report: dict[str, Any], now: datetime) -> Step:
    record = {
        "zone_uuid": str(report.get("zone_uuid") or "") or None,
        "index": _number(report.get("index")),
        "size": _number(report.get("size")),
        "sha256": str(report.get("sha256"))[:_SHA256_LENGTH],
        "verified": report.get("verified") is True,
    }
    message = f"Stored in {backup.status.location}, up to entry {record['index']}"
    return _over(backup, "True", "Done", message, now, record)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


# --- schedule and retention ----------------------------------------------------------------


def _plan_schedule(zone: OneZone, observed: ObservedZone, now: datetime) -> Step | None:
    """Make the backup of the schedule's latest time, however many were missed before it."""
    schedule = zone.spec.backup
    if schedule is None or schedule.suspend or schedule.storage is None:
        return None
    latest = read_calendar(schedule, now).latest
    if latest is None:
        return None
    own = [each for each in zone_backups(zone, observed) if each.scheduled_for is not None]
    done = [str(each.scheduled_for) for each in own]
    if zone.status.backup is not None and zone.status.backup.last_scheduled_time is not None:
        done.append(zone.status.backup.last_scheduled_time)
    if any(datetime.fromisoformat(each) >= latest for each in done):
        return None
    if any(not each.is_finished for each in own):
        return None
    manifest = build_scheduled_backup(zone, stamp=f"{latest:%Y%m%d%H%M}", moment=_timestamp(latest))
    return CreateBackup(manifest)


def _plan_retention(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Delete the oldest scheduled backup that is not kept: first the file, if it shall go."""
    schedule = zone.spec.backup
    if schedule is None or schedule.schedule is None or schedule.suspend:
        return None
    needed = {
        task.spec.backup_ref.name
        for task in observed.tasks
        if task.spec.backup_ref is not None and not task.is_finished
    }
    own = zone_backups(zone, observed)
    for backup in find_expired(own, schedule.retention, schedule.time_zone):
        if backup.name in needed or backup.metadata.deletion_timestamp is not None:
            continue
        if backup.spec.deletion_policy == "Retain" or backup.status.location is None:
            return DeleteBackup(backup.name, backup.uid)
        job = observed.job(delete_job_name(backup.name), backup.uid)
        if job is None:
            manifest = build_delete_job(zone, backup)
            return CreateJob(manifest, f"deleting the file of backup {backup.name}")
        if job.state == "Succeeded":
            return DeleteBackup(backup.name, backup.uid)
        if job.state == "Running":
            return None
        # What cannot be deleted now is tried again when its Job is gone; others may go meanwhile.
    return None


# --- a backup's status ---------------------------------------------------------------------


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _told(backup: OneZoneBackup, reason: str, message: str, now: datetime) -> ReportBackup | None:
    """Say what is awaited; None when that was said already."""
    step = _written(backup, "Unknown", reason, message, now, {})
    return None if step.status == backup.status else step


def _over(  # noqa: PLR0917 - the words of a condition
    backup: OneZoneBackup,
    status: Literal["True", "False"],
    reason: str,
    message: str,
    now: datetime,
    record: dict[str, Any] | None = None,
) -> ReportBackup:
    done = {"completed_at": _timestamp(now), **(record or {})}
    return _written(backup, status, reason, message, now, done)


def _written(  # noqa: PLR0917 - the words of a condition
    backup: OneZoneBackup,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
    record: dict[str, Any],
) -> ReportBackup:
    before = backup.status.outcome
    flipped = before is None or before.status != status
    condition = Condition(
        type=SUCCEEDED,
        status=status,
        reason=reason,
        message=message[:_MESSAGE_MAX],
        last_transition_time=_timestamp(now)
        if flipped or before is None
        else before.last_transition_time,
        observed_generation=backup.metadata.generation,
    )
    changed: dict[str, Any] = {
        **record,
        "observed_generation": backup.metadata.generation,
        "message": message[:_MESSAGE_MAX],
        "conditions": [condition],
    }
    return ReportBackup(backup, backup.status.model_copy(update=changed))
