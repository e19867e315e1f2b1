"""What a zone's status says of its backups: the newest good one, the next, and whether that is as
it was wished for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.status import BackupStatus
from onezone_operator.reconcile.backups import zone_backups
from onezone_operator.reconcile.schedule import read_calendar

__all__ = ["BackupVerdict", "build_backup_status", "judge_backups"]


@dataclass(frozen=True, slots=True)
class BackupVerdict:
    """The condition BackupReady."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def build_backup_status(
    zone: OneZone, observed: ObservedZone, now: datetime
) -> BackupStatus | None:
    """What there is and what comes; None while there are no backups and none are wanted."""
    own = zone_backups(zone, observed)
    before = zone.status.backup
    if zone.spec.backup is None and not own:
        return None
    good = _newest_first([each for each in own if each.has_succeeded])
    verified = [each for each in good if each.status.verified]
    scheduled = [str(each.scheduled_for) for each in own if each.scheduled_for is not None]
    if before is not None and before.last_scheduled_time is not None:
        scheduled.append(before.last_scheduled_time)
    following = None
    if zone.spec.backup is not None and not zone.spec.backup.suspend:
        following = read_calendar(zone.spec.backup, now).following
    return BackupStatus(
        last_successful=good[0].name if good else None,
        last_successful_time=good[0].status.started_at if good else None,
        last_verified_time=verified[0].status.started_at if verified else None,
        last_scheduled_time=max(scheduled, default=None),
        next_time=None if following is None else f"{following:%Y-%m-%dT%H:%M:%SZ}",
        failures=len(_failures(own, good[0].status.started_at if good else None)),
    )


def judge_backups(zone: OneZone, observed: ObservedZone, now: datetime) -> BackupVerdict:
    """Whether the zone has a backup as fresh as its schedule says."""
    schedule = zone.spec.backup
    if schedule is None or schedule.schedule is None:
        return BackupVerdict("Unknown", "NotConfigured", "There is no spec.backup.schedule")
    if schedule.suspend:
        return BackupVerdict("Unknown", "Suspended", "spec.backup.suspend is set")
    calendar = read_calendar(schedule, now)
    if calendar.trouble:
        return BackupVerdict("False", "BadSchedule", calendar.trouble)
    own = zone_backups(zone, observed)
    good = _newest_first([each for each in own if each.has_succeeded])
    newest = good[0] if good else None
    began = newest.status.started_at if newest is not None else None
    failures = _failures(own, began)
    if failures:
        last = failures[-1]
        text = f"{len(failures)} scheduled since one succeeded; {last.name}: {last.status.message}"
        return BackupVerdict("False", "Failing", text[:1024])
    if newest is None or began is None:
        return BackupVerdict("False", "NoBackup", "None has succeeded yet")
    if calendar.before is not None and datetime.fromisoformat(began) < calendar.before:
        return BackupVerdict(
            "False", "Stale", f"The newest, {newest.name}, is of {began}: two times were missed"
        )
    checked = "verified" if newest.status.verified else "not verified"
    return BackupVerdict("True", "Fresh", f"The newest is {newest.name} of {began}, {checked}")


def _newest_first(backups: list[OneZoneBackup]) -> list[OneZoneBackup]:
    return sorted(backups, key=lambda each: (str(each.status.started_at), each.name), reverse=True)


def _failures(own: tuple[OneZoneBackup, ...], good_since: str | None) -> list[OneZoneBackup]:
    """Scheduled backups that failed after the newest good one was begun, the oldest first."""
    failed = [
        each
        for each in own
        if each.is_finished and not each.has_succeeded and each.scheduled_for is not None
    ]
    return [
        each
        for each in failed
        if good_since is None or str(each.status.started_at or each.scheduled_for) > good_since
    ]
