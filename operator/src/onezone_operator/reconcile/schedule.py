"""When a scheduled backup is due, and which ones are not kept. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from onezone_operator.models.backups import BackupSchedule, Retention
from onezone_operator.models.onezonebackup import OneZoneBackup

__all__ = ["FAILED_KEPT", "Calendar", "find_expired", "kept", "read_calendar"]

FAILED_KEPT = 3
"""The newest scheduled backups that failed are kept to look at, so many of them."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """A schedule around now, in UTC.

    Attributes:
        latest: the last time up to now; None when there never was one.
        before: the one before it.
        following: the next one.
        trouble: why the schedule cannot be understood; then there are no times.
    """

    latest: datetime | None = None
    before: datetime | None = None
    following: datetime | None = None
    trouble: str = ""


def read_calendar(schedule: BackupSchedule, now: datetime) -> Calendar:
    """Look up a schedule. Without one there are no times."""
    if schedule.schedule is None:
        return Calendar()
    try:
        local = now.astimezone(ZoneInfo(schedule.time_zone))
        # A time that is this very second has come.
        past = CronSim(schedule.schedule, local + timedelta(seconds=1), reverse=True)
        latest, before = next(past, None), next(past, None)
        following = next(CronSim(schedule.schedule, local), None)
    except (CronSimError, ZoneInfoNotFoundError, ValueError, OSError) as error:
        return Calendar(trouble=f"{schedule.schedule!r} in {schedule.time_zone}: {error}")
    return Calendar(_utc(latest), _utc(before), _utc(following))


def kept(
    backups: Sequence[OneZoneBackup], retention: Retention, time_zone: str = "UTC"
) -> frozenset[str]:
    """Names of the scheduled backups that succeeded and are kept.

    The newest that a server was started on is always among them. Days and weeks are counted by the
    backups that there are, not back from now: when no backup is taken any more, none is deleted.
    """
    try:
        zone: ZoneInfo | None = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = None
    found = [
        (datetime.fromisoformat(each.scheduled_for), each.name)
        for each in backups
        if each.has_succeeded and each.scheduled_for is not None
    ]
    found.sort(reverse=True)
    names = [name for _, name in found[: retention.last]]
    verified = {each.name for each in backups if each.status.verified}
    names += [name for _, name in found if name in verified][:1]
    days: dict[object, str] = {}
    weeks: dict[object, str] = {}
    for moment, name in found:
        local = moment.astimezone(zone or UTC)
        days.setdefault(local.date(), name)
        weeks.setdefault(local.isocalendar()[:2], name)
    names += list(days.values())[: retention.daily]
    names += list(weeks.values())[: retention.weekly]
    return frozenset(names)


def find_expired(
    backups: Iterable[OneZoneBackup], retention: Retention, time_zone: str = "UTC"
) -> tuple[OneZoneBackup, ...]:
    """Scheduled backups that are over and not kept, the oldest first."""
    scheduled = sorted(
        (each for each in backups if each.scheduled_for is not None and each.is_finished),
        key=lambda each: (str(each.scheduled_for), each.name),
    )
    good = kept(scheduled, retention, time_zone)
    failed = [each.name for each in scheduled if not each.has_succeeded]
    spared = good | set(failed[-FAILED_KEPT:])
    return tuple(each for each in scheduled if each.name not in spared)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
