"""The OneZoneBackup resource: one backup of a zone, and what became of it.

Like ``models.onezone``: the CRD is made of these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.base import Model, Moment, Name, Text, map_list, rules, unchanged
from onezone_operator.models.onezone import Metadata
from onezone_operator.models.onezonetask import ZoneReference
from onezone_operator.models.status import Condition

__all__ = [
    "SUCCEEDED",
    "BackupMetadata",
    "OneZoneBackup",
    "OneZoneBackupSpec",
    "OneZoneBackupStatus",
]

SUCCEEDED = "Succeeded"
"""The one condition: True or False when the backup is over, Unknown before."""


class OneZoneBackupSpec(Model):
    """What is backed up, and where to. Only deletionPolicy can be changed later."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *unchanged("make another backup", "zoneRef", "storage", "verify", "timeoutSeconds")
        )
    )

    zone_ref: ZoneReference
    """The zone."""

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


class OneZoneBackupStatus(Model):
    """What became of it so far."""

    observed_generation: int = 0
    """Generation of the spec that this describes."""
    started_at: Moment | None = None
    """When the first attempt began."""
    completed_at: Moment | None = None
    """When it was over."""
    message: Text = ""
    """What is awaited, or what became of it, in a sentence."""
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
    conditions: Annotated[list[Condition], Field(json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    """Succeeded."""

    @property
    def outcome(self) -> Condition | None:
        """The condition Succeeded, None before it was first written."""
        return next((each for each in self.conditions if each.type == SUCCEEDED), None)


class BackupMetadata(Metadata):
    """A backup's metadata."""

    creation_timestamp: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class OneZoneBackup(Model):
    """One backup of a zone, taken from a follower and stored in a volume or a bucket."""

    metadata: BackupMetadata
    spec: OneZoneBackupSpec
    status: OneZoneBackupStatus = Field(default_factory=OneZoneBackupStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def zone(self) -> str:
        return self.spec.zone_ref.name

    @property
    def is_started(self) -> bool:
        return self.status.started_at is not None

    @property
    def is_finished(self) -> bool:
        outcome = self.status.outcome
        return outcome is not None and outcome.status != "Unknown"

    @property
    def has_succeeded(self) -> bool:
        outcome = self.status.outcome
        return outcome is not None and outcome.status == "True"

    @property
    def scheduled_for(self) -> str | None:
        """The time of the schedule that it was made for; None if a user made it."""
        return self.metadata.annotations.get(naming.SCHEDULED_ANNOTATION)

    @property
    def order(self) -> tuple[str, str]:
        """Backups of a zone by age; the name decides within a second."""
        return self.metadata.creation_timestamp, self.name
