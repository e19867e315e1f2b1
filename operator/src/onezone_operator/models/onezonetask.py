"""The OneZoneTask resource: one thing that a user has done with a zone, and what became of it.

Like ``models.onezone``: the CRD is made of these classes, and rules in CEL stand beside the fields
that they guard.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from onezone_operator.models.base import Model, Name, Text, rules, unchanged
from onezone_operator.models.request import Request, RequestSpec, RequestStatus

__all__ = ["BackupReference", "OneZoneTask", "OneZoneTaskSpec", "OneZoneTaskStatus"]


class BackupReference(Model):
    """A OneZoneBackup in the task's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the OneZoneBackup."""


class OneZoneTaskSpec(RequestSpec):
    """What shall be done. Only confirm can be changed later."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *unchanged(
                "delete the task and make another",
                "zoneRef",
                "type",
                "server",
                "backupRef",
                "location",
                "ttlSecondsAfterFinished",
            ),
            ("self.confirm || !oldSelf.confirm", "confirm cannot be taken back: delete the task"),
            (
                "self.type != 'ReplaceServer' || has(self.server)",
                "type ReplaceServer needs server: the name of the server to replace",
            ),
            (
                "self.type != 'Restore' || has(self.location) != has(self.backupRef)",
                "type Restore needs one of backupRef and location",
            ),
            (
                "self.type == 'Restore' || (!has(self.location) && !has(self.backupRef))",
                "backupRef and location belong to type Restore",
            ),
        )
    )

    type: Literal["HandOver", "ReplaceServer", "RecoverQuorum", "Restore"]
    """HandOver: another server leads. ReplaceServer: a server begins anew with an empty volume.
    RecoverQuorum: a zone that lost most of its servers goes on with one that is left. Restore: the
    zone becomes what a backup holds. The last two show in status.preview what they would do, and
    wait for confirm."""

    server: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Name of a server. HandOver: who is to lead; the best when absent. ReplaceServer: which one.
    RecoverQuorum: which one the zone goes on with; the one with the longest log when absent.
    Restore: where the backup is unpacked; the first when absent."""

    backup_ref: BackupReference | None = None
    """Restore: the backup."""

    location: (
        Annotated[str, Field(min_length=8, max_length=1024, pattern="^(file:///|s3://).+$")] | None
    ) = None
    """Restore: URL of the backup's file, file:///… or s3://…."""

    confirm: bool = False
    """Do what status.preview tells. RecoverQuorum and Restore do nothing without."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after which a task that is over is deleted; it is kept when absent."""


class OneZoneTaskStatus(RequestStatus):
    """What became of it so far."""

    preview: Annotated[
        list[Text], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default_factory=list)
    """What will be done, and what may be lost, a sentence each."""
    server: Name | None = None
    """The server that it is about: whom it was started with."""
    server_id: int | None = None
    """ReplaceServer: the id that the server had in the zone."""
    volume_uid: Annotated[Name | None, Field(alias="volumeUID")] = None
    """ReplaceServer: uid of the claim that the server had."""
    former_leader: Name | None = None
    """HandOver: who led when it was started."""
    location: Annotated[str, Field(max_length=1024)] | None = None
    """Restore: the backup that it was started with."""


class OneZoneTask(Request):
    """One thing to do with a zone: hand over, replace a server, recover a quorum, restore."""

    spec: OneZoneTaskSpec
    status: OneZoneTaskStatus = Field(default_factory=OneZoneTaskStatus)

    @property
    def shows_first(self) -> bool:
        """Whether it tells what it would do, and waits for spec.confirm."""
        return self.spec.type in {"RecoverQuorum", "Restore"}
