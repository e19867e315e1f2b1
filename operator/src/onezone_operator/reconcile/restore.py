"""spec.bootstrap.restore: a new zone begins with a backup.

The first server founds the zone before it starts, as for a task that restores one in place
(``reconcile.founding``). Once the zone exists, nobody founds it again: a server that loses its
volume joins like any other.
"""

from __future__ import annotations

import json

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.founding import Founding
from onezone_operator.reconcile.seed import is_bootstrapped
from onezone_operator.reconcile.sources import source_of_task, source_of_zone
from onezone_operator.reconcile.steps import Step, Wait
from onezone_operator.reconcile.tasks import active_task

__all__ = ["founding_text", "is_restored", "plan_missing_backup", "restore_storage"]


def is_restored(zone: OneZone) -> bool:
    """Whether the zone shall begin with a backup."""
    return zone.spec.bootstrap is not None and zone.spec.bootstrap.restore is not None


def plan_missing_backup(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Wait for the backup before anything is made of the zone."""
    if not is_restored(zone) or is_bootstrapped(zone, observed):
        return None
    if any(volume.zone_uuid for volume in observed.volumes) and observed.authority is None:
        return Wait(
            "VolumesKept",
            "Volumes of an earlier OneZone of this name are there, and spec.bootstrap.restore"
            " would take their place: delete them, or the OneZone",
            is_trouble=True,
        )
    if source_of_zone(zone, observed) is not None:
        return None
    restore = zone.spec.bootstrap.restore if zone.spec.bootstrap is not None else None
    reference = restore.backup_ref if restore is not None else None
    name = reference.name if reference is not None else ""
    text = f"Waiting until OneZoneBackup {name} is there and has succeeded"
    return Wait("BackupMissing", text, is_trouble=True)


def founding_text(zone: OneZone, observed: ObservedZone) -> str:
    """What the ConfigMap says of who founds the zone.

    What a task has written stays: a volume that comes back late must still read it.
    """
    live = observed.objects.get(("ConfigMap", naming.config_map_name(zone.name)), {})
    text = str((live.get("data") or {}).get(naming.FOUNDING_KEY, ""))
    if is_bootstrapped(zone, observed):
        try:
            found = json.loads(text or "{}")
        except ValueError:
            return text
        if found.get("id") == zone.metadata.uid and found.get("server"):
            # The zone exists, founded by this: whoever has not read it yet has no part in it.
            return Founding(zone.metadata.uid, "", found.get("source")).text()
        return text
    source = source_of_zone(zone, observed)
    if source is None:
        return text
    first = naming.server_name(zone.name, 0)
    return Founding(zone.metadata.uid, first, source.location).text()


def restore_storage(zone: OneZone, observed: ObservedZone) -> BackupStorage | None:
    """What the servers' pods mount while one of them is to begin with a backup."""
    if not is_bootstrapped(zone, observed):
        source = source_of_zone(zone, observed)
        return source.storage if source is not None else None
    task = active_task(observed)
    if task is None or not task.is_started or task.spec.type != "Restore":
        return None
    live = observed.objects.get(("ConfigMap", naming.config_map_name(zone.name)), {})
    text = str((live.get("data") or {}).get(naming.FOUNDING_KEY, ""))
    if text == Founding(task.uid, "", task.status.location).text():
        return None
    source = source_of_task(zone, observed, task)
    return source.storage if source is not None else None
