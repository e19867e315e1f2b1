"""The Jobs of a OneZoneBackup: one takes it and stores it, one deletes its file.

Their pods are no servers: they carry none of the labels that a zone's Services, budget and
operator select its servers by.
"""

from __future__ import annotations

from typing import Any

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.resources.pod import USER_ID
from onezone_operator.resources.storages import build_access_to
from onezone_operator.resources.tls import api_secret_name

__all__ = ["build_backup_job", "build_delete_job", "build_scheduled_backup"]

FINISHED_SECONDS = 86400
"""A Job that is over is kept so long: its pod tells what became of the backup, and the operator may
be away for a while. A backup whose Job is gone before that was read is taken again."""

DELETE_SECONDS = 600
DELETE_TRIES = 3
DELETE_AGAIN_SECONDS = 3600
"""A file that cannot be deleted is tried again this often."""

REACH_SECONDS = 15
"""A network that heeds policies lets a new pod through after a moment: so long is a server tried
that takes no connection."""

_SCRATCH = "/scratch"
_TRUST = {"name": "ONE_CERT_DIR", "value": "/etc/one/trusted"}
_TRUST_MOUNT = {"name": "trusted", "mountPath": "/etc/one/trusted", "readOnly": True}


def build_backup_job(
    zone: OneZone,
    backup: OneZoneBackup,
    *,
    attempt: int,
    server: str,
    storage: BackupStorage,
    location: str,
) -> Manifest:
    """The Job that takes the backup from a server. ``zone.spec.image`` must be set."""
    command = [
        "onedb",
        "backup",
        "--to",
        location,
        "--server",
        naming.server_endpoint(zone.name, zone.namespace, server, scheme=zone.spec.tls.scheme),
        # The file is this backup's alone; an attempt before may have stored it, and not told.
        "--force",
        "--scratch",
        _SCRATCH,
        "--report",
        "/dev/termination-log",
    ]
    if backup.spec.verify:
        command.append("--verify")
    spec = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": backup.spec.timeout_seconds,
        "ttlSecondsAfterFinished": FINISHED_SECONDS,
    }
    name = naming.backup_job_name(backup.name, attempt)
    return _job(zone, backup, name, spec, command, storage)


def build_delete_job(zone: OneZone, backup: OneZoneBackup) -> Manifest:
    """The Job that deletes the backup's file."""
    assert backup.status.storage is not None
    assert backup.status.location is not None
    spec = {
        "backoffLimit": DELETE_TRIES,
        "activeDeadlineSeconds": DELETE_SECONDS,
        "ttlSecondsAfterFinished": DELETE_AGAIN_SECONDS,
    }
    command = ["onedb", "backup-delete", backup.status.location]
    name = naming.delete_job_name(backup.name)
    return _job(zone, backup, name, spec, command, backup.status.storage)


def build_scheduled_backup(zone: OneZone, *, stamp: str, moment: str) -> Manifest:
    """The OneZoneBackup of one time of the schedule. It outlives its zone: it has no owner."""
    schedule = zone.spec.backup
    assert schedule is not None
    assert schedule.storage is not None
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.BACKUP_KIND,
        "metadata": {
            "name": naming.scheduled_backup_name(zone.name, stamp),
            "namespace": zone.namespace,
            "labels": {
                naming.MANAGED_BY_LABEL: naming.OPERATOR,
                naming.BACKUP_ZONE_LABEL: zone.name,
            },
            "annotations": {naming.SCHEDULED_ANNOTATION: moment},
        },
        "spec": {
            "zoneRef": {"name": zone.name},
            "storage": schedule.storage.model_dump(by_alias=True, exclude_none=True),
            "verify": schedule.verify,
            "deletionPolicy": "Delete",
        },
    }


def _job(  # noqa: PLR0917 - what the two have in common
    zone: OneZone,
    backup: OneZoneBackup,
    name: str,
    spec: dict[str, Any],
    command: list[str],
    storage: BackupStorage,
) -> Manifest:
    owner = {
        "apiVersion": naming.API_VERSION,
        "kind": naming.BACKUP_KIND,
        "name": backup.name,
        "uid": backup.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": zone.namespace,
            "labels": {
                naming.MANAGED_BY_LABEL: naming.OPERATOR,
                naming.ZONE_LABEL: zone.name,
                naming.BACKUP_LABEL: backup.uid,
            },
            "ownerReferences": [owner],
        },
        "spec": {**spec, "template": _template(zone, backup, command, storage)},
    }


def _template(
    zone: OneZone, backup: OneZoneBackup, command: list[str], storage: BackupStorage
) -> dict[str, Any]:
    assert zone.spec.image is not None, "the default image is filled in before planning"
    access = build_access_to(storage)
    has_tls = zone.spec.tls.scheme == "https"
    reference = zone.spec.credentials_secret_ref
    auth = reference.name if reference else naming.auth_secret_name(zone.name)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": naming.BACKUP_CONTAINER,
                "image": zone.spec.image,
                "imagePullPolicy": zone.spec.image_pull_policy,
                "command": command,
                "env": [
                    {"name": "ONE_AUTH", "value": f"/etc/one/auth/{naming.AUTH_KEY}"},
                    {"name": "TMPDIR", "value": _SCRATCH},
                    {"name": "ONE_REACH_SECONDS", "value": str(REACH_SECONDS)},
                    *([_TRUST] if has_tls else []),
                    *access.environment,
                ],
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "auth", "mountPath": "/etc/one/auth", "readOnly": True},
                    {"name": "scratch", "mountPath": _SCRATCH},
                    *([_TRUST_MOUNT] if has_tls else []),
                    *access.mounts,
                ],
            }
        ],
        "volumes": [
            {
                "name": "auth",
                "secret": {
                    "secretName": auth,
                    "defaultMode": 0o440,
                    "items": [{"key": naming.AUTH_KEY, "path": naming.AUTH_KEY}],
                },
            },
            {"name": "scratch", "emptyDir": {}},
            *([_trust_volume(zone)] if has_tls else []),
            *access.volumes,
        ],
    }
    scheduling = zone.spec.scheduling
    if zone.spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": each.name} for each in zone.spec.image_pull_secrets]
    if scheduling.node_selector:
        pod["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        pod["tolerations"] = [
            each.model_dump(by_alias=True, exclude_none=True) for each in scheduling.tolerations
        ]
    labels = {
        "app.kubernetes.io/name": "onezone-backup",
        "app.kubernetes.io/part-of": "opennebula",
        naming.BACKUP_ZONE_LABEL: zone.name,
        naming.BACKUP_LABEL: backup.uid,
    }
    return {"metadata": {"labels": labels}, "spec": pod}


def _trust_volume(zone: OneZone) -> dict[str, Any]:
    """The authority of the API's certificate, without its key."""
    items = [{"key": naming.AUTHORITY_KEY, "path": naming.AUTHORITY_KEY}]
    secret = {
        "secretName": api_secret_name(zone),
        "defaultMode": 0o440,
        "items": items,
        # One from a public authority needs none.
        "optional": True,
    }
    return {"name": "trusted", "secret": secret}
