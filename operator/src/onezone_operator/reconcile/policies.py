"""NetworkPolicies: what they must let through for backups, and when they go."""

from __future__ import annotations

from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.steps import DropPolicy, Step
from onezone_operator.resources.policies import POLICY, policy_names

__all__ = ["backup_storages", "plan_spare_policy"]


def backup_storages(zone: OneZone, observed: ObservedZone) -> tuple[BackupStorage, ...]:
    """Where Jobs of the zone's backups go: for those to come, and those that may be deleted."""
    schedule = zone.spec.backup
    found = [schedule.storage if schedule is not None else None]
    for backup in observed.backups:
        if backup.zone == zone.name:
            found += [backup.spec.storage, backup.status.storage]
    return tuple(each for each in found if each is not None)


def plan_spare_policy(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Delete what a zone without policies has left of them, one after the other."""
    if zone.spec.network_policy.enabled:
        return None
    for name in policy_names(zone.name):
        live = observed.objects.get((POLICY, name))
        if live is not None and not live["metadata"].get("deletionTimestamp"):
            return DropPolicy(name, live["metadata"]["uid"])
    return None
