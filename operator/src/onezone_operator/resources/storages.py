"""What a container needs to reach a backup storage: variables, mounts and volumes; and the URL of a
file in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onezone_operator.models.backups import BackupStorage

__all__ = ["Access", "build_access_to", "file_location"]

MOUNT = "/backups"
_CA_MOUNT = "/etc/one/s3"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True, slots=True)
class Access:
    """Parts of a pod."""

    environment: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()


def file_location(storage: BackupStorage, zone: str, file: str) -> str:
    """The URL of a zone's file."""
    if storage.volume is not None:
        return "file://" + _joined(MOUNT, storage.volume.path, zone, file)
    assert storage.s3 is not None
    return "s3://" + _joined(storage.s3.bucket, storage.s3.prefix, zone, file)


def build_access_to(storage: BackupStorage | None, *, read_only: bool = False) -> Access:
    """What a container needs to read and write there. Keys come from their Secret alone."""
    if storage is None:
        return Access()
    if storage.volume is not None:
        claim: dict[str, Any] = {"claimName": storage.volume.claim_name}
        mount: dict[str, Any] = {"name": "backups", "mountPath": MOUNT}
        if read_only:
            mount["readOnly"] = True
        return Access(
            mounts=(mount,), volumes=({"name": "backups", "persistentVolumeClaim": claim},)
        )
    assert storage.s3 is not None
    s3 = storage.s3
    environment: list[dict[str, Any]] = [
        {
            "name": key,
            "valueFrom": {"secretKeyRef": {"name": s3.credentials_secret_ref.name, "key": key}},
        }
        for key in _KEYS
    ]
    if s3.region:
        environment.append({"name": "AWS_REGION", "value": s3.region})
    if s3.endpoint:
        environment.append({"name": "AWS_ENDPOINT_URL", "value": s3.endpoint})
    if s3.ca_secret_ref is None:
        return Access(tuple(environment))
    environment.append({"name": "AWS_CA_BUNDLE", "value": f"{_CA_MOUNT}/ca.crt"})
    secret = {
        "secretName": s3.ca_secret_ref.name,
        "defaultMode": 0o440,
        "items": [{"key": s3.ca_secret_ref.key, "path": "ca.crt"}],
    }
    return Access(
        tuple(environment),
        ({"name": "s3-ca", "mountPath": _CA_MOUNT, "readOnly": True},),
        ({"name": "s3-ca", "secret": secret},),
    )


def _joined(*parts: str) -> str:
    first, *rest = parts
    return "/".join([first, *(part.strip("/") for part in rest if part.strip("/"))])
