"""What users are told by Events: once for each transition, never for a state that lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onezone_operator.models.onezonebackup import OneZoneBackup, OneZoneBackupStatus
from onezone_operator.models.onezonetask import OneZoneTask, OneZoneTaskStatus
from onezone_operator.models.status import OneZoneStatus
from onezone_operator.reconcile.steps import (
    AnnounceAuthority,
    DeleteVolume,
    ExpandVolume,
    FenceServer,
    PromoteAuthority,
    RecordBootstrap,
    RecreateStatefulSet,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReplacePod,
    ReportBackup,
    ReportTask,
    RetireAuthority,
    SetReplicas,
    Step,
    describe,
)
from onezone_operator.reconcile.volumes import CONDITION as VOLUMES
from onezone_operator.reconcile.volumes import REFUSALS

__all__ = ["Notice", "notice_of_step", "notices_of_change"]

_GOOD_WHEN_TRUE = (
    *("Ready", "Quorate", "AllServersReady", "ConfigInSync", "VolumesInSync"),
    "CertificatesReady",
)
_BAD_WHEN_TRUE = ("Degraded",)
_TOLD: dict[type[Step], str] = {
    RegisterMember: "ServerAdded",
    RemoveMember: "ServerRemoved",
    SetReplicas: "PodsResized",
    AnnounceAuthority: "AuthorityChanges",
    PromoteAuthority: "AuthorityChanges",
    RetireAuthority: "AuthorityChanges",
    ReplacePod: "PodReplaced",
    FenceServer: "FenceChanged",
    DeleteVolume: "VolumeDeleted",
    ExpandVolume: "VolumeExpands",
    RecreateStatefulSet: "StatefulSetRecreated",
}
"""Steps that are told in the words of the plan, and the reason of their Events."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def notice_of_step(step: Step) -> Notice | None:
    """The Event of a step that was carried out; None for steps that only prepare."""
    reason = _TOLD.get(type(step))
    if reason is not None:
        return Notice("Normal", reason, describe(step))
    match step:
        case RecordBootstrap():
            return Notice("Normal", "ZoneBootstrapped", "The zone's database was made")
        case RepairRoute():
            return Notice("Warning", "RouteRepaired", describe(step))
        case ReportTask(task=task, status=status):
            return _notice_of_task(task, status)
        case ReportBackup(backup=backup, status=backup_status):
            return _notice_of_backup(backup, backup_status)
        case _:
            return None


def _notice_of_task(task: OneZoneTask, status: OneZoneTaskStatus) -> Notice | None:
    """A task began, or is over. What it waits for is in its status alone."""
    text = f"{task.name} ({task.spec.type}): {status.message}"
    if status.completed_at is not None:
        if status.outcome is not None and status.outcome.status == "True":
            return Notice("Normal", "TaskSucceeded", text)
        return Notice("Warning", "TaskFailed", text)
    is_start = status.started_at is not None and not task.is_started
    return Notice("Normal", "TaskStarted", text) if is_start else None


def _notice_of_backup(backup: OneZoneBackup, status: OneZoneBackupStatus) -> Notice | None:
    """A backup is over, or an attempt failed."""
    text = f"{backup.name}: {status.message}"
    if status.completed_at is not None:
        if status.outcome is not None and status.outcome.status == "True":
            return Notice("Normal", "BackupTaken", text)
        return Notice("Warning", "BackupFailed", text)
    is_again = status.attempts > backup.status.attempts > 0
    return Notice("Warning", "BackupTriedAgain", text) if is_again else None


def notices_of_change(before: OneZoneStatus, after: OneZoneStatus) -> tuple[Notice, ...]:
    """Events for what became different between two statuses."""
    notices = []
    asleep = after.condition("Hibernated")
    if asleep is not None and asleep.status != "False":
        # Asked for: nothing of it is a warning.
        known = before.condition("Hibernated")
        is_new = asleep.status == "True" and known is not None and known.status != "True"
        return (Notice("Normal", "Hibernated", asleep.message),) if is_new else ()
    if after.leader is not None and (after.leader, after.term) != (before.leader, before.term):
        notices.append(
            Notice("Normal", "LeaderElected", f"{after.leader} leads in term {after.term}")
        )
    for kind in (*_GOOD_WHEN_TRUE, *_BAD_WHEN_TRUE):
        old, new = before.condition(kind), after.condition(kind)
        if new is None or (old is None and new.status != "True"):
            continue
        if old is not None and old.status == new.status:
            continue
        if new.status == "Unknown" and kind != "Quorate":
            continue
        if kind == VOLUMES and new.status == "False":
            # It was asked for, and its steps are told; what is refused is told below.
            continue
        is_good = (new.status == "True") == (kind in _GOOD_WHEN_TRUE)
        if old is None and kind in _BAD_WHEN_TRUE and is_good:
            continue
        reason = kind if new.status == "True" else f"Not{kind}"
        notices.append(
            Notice("Normal" if is_good else "Warning", reason, new.message or new.reason)
        )
    known, volumes = before.condition(VOLUMES), after.condition(VOLUMES)
    if volumes is not None and volumes.reason in REFUSALS:
        if known is None or (known.reason, known.message) != (volumes.reason, volumes.message):
            notices.append(Notice("Warning", volumes.reason, volumes.message))
    return tuple(notices)
