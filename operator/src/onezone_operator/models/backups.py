"""Where backups are stored, when they are taken, how long they are kept: parts of a OneZone's spec
that OneZoneBackups use, too.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from onezone_operator.models.base import Model, rules

__all__ = [
    "BackupSchedule",
    "BackupStorage",
    "Bootstrap",
    "NameReference",
    "RestoreSource",
    "Retention",
    "S3Storage",
    "VolumeStorage",
]

_PATH = "^[A-Za-z0-9._~/-]*$"


class NameReference(Model):
    """An object of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name."""


class KeyReference(Model):
    """A key of a Secret in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = "ca.crt"
    """Key in the Secret."""


class VolumeStorage(Model):
    """A claim that backups are written into as files."""

    claim_name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the PersistentVolumeClaim. The operator never makes or deletes it."""

    path: Annotated[str, Field(max_length=256, pattern=_PATH)] = ""
    """Folder in it; each zone has a folder of its own below."""


class S3Storage(Model):
    """A bucket of S3, or of a store that speaks like it."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern="^[a-z0-9.-]+$")]
    """Name of the bucket, which must exist."""

    prefix: Annotated[str, Field(max_length=256, pattern=_PATH)] = ""
    """Put before the names of objects; each zone has a folder of its own below."""

    endpoint: Annotated[str, Field(max_length=512, pattern="^https?://.+$")] | None = None
    """URL of the store; Amazon's when absent."""

    region: Annotated[str, Field(max_length=63)] | None = None
    """Region of the bucket."""

    credentials_secret_ref: NameReference
    """Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""

    ca_secret_ref: KeyReference | None = None
    """Authority that the store's certificate is checked with; the image's when absent."""


class BackupStorage(Model):
    """Where backups are stored: one of volume and s3."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.volume) != has(self.s3)", "storage needs one of volume and s3"),
        )
    )

    volume: VolumeStorage | None = None
    """A claim."""

    s3: S3Storage | None = None
    """A bucket."""


class Retention(Model):
    """Which scheduled backups are kept, by their number: what no rule keeps is deleted. Days and
    weeks without a backup do not count, so that nothing is deleted when backups end. The newest
    one that succeeded is always kept.
    """

    last: Annotated[int, Field(ge=1, le=1000)] = 7
    """The newest so many."""

    daily: Annotated[int, Field(ge=0, le=366)] = 0
    """The newest of each of so many days."""

    weekly: Annotated[int, Field(ge=0, le=520)] = 0
    """The newest of each of so many weeks."""


class BackupSchedule(Model):
    """Backups that the operator takes by itself, and where those of users are stored."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.schedule) || has(self.storage)", "backup.schedule needs backup.storage"),
        )
    )

    schedule: Annotated[str, Field(max_length=100, pattern=r"^\s*(\S+\s+){4}\S+\s*$")] | None = None
    """When a backup is taken: five fields of cron. A time that was missed is made up for once. A
    zone without any backup gets its first at once. Absent: only when a OneZoneBackup asks."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Time zone of the schedule, such as Europe/Madrid."""

    storage: BackupStorage | None = None
    """Where they are stored."""

    retention: Retention = Field(default_factory=Retention)
    """Which scheduled backups are kept."""

    verify: bool = True
    """Start a server on each backup before it counts as taken."""

    suspend: bool = False
    """Take and delete none by schedule for now."""


class RestoreSource(Model):
    """A backup that a new zone begins with: a OneZoneBackup, or a location in a storage."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.backupRef) != has(self.location)",
                "bootstrap.restore needs one of backupRef and location",
            ),
            (
                "!has(self.location) || has(self.storage)",
                "bootstrap.restore.location needs bootstrap.restore.storage",
            ),
        )
    )

    backup_ref: NameReference | None = None
    """A OneZoneBackup of the namespace that succeeded, of this zone or of another."""

    location: (
        Annotated[str, Field(max_length=1024, pattern=r"^(file:///backups/|s3://).+\.bck$")] | None
    ) = None
    """URL of the file: file:///backups/… in the claim, or s3://bucket/…. A OneZoneBackup has it in
    status.location."""

    storage: BackupStorage | None = None
    """Where the location is; a backupRef brings its own."""


class Bootstrap(Model):
    """How a new zone begins. Nothing of it matters once the zone has a database."""

    restore: RestoreSource | None = None
    """The backup that it begins with; empty when absent."""
