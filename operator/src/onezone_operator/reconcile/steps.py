"""The closed set of steps. A pass takes exactly one of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezonebackup import OneZoneBackup, OneZoneBackupStatus
from onezone_operator.models.onezonetask import OneZoneTask, OneZoneTaskStatus

__all__ = [
    "BEST_SERVER",
    "AnnounceAuthority",
    "ApplyObjects",
    "CreateAuthority",
    "CreateBackup",
    "CreateCredentials",
    "CreateJob",
    "DeleteBackup",
    "DeleteTask",
    "DeleteVolume",
    "DropCertificates",
    "DropPolicy",
    "ExpandVolume",
    "FenceServer",
    "HandOver",
    "IssueApiCertificate",
    "IssueCertificates",
    "Nothing",
    "PromoteAuthority",
    "RecordBootstrap",
    "RecreateStatefulSet",
    "RegisterMember",
    "RemoveMember",
    "RepairRoute",
    "ReplacePod",
    "ReportBackup",
    "ReportTask",
    "RetireAuthority",
    "SetCredentialsOwner",
    "SetReplicas",
    "Step",
    "Wait",
    "WaitForCatchUp",
    "awaited",
    "describe",
    "is_change",
    "rounded_lag",
]


@dataclass(frozen=True, slots=True)
class CreateAuthority:
    """Make the zone's certificate authority, and with it, unless known, the zone's uuid."""

    zone_uuid: str | None
    bootstrapped: bool


@dataclass(frozen=True, slots=True)
class CreateCredentials:
    """Make oneadmin's credentials."""

    owned: bool


@dataclass(frozen=True, slots=True)
class SetCredentialsOwner:
    """Let the credentials go with the OneZone, or stay with the volumes."""

    owned: bool


@dataclass(frozen=True, slots=True)
class IssueCertificates:
    """Issue peers' certificates for these servers, and leave valid ones alone."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropCertificates:
    """Take the certificates of servers that are no more out of the Secret."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IssueApiCertificate:
    """Issue the certificate of the API's port, for these names and addresses."""

    hosts: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class AnnounceAuthority:
    """Make the zone's next authority, which is trusted from now on and issues nothing yet."""

    fingerprint: str
    """Of the present one."""
    now: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class PromoteAuthority:
    """Let the next authority issue; the one before is trusted still."""

    fingerprint: str
    """Of the next one."""


@dataclass(frozen=True, slots=True)
class RetireAuthority:
    """Trust the authority before no more."""

    fingerprint: str
    """Of the one before."""


@dataclass(frozen=True, slots=True)
class ApplyObjects:
    """Write the objects that differ from what they shall be."""

    manifests: tuple[Manifest, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropPolicy:
    """Delete a NetworkPolicy of a zone that shall have none."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RecordBootstrap:
    """Note for ever that the zone's database exists."""

    zone_uuid: str


@dataclass(frozen=True, slots=True)
class RegisterMember:
    """Add a server to the zone, as a learner."""

    server: str
    endpoint: str
    peer: str
    leader: str


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Remove a server from the zone; if it leads it hands over by itself."""

    server: str
    server_id: int
    leader: str


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Let the pods follow the members."""

    manifest: Manifest
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class ReplacePod:
    """Delete a server's pod, so that it comes back from the present template."""

    server: str
    uid: str
    is_leader: bool
    reason: str


@dataclass(frozen=True, slots=True)
class FenceServer:
    """Mark a server's pod, so that the server takes no part in the zone; or take the mark away."""

    server: str
    uid: str
    is_fenced: bool


@dataclass(frozen=True, slots=True)
class RepairRoute:
    """Point the leader Service at the leader, unless it was written in a later term."""

    leader: str
    address: str
    node: str | None
    pod_uid: str
    term: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """Let another server lead: this one, or whoever takes over soonest (None, ``BEST_SERVER``)."""

    task: OneZoneTask | None
    """Who asked for it; None for a leader whose pod is replaced next."""
    leader: str
    server: str | None
    server_id: int


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete the claim of a server that is no member any more, and its pod, which holds it."""

    server: str
    volume: str
    volume_uid: str
    pod_uid: str | None
    leader: str


@dataclass(frozen=True, slots=True)
class ExpandVolume:
    """Let a server's claim ask for another size than its volume has."""

    server: str
    volume: str
    volume_uid: str
    version: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RecreateStatefulSet:
    """Delete the StatefulSet and leave its pods and volumes. The plan of objects makes it again."""

    manifest: Manifest
    """What it will be then."""
    uid: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportTask:
    """Write a task's status: it was looked at, is started, or is over."""

    task: OneZoneTask
    status: OneZoneTaskStatus


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Delete a task that was over long ago."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class CreateBackup:
    """Make the OneZoneBackup that the schedule asks for."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Start a backup's Job."""

    manifest: Manifest
    purpose: str


@dataclass(frozen=True, slots=True)
class ReportBackup:
    """Write a backup's status: it is begun, is tried again, or is over."""

    backup: OneZoneBackup
    status: OneZoneBackupStatus


@dataclass(frozen=True, slots=True)
class DeleteBackup:
    """Delete a backup that the zone's retention does not keep."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class WaitForCatchUp:
    """A server that was added copies the zone's state and becomes a voter by itself."""

    server: str
    lag: int | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Something must happen that is not the operator's to do."""

    reason: str
    message: str
    is_trouble: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it shall be."""

    reason: str
    message: str


BEST_SERVER = -1
"""In place of a server's id in a hand-over."""

_LAG_SHOWN = 64

Step = (
    CreateAuthority
    | CreateCredentials
    | SetCredentialsOwner
    | IssueCertificates
    | DropCertificates
    | IssueApiCertificate
    | AnnounceAuthority
    | PromoteAuthority
    | RetireAuthority
    | ApplyObjects
    | DropPolicy
    | RecordBootstrap
    | RegisterMember
    | RemoveMember
    | SetReplicas
    | ReplacePod
    | FenceServer
    | RepairRoute
    | HandOver
    | DeleteVolume
    | ExpandVolume
    | RecreateStatefulSet
    | ReportTask
    | DeleteTask
    | CreateBackup
    | CreateJob
    | ReportBackup
    | DeleteBackup
    | WaitForCatchUp
    | Wait
    | Nothing
)


def rounded_lag(lag: int) -> int:
    """A lag as it is shown: 0 below 64, else the next power of two, so that a busy zone's status
    is not rewritten in every pass.
    """
    return 0 if lag < _LAG_SHOWN else 1 << (lag - 1).bit_length()


def is_change(step: Step) -> bool:
    """Whether the step writes anything."""
    return not isinstance(step, WaitForCatchUp | Wait | Nothing)


def awaited(step: Step) -> str | None:
    """What must happen before there is anything to do, in one word; None when nothing must."""
    match step:
        case WaitForCatchUp():
            return "CatchUp"
        case Wait(reason=reason):
            return reason
        case _:
            return None


def describe(step: Step) -> str:  # noqa: C901, PLR0912 - one short sentence for each kind
    """What the step is about to do, in a sentence."""
    match step:
        case CreateAuthority():
            return "Making the zone's certificate authority"
        case CreateCredentials():
            return "Making oneadmin's credentials"
        case SetCredentialsOwner(owned=owned):
            fate = "go with the OneZone" if owned else "stay with the volumes"
            return f"Letting the credentials {fate}"
        case IssueCertificates(servers=servers):
            if not servers:
                return "Writing which authorities the servers trust"
            return f"Issuing certificates for {', '.join(servers)}"
        case DropCertificates(servers=servers):
            return f"Removing the certificates of {', '.join(servers)}"
        case IssueApiCertificate(reason=reason):
            return f"Issuing the API's certificate: {reason}"
        case AnnounceAuthority(reason=reason):
            return f"Making the zone's next authority: {reason}"
        case PromoteAuthority():
            return "Letting the zone's next authority issue certificates"
        case RetireAuthority():
            return "Trusting the zone's authority before no more"
        case ApplyObjects(manifests=manifests):
            names = [f"{each['kind']}/{each['metadata']['name']}" for each in manifests]
            return f"Writing {', '.join(names)}"
        case DropPolicy(name=name):
            return f"Deleting NetworkPolicy {name}, which is switched off"
        case RecordBootstrap():
            return "Recording that the zone's database exists"
        case RegisterMember(server=server):
            return f"Adding server {server} to the zone"
        case RemoveMember(server=server):
            return f"Removing server {server} from the zone"
        case SetReplicas(before=before, after=after):
            return f"Changing the number of pods from {before} to {after}"
        case ReplacePod(server=server, reason=reason):
            return f"Replacing the pod of {server}: {reason}"
        case FenceServer(server=server, is_fenced=is_fenced):
            return f"Fencing {server}" if is_fenced else f"Taking the fence of {server} away"
        case RepairRoute(leader=leader, term=term):
            return f"Pointing the leader Service at {leader} (term {term})"
        case HandOver(task=task, leader=leader, server=server):
            heir = "the best server" if server is None else server
            purpose = "" if task else ", before its pod is replaced"
            return f"Handing leadership over from {leader} to {heir}{purpose}"
        case DeleteVolume(server=server):
            return f"Deleting the volume and the pod of {server}, which is no member"
        case ExpandVolume(server=server, before=size, after=after):
            return f"Letting the volume of {server} grow from {size} to {after}"
        case RecreateStatefulSet(reason=reason):
            return f"Making the StatefulSet anew around its pods: {reason}"
        case ReportTask(task=reported, status=status):
            return f"Task {reported.name} ({reported.spec.type}): {status.message}"
        case DeleteTask(name=name):
            return f"Deleting task {name}, which was over long ago"
        case CreateBackup(manifest=manifest):
            return f"Making backup {manifest['metadata']['name']} by the schedule"
        case CreateJob(purpose=purpose):
            return f"Starting a Job: {purpose}"
        case ReportBackup(backup=backup, status=status):
            return f"Backup {backup.name}: {status.message}"
        case DeleteBackup(name=name):
            return f"Deleting backup {name}, which the retention does not keep"
        case WaitForCatchUp(server=server, lag=lag):
            behind = f", up to {rounded_lag(lag)} entries behind" if lag else ""
            return f"Waiting until {server} has caught up and votes{behind}"
        case Wait(message=message) | Nothing(message=message):
            return message
