"""The OneZoneBackup resource: one backup of a zone, and what became of it.

Like ``models.onezone``: the CRD is made of these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.base import Name, rules, unchanged
from onezone_operator.models.request import Request, RequestSpec, RequestStatus

__all__ = ["OneZoneBackup", "OneZoneBackupSpec", "OneZoneBackupStatus"]


class OneZoneBackupSpec(RequestSpec):
    """What is backed up, and where to. Only deletionPolicy can be changed later."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *unchanged("make another backup", "zoneRef", "storage", "verify", "timeoutSeconds")
        )
    )

    storage: BackupStorage | None = None
    """Where it is stored; the zone's spec.backup.storage when absent."""

    verify: bool = True
    """Start a server on the backup before it counts as taken."""

    timeout_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """Seconds that one attempt may take. There are three, each on another server if there is
    one."""

    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What the operator does with the file when it deletes the backup by the zone's retention.
    Delete: the file goes first. Retain: it stays. Whoever deletes the backup by hand keeps the
    file."""


class OneZoneBackupStatus(RequestStatus):
    """What became of it so far."""

    attempts: int = 0
    """Attempts so far, the present one among them."""
    server: Name | None = None
    """The server that it is taken from."""
    tried: Annotated[
        list[Name], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default_factory=list)
    """Servers of earlier attempts."""
    storage: BackupStorage | None = None
    """Where it is stored."""
    location: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the file."""
    zone_uuid: Annotated[Name | None, Field(alias="zoneUUID")] = None
    """Identity of the zone that it is of."""
    index: int | None = None
    """The last log entry in it."""
    size: int | None = None
    """Bytes."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """Checksum of the file."""
    verified: bool = False
    """Whether a server was started on it, and answered."""


class OneZoneBackup(Request):
    """One backup of a zone, taken from a follower and stored in a volume or a bucket."""

    spec: OneZoneBackupSpec
    status: OneZoneBackupStatus = Field(default_factory=OneZoneBackupStatus)

    @property
    def scheduled_for(self) -> str | None:
        """The time of the schedule that it was made for; None if a user made it."""
        return self.metadata.annotations.get(naming.SCHEDULED_ANNOTATION)
