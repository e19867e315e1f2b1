"""Where the backup is that a zone begins with: its URL, and how a pod reaches it."""

from __future__ import annotations

from dataclasses import dataclass

from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonetask import OneZoneTask

__all__ = ["Source", "source_of_task", "source_of_zone"]


@dataclass(frozen=True, slots=True)
class Source:
    """A stored backup. Without a storage, the pod reaches it as it is."""

    location: str
    storage: BackupStorage | None


def source_of_zone(zone: OneZone, observed: ObservedZone) -> Source | None:
    """What spec.bootstrap.restore says; None while the backup that it names has not succeeded."""
    restore = zone.spec.bootstrap.restore if zone.spec.bootstrap is not None else None
    if restore is None:
        return None
    if restore.backup_ref is not None:
        return _stored(observed, restore.backup_ref.name)
    if restore.location is None:
        return None
    return Source(restore.location, restore.storage)


def source_of_task(zone: OneZone, observed: ObservedZone, task: OneZoneTask) -> Source | None:
    """What a task says; None while the backup that it names has not succeeded. A location is
    looked for in the storage of the zone's own backups, if it is of the same sort.
    """
    if task.spec.backup_ref is not None:
        return _stored(observed, task.spec.backup_ref.name)
    location = task.spec.location
    if location is None:
        return None
    storage = zone.spec.backup.storage if zone.spec.backup is not None else None
    if storage is not None and location.startswith("s3://") != (storage.s3 is not None):
        storage = None
    return Source(location, storage)


def _stored(observed: ObservedZone, name: str) -> Source | None:
    backup = observed.backup(name)
    if backup is None or not backup.has_succeeded or backup.status.location is None:
        return None
    return Source(backup.status.location, backup.status.storage or backup.spec.storage)
