"""What the operator reports of a OneZone; ``models.crd`` makes the CRD's status of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from onezone_operator.models.base import Model, Moment, Name, map_list

__all__ = [
    "BackupStatus",
    "CertificateStatus",
    "Condition",
    "DiagnosisStatus",
    "OneZoneStatus",
    "PastStep",
    "PlanStatus",
    "ServerStatus",
]

_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}


class Condition(Model):
    """One aspect of the zone, as other tools wait for it."""

    type: Annotated[str, Field(max_length=316)]
    """The aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, in a sentence, and what is awaited."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When status last changed."""
    observed_generation: int = 0
    """The generation of the spec that this was found for."""


class ServerStatus(Model):
    """One server as the leader sees it."""

    name: Annotated[str, Field(max_length=128)]
    """Name of the server, and of its pod."""
    id: int | None = None
    """The id that the zone gave it."""
    role: str = "unknown"
    """leader, follower, candidate, solo, fenced, unreachable, or starting (no database yet)."""
    voter: bool = False
    """Whether its vote counts; a server that was added becomes a voter once it has caught up."""
    ready: bool = False
    """Whether its pod is ready."""
    term: int | None = None
    """The term it is in."""
    lag: int | None = None
    """Entries that it is behind, rounded up to a power of two; 0 below 64."""
    node: str | None = None
    """Node that its pod runs on."""
    last_contact: str | None = None
    """When the leader last heard of it; absent while it does."""


class DiagnosisStatus(Model):
    """The zone in one word, and why."""

    health: str = ""
    """Healthy, Partial (some member does not follow), NoLeader, NoQuorum, SplitBrain, Uncertain
    (too little was seen: nothing is forced), Unknown (no server answered), Hibernated or
    NotBootstrapped (no database yet)."""
    message: str = ""
    """Why, in a sentence."""


class PlanStatus(Model):
    """What the operator does next."""

    step: str = ""
    """Kind of the step."""
    message: str = ""
    """What is done or awaited, in a sentence."""
    waiting_for: str | None = None
    """What must happen before the operator goes on, in one word; absent when it does not wait."""


class CertificateStatus(Model):
    """A certificate that the zone lives by."""

    name: Annotated[str, Field(max_length=64)]
    """authority, peers (of the servers' certificates the first that ends), or api."""
    not_after: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it ends."""


class PastStep(Model):
    """A step that the operator took."""

    time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When it was begun."""
    step: Annotated[str, Field(max_length=64)]
    """Kind of the step."""
    message: Annotated[str, Field(max_length=1024)]
    """What was done, in a sentence."""


class BackupStatus(Model):
    """The zone's backups by schedule."""

    last_successful: Name | None = None
    """The newest OneZoneBackup that succeeded, scheduled or not."""
    last_successful_time: Moment | None = None
    """When it was begun: it holds at least what was acknowledged before."""
    last_verified_time: Moment | None = None
    """The same of the newest one that a server was started on."""
    last_scheduled_time: Moment | None = None
    """The last time of the schedule that a backup was made for."""
    next_time: Moment | None = None
    """The next time of the schedule."""
    failures: int = 0
    """Scheduled backups that failed since one succeeded."""


class OneZoneStatus(Model):
    """A zone as it was found."""

    observed_generation: int = 0
    """Generation of the spec that this describes."""
    zone_uuid: Annotated[str | None, Field(alias="zoneUUID")] = None
    """Identity of the zone, in every database and certificate of it."""
    bootstrapped: bool = False
    """Whether the zone's database was made; it never is again."""
    replicas: int = 0
    """Number of members."""
    ready_servers: str = ""
    """Ready servers / members."""
    selector: str = ""
    """Label selector of the pods, for the scale subresource."""
    servers: Annotated[list[ServerStatus], Field(json_schema_extra=map_list("name"))] = Field(
        default_factory=list
    )
    """The servers of the zone."""
    leader: str | None = None
    """Name of the leader."""
    term: int | None = None
    """Term of the leader."""
    endpoint: str | None = None
    """XML-RPC URL that leads to the leader."""
    diagnosis: DiagnosisStatus = Field(default_factory=DiagnosisStatus)
    """The zone in one word, and why."""
    plan: PlanStatus = Field(default_factory=PlanStatus)
    """What the operator does next."""
    history: Annotated[list[PastStep], Field(json_schema_extra=_ATOMIC)] = Field(
        default_factory=list
    )
    """The last twenty steps that changed something, the latest last."""
    backup: BackupStatus | None = None
    """The zone's backups; absent while there are none and none are wanted."""
    certificates: Annotated[list[CertificateStatus], Field(json_schema_extra=map_list("name"))] = (
        Field(default_factory=list)
    )
    """When the zone's certificates end."""
    conditions: Annotated[list[Condition], Field(json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    """Ready, Quorate, LeaderElected, RoutingInSync, AllServersReady, Progressing, Degraded,
    ConfigInSync, VolumesInSync, CertificatesReady, BackupReady, Paused and Hibernated."""

    def condition(self, kind: str) -> Condition | None:
        """The condition of one type, None before it was first written."""
        return next((each for each in self.conditions if each.type == kind), None)
