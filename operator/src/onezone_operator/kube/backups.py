"""Reads and writes OneZoneBackups and their Jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from onezone_operator import naming
from onezone_operator.errors import Conflict, FactsChanged, NotFound
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.observed import Manifest, ObservedJob
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup, OneZoneBackupStatus

__all__ = ["create_object", "read_backup_facts", "write_backup_status"]

_WAITING_IS_NORMAL = frozenset({"ContainerCreating", "PodInitializing"})


async def _backups(kube: KubeApi, zone: OneZone) -> tuple[OneZoneBackup, ...]:
    """All backups of the namespace, the oldest first. Users make them: they carry no label."""
    try:
        found = await kube.list_objects(naming.BACKUP_KIND, zone.namespace, selector="")
    except NotFound:
        return ()  # the CRD is not installed: nobody can have made one
    backups = []
    for each in found:
        with contextlib.suppress(ValidationError):  # the CRD refuses what this version cannot read
            backups.append(OneZoneBackup.model_validate(each))
    return tuple(sorted(backups, key=lambda backup: backup.order))


async def read_backup_facts(
    kube: KubeApi, zone: OneZone
) -> tuple[tuple[OneZoneBackup, ...], tuple[ObservedJob, ...]]:
    """The backups of the namespace, and the Jobs of the zone's."""
    backups = await _backups(kube, zone)
    return backups, await _jobs(kube, zone, backups)


async def _jobs(
    kube: KubeApi, zone: OneZone, backups: Sequence[OneZoneBackup]
) -> tuple[ObservedJob, ...]:
    """The Jobs of the zone's backups. The last words of their pods are read only while a backup
    is under way: Jobs that are over stay for a day.
    """
    selector = f"{naming.ZONE_LABEL}={zone.name}"
    jobs = await kube.list_objects("Job", zone.namespace, selector=selector)
    pods: list[Manifest] = []
    if jobs and any(
        each.is_started and not each.is_finished for each in backups if each.zone == zone.name
    ):
        selector = f"{naming.BACKUP_ZONE_LABEL}={zone.name}"
        pods = await kube.list_objects("Pod", zone.namespace, selector=selector)
    return tuple(_job(each, pods) for each in sorted(jobs, key=_name))


async def create_object(kube: KubeApi, manifest: Manifest) -> None:
    """Make an object that is made once.

    Raises:
        FactsChanged: it is there already.
    """
    try:
        await kube.create(manifest, manager=naming.FIELD_MANAGER)
    except Conflict as error:
        name = manifest["metadata"]["name"]
        raise FactsChanged(f"{manifest['kind']} {name} was made meanwhile") from error


async def write_backup_status(
    kube: KubeApi, backup: OneZoneBackup, status: OneZoneBackupStatus
) -> None:
    """Write a backup's status over the one that was seen.

    Raises:
        FactsChanged: the backup changed since it was read, or is gone.
    """
    content = status.model_dump(by_alias=True)
    if status.storage is not None:
        # An object with nulls in it would be refused; as a merge patch they say nothing else.
        content["storage"] = status.storage.model_dump(by_alias=True, exclude_none=True)
    try:
        await kube.patch(
            naming.BACKUP_KIND,
            backup.metadata.namespace,
            backup.name,
            {
                "metadata": {"resourceVersion": backup.metadata.resource_version},
                "status": content,
            },
            manager=naming.STATUS_FIELD_MANAGER,
            subresource="status",
        )
    except (Conflict, NotFound) as error:
        raise FactsChanged(f"backup {backup.name} changed meanwhile") from error


def _job(live: Manifest, pods: list[Manifest]) -> ObservedJob:
    metadata = live["metadata"]
    conditions = {
        each["type"]: each
        for each in (live.get("status") or {}).get("conditions") or []
        if each.get("status") == "True"
    }
    own = [each for each in pods if _is_of(each, metadata.get("uid"))]
    newest = max(own, key=_created, default=None)
    failed = conditions.get("Failed")
    if "Complete" in conditions:
        state: Any = "Succeeded"
    else:
        state = "Running" if failed is None else "Failed"
    reason = f"{failed.get('reason', '')}: {failed.get('message', '')}" if failed else ""
    return ObservedJob(
        name=metadata["name"],
        backup=(metadata.get("labels") or {}).get(naming.BACKUP_LABEL, ""),
        state=state,
        outcome=_last_words(newest),
        reason=reason.strip(": "),
        trouble=_trouble(newest),
    )


def _is_of(pod: Manifest, uid: str | None) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    return any(each.get("uid") == uid for each in owners)


def _containers(pod: Manifest | None) -> list[dict[str, Any]]:
    return ((pod or {}).get("status") or {}).get("containerStatuses") or []


def _last_words(pod: Manifest | None) -> str:
    for each in _containers(pod):
        ended = (each.get("state") or {}).get("terminated")
        if ended:
            return str(ended.get("message") or "")
    return ""


def _trouble(pod: Manifest | None) -> str | None:
    """Why the pod does not run."""
    for each in ((pod or {}).get("status") or {}).get("conditions") or []:
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"{each.get('reason')}: {each.get('message', '')}".rstrip(": ")
    for each in _containers(pod):
        waiting = (each.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in _WAITING_IS_NORMAL:
            return f"{waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": ")
    return None


def _created(pod: Manifest) -> tuple[str, str]:
    return str(pod["metadata"].get("creationTimestamp") or ""), _name(pod)


def _name(live: Manifest) -> str:
    return str(live["metadata"]["name"])
