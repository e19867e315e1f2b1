"""Frozen facts about one zone, as one pass found them.

``kube.observe`` and ``zone.client`` fill these in; ``reconcile`` reads nothing else. What could
not be read is absent here, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.onezonetask import OneZoneTask

__all__ = [
    "Manifest",
    "Member",
    "ObjectKey",
    "ObservedApiCertificate",
    "ObservedAuthority",
    "ObservedJob",
    "ObservedPeers",
    "ObservedPod",
    "ObservedRoute",
    "ObservedStatefulSet",
    "ObservedVolume",
    "ObservedZone",
    "ReportedCertificate",
    "ServerReport",
]

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

ObjectKey = tuple[str, str]
"""Kind and name of an object in the zone's namespace."""


@dataclass(frozen=True, slots=True)
class Member:
    """A server in the zone's server set, as one server tells it.

    Attributes:
        lag: entries behind the leader's log; None where the teller does not lead.
        last_contact_seconds: since the leader heard of it; None if never, or not the leader.
    """

    id: int
    name: str
    endpoint: str
    voter: bool
    lag: int | None = None
    last_contact_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ReportedCertificate:
    """What a server tells of one of its certificates; SHA-256 of each."""

    fingerprint: str
    authorities: frozenset[str] = frozenset()
    """Those that it trusts."""
    is_refused: bool = False
    """Its files hold another one, which cannot be used."""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What one server said of itself at ``/status``."""

    name: str
    zone_uuid: str
    server_id: int | None
    state: str
    term: int
    leader_id: int | None
    commit: int
    serving: bool
    initialised: bool
    configuration_committed: bool
    members: tuple[Member, ...] = ()
    version: str = ""
    log_index: int = 0
    log_term: int = 0
    """The last entry of its log: by these Raft tells whose log is longer."""
    database: str = ""
    """ok, or why the server takes no part; empty where it does not tell."""
    certificates: Mapping[str, ReportedCertificate] = field(default_factory=dict)
    """By port, peer and api; empty where it does not tell."""


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A server's pod."""

    name: str
    uid: str
    ready: bool
    created: datetime
    node: str | None = None
    address: str | None = None
    is_terminating: bool = False
    revision: str | None = None
    is_fenced: bool = False
    trouble: str | None = None
    """Why it does not run, as Kubernetes says it: unschedulable, image, crash loop."""


@dataclass(frozen=True, slots=True)
class ObservedStatefulSet:
    """The one StatefulSet; its manifest is among the objects."""

    replicas: int
    update_revision: str | None
    is_current: bool
    """Whether its controller has seen the newest spec: only then is update_revision true."""


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    """A server's claim."""

    name: str
    zone_uuid: str | None = None
    is_bound: bool = False
    is_terminating: bool = False
    uid: str = ""
    version: str = ""
    requested: str | None = None
    """What the claim asks for."""
    capacity: str | None = None
    """What the volume has; None while it has none."""
    storage_class: str | None = None
    is_owned: bool = False
    """Whether it goes when the StatefulSet goes."""
    resize: str = ""
    """How far Kubernetes is with what was asked for, in its words; empty when it is not at it."""
    is_resize_failing: bool = False


@dataclass(frozen=True, slots=True)
class ObservedAuthority:
    """The zone's certificate authority, without its key."""

    zone_uuid: str | None
    bootstrapped: bool
    fingerprint: str | None
    """None when the Secret holds no usable authority."""
    not_after: datetime | None = None
    next: str | None = None
    """Fingerprint of the authority that is to come, trusted already."""
    announced: datetime | None = None
    """Since when the next one is trusted."""
    old: str | None = None
    """Fingerprint of the authority before, trusted still."""
    is_rotation_wanted: bool = False
    """A user asks for another authority."""

    @property
    def trusted(self) -> tuple[str, ...]:
        """Fingerprints of all that are trusted."""
        return tuple(each for each in (self.fingerprint, self.next, self.old) if each)


@dataclass(frozen=True, slots=True)
class ObservedPeers:
    """The Secret with the servers' certificates."""

    trusted: tuple[str, ...] = ()
    """Fingerprints of the authorities in it."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Of the certificates in it, by server."""
    servers: frozenset[str] = frozenset()
    """Whoever has anything in it."""


@dataclass(frozen=True, slots=True)
class ObservedApiCertificate:
    """The API's certificate, whoever issued it."""

    problem: str = ""
    """Why it cannot be used; the rest is empty then."""
    fingerprint: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    names: frozenset[str] = frozenset()
    """DNS names and addresses."""
    trusted: tuple[str, ...] = ()
    """Fingerprints of the authorities beside it."""
    is_of_authority: bool = False
    """Whether the zone's present authority issued it."""


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """Where the leader Service leads."""

    addresses: tuple[str, ...] = ()
    leader: str | None = None
    term: int | None = None


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A Job of a backup.

    Attributes:
        backup: uid of the backup that it is of.
        outcome: the last words of its pod, once it is over.
        reason: why it failed, as Kubernetes says it.
        trouble: why its pod does not run.
    """

    name: str
    backup: str
    state: Literal["Running", "Succeeded", "Failed"]
    outcome: str = ""
    reason: str = ""
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class ObservedZone:
    """Everything one pass knows.

    Attributes:
        objects: the zone's objects as they are, by kind and name; absent ones are absent.
        certificates: end of validity by server, of those that the present authority issued.
        peers: the Secret that these are in.
        api_certificate: of the API's port; None where that speaks http.
        reports: by server name; a server that did not answer is absent.
        contested: objects that someone else keeps changing back; left alone for a while.
        has_credentials: whether the Secret with oneadmin's credentials can be used.
        tasks: the zone's, the oldest first.
        backups: the zone's, the oldest first, and those that it or a task begins with.
        jobs: of the zone's backups.
        lacks_cert_manager: a Certificate is wanted, and the cluster does not know what that is.
        refusal: why Kubernetes does not let a volume grow, as it said right now.
        asks_again: whether what was refused before may be asked for once more.
    """

    objects: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    authority: ObservedAuthority | None = None
    has_credentials: bool = False
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    peers: ObservedPeers = field(default_factory=ObservedPeers)
    api_certificate: ObservedApiCertificate | None = None
    statefulset: ObservedStatefulSet | None = None
    pods: tuple[ObservedPod, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    route: ObservedRoute | None = None
    reports: Mapping[str, ServerReport] = field(default_factory=dict)
    contested: frozenset[ObjectKey] = frozenset()
    tasks: tuple[OneZoneTask, ...] = ()
    backups: tuple[OneZoneBackup, ...] = ()
    jobs: tuple[ObservedJob, ...] = ()
    lacks_cert_manager: bool = False
    refusal: str = ""
    asks_again: bool = False

    def pod(self, name: str) -> ObservedPod | None:
        """The pod of a server."""
        return next((each for each in self.pods if each.name == name), None)

    def backup(self, name: str) -> OneZoneBackup | None:
        """A backup by its name."""
        return next((each for each in self.backups if each.name == name), None)

    def job(self, name: str, backup: str) -> ObservedJob | None:
        """A Job by its name, if it is of the backup with this uid."""
        found = (each for each in self.jobs if each.name == name and each.backup == backup)
        return next(found, None)

    def volume(self, name: str) -> ObservedVolume | None:
        """A claim by its name."""
        return next((each for each in self.volumes if each.name == name), None)
