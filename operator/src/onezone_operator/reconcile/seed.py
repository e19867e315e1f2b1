"""The beginning of a zone: identity, secrets, and the one server that makes the database.

A zone is made once. After that it is known by the authority's Secret, by the status and by every
volume; as long as one of them remains, no server may make a database again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.certificates import (
    plan_api_certificate,
    plan_peers_certificates,
)
from onezone_operator.reconcile.steps import (
    CreateAuthority,
    CreateCredentials,
    RecordBootstrap,
    SetCredentialsOwner,
    SetReplicas,
    Step,
    Wait,
)
from onezone_operator.resources.children import Shape, build_sized_stateful_set

__all__ = [
    "initial_replicas",
    "is_bootstrapped",
    "plan_bootstrap",
    "plan_record",
    "plan_secrets",
    "zone_uuid",
]


def zone_uuid(zone: OneZone, observed: ObservedZone) -> str | None:
    """The zone's identity: the authority's, which is made with it, else the status's."""
    if observed.authority is not None and observed.authority.zone_uuid:
        return observed.authority.zone_uuid
    return zone.status.zone_uuid


def is_bootstrapped(zone: OneZone, observed: ObservedZone) -> bool:
    """Whether the zone's database was ever made. Either record is enough."""
    return zone.status.bootstrapped or (
        observed.authority is not None and observed.authority.bootstrapped
    )


def initial_replicas(zone: OneZone, observed: ObservedZone) -> int:
    """Pods of a StatefulSet that does not exist (any more).

    One for a new zone. Otherwise as many as the zone is known to have had, and none less than there
    are: fewer would be no quorum, and pods of servers that are no members do no harm.
    """
    if not is_bootstrapped(zone, observed):
        return 1
    if zone.spec.hibernated:
        # Neither wake those that sleep, nor stop the others all at once.
        running = [naming.server_ordinal(zone.name, pod.name) for pod in observed.pods]
        return max((each for each in running if each is not None), default=-1) + 1
    ordinals = [
        naming.server_ordinal(zone.name, server.name)
        for server in zone.status.servers
        if server.id is not None
    ]
    if not ordinals:
        prefix = f"{naming.DATA_VOLUME}-"
        ordinals = [
            naming.server_ordinal(zone.name, volume.name.removeprefix(prefix))
            for volume in observed.volumes
        ]
    ordinals += [
        naming.server_ordinal(zone.name, pod.name)
        for pod in observed.pods
        if not pod.is_terminating
    ]
    return max((each for each in ordinals if each is not None), default=0) + 1


def plan_secrets(
    zone: OneZone, observed: ObservedZone, *, servers: int, now: datetime
) -> Step | None:
    """Make what is missing of authority, credentials and certificates.

    Args:
        zone: the zone.
        observed: the facts.
        servers: how many servers need a certificate.
        now: the time.
    """
    if observed.authority is None or observed.authority.fingerprint is None:
        return _plan_authority(zone, observed)
    credentials = _plan_credentials(zone, observed)
    if credentials is not None:
        return credentials
    return plan_peers_certificates(
        zone, observed, servers=servers, now=now
    ) or plan_api_certificate(zone, observed, now)


def plan_record(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Record that the zone's database exists, before anything else is done with it.

    Until then a seed that loses its volume would make a second zone.
    """
    authority = observed.authority
    if authority is None or authority.fingerprint is None or authority.bootstrapped:
        return None
    expected = zone_uuid(zone, observed)
    seed = naming.server_name(zone.name, 0)
    report = observed.reports.get(seed)
    if report is not None and report.initialised and not zone.status.bootstrapped:
        if report.zone_uuid != expected:
            return Wait(
                "ZoneMismatch",
                f"{seed} has the database of zone {report.zone_uuid}, not of {expected}",
                is_trouble=True,
            )
        return RecordBootstrap(report.zone_uuid)
    return RecordBootstrap(str(expected)) if zone.status.bootstrapped else None


def plan_bootstrap(zone: OneZone, observed: ObservedZone, shape: Shape) -> Step | None:
    """Wait for the seed's database, with the seed's pod alone. None once it was recorded."""
    assert observed.statefulset is not None
    if is_bootstrapped(zone, observed):
        return None
    pods = observed.statefulset.replicas
    if pods != 1:
        # Someone scaled the StatefulSet.
        manifest = build_sized_stateful_set(zone, replace(shape, replicas=1))
        return SetReplicas(manifest, pods, 1)
    seed = naming.server_name(zone.name, 0)
    pod = observed.pod(seed)
    trouble = f": {pod.trouble}" if pod is not None and pod.trouble else ""
    return Wait(
        "SeedStarting",
        f"Waiting until {seed} has made the zone's database{trouble}",
        is_trouble=bool(trouble),
    )


def _plan_authority(zone: OneZone, observed: ObservedZone) -> Step:
    known = zone_uuid(zone, observed)
    kept = sorted({volume.zone_uuid for volume in observed.volumes if volume.zone_uuid})
    if known is None and len(kept) > 1:
        return Wait(
            "VolumesOfDifferentZones",
            f"Volumes were kept of zones {', '.join(kept)}: delete those that are not wanted",
            is_trouble=True,
        )
    # A kept volume without its authority is an earlier OneZone of this name: it is taken up.
    adopted = known is None and bool(kept)
    return CreateAuthority(
        kept[0] if adopted else known,
        bootstrapped=adopted or is_bootstrapped(zone, observed),
    )


def _plan_credentials(zone: OneZone, observed: ObservedZone) -> Step | None:
    reference = zone.spec.credentials_secret_ref
    if reference is not None:
        if observed.has_credentials:
            return None
        return Wait(
            "CredentialsMissing",
            f"Waiting for Secret {reference.name} with key {naming.AUTH_KEY} (oneadmin:<password>)",
            is_trouble=True,
        )
    policy = zone.spec.storage.persistent_volume_claim_retention_policy
    owned = policy.when_deleted == "Delete"
    if not observed.has_credentials:
        return CreateCredentials(owned=owned)
    live = observed.objects.get(("Secret", naming.auth_secret_name(zone.name)))
    owners = (live or {}).get("metadata", {}).get("ownerReferences") or []
    is_owned = any(owner.get("uid") == zone.metadata.uid for owner in owners)
    return None if is_owned == owned else SetCredentialsOwner(owned=owned)
