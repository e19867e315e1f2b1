"""``plan``: the facts of one pass → exactly one step.

Order: what is half done is repaired first; without a leader and a quorum nothing is changed; then
the route, the number of servers, and last the pods of an older template. What is not done yet is
said by the step that is.
"""

from __future__ import annotations

from datetime import datetime

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.backups import plan_backups, plan_waiting_backup
from onezone_operator.reconcile.certificates import (
    plan_certificate_request,
    plan_rotation,
    plan_spare_certificates,
)
from onezone_operator.reconcile.diagnosis import explain
from onezone_operator.reconcile.fencing import explain_fences, fenced_servers, plan_fence
from onezone_operator.reconcile.founding import keeps_volumes, plan_founding, plan_previews
from onezone_operator.reconcile.hibernation import plan_hibernation
from onezone_operator.reconcile.membership import (
    known_size,
    lacks_pods,
    plan_lost_quorum,
    plan_membership,
)
from onezone_operator.reconcile.policies import backup_storages, plan_spare_policy
from onezone_operator.reconcile.quorum import Diagnosis, Health, diagnose
from onezone_operator.reconcile.restore import (
    founding_text,
    is_restored,
    plan_missing_backup,
    restore_storage,
)
from onezone_operator.reconcile.rollout import plan_broken_pod, plan_rollout
from onezone_operator.reconcile.routing import plan_route
from onezone_operator.reconcile.seed import (
    initial_replicas,
    is_bootstrapped,
    plan_bootstrap,
    plan_record,
    plan_secrets,
    zone_uuid,
)
from onezone_operator.reconcile.steps import ApplyObjects, Nothing, Step, Wait, is_change
from onezone_operator.reconcile.tasks import plan_finished_tasks, plan_task
from onezone_operator.reconcile.upgrade import find_blocked, hold_image
from onezone_operator.reconcile.volumes import (
    plan_full_volume,
    plan_terminating_stateful_set,
    plan_volumes,
    releases_volumes,
)
from onezone_operator.resources.children import Shape, build_children
from onezone_operator.resources.drift import find_drift
from onezone_operator.resources.metadata import is_foreign
from onezone_operator.resources.tls import api_secret_name

__all__ = ["plan"]

_AWAITED = {
    Health.NO_LEADER: "waiting for an election",
    Health.NO_QUORUM: "waiting for them to come back",
    Health.SPLIT: "nothing is changed, look at the servers' logs",
    Health.UNCERTAIN: "waiting until it is certain",
    Health.UNKNOWN: "waiting for one",
}
"""What a zone without a confirmed leader waits for."""

_FORCED_NEVER = frozenset({Health.SPLIT, Health.UNCERTAIN})
"""What may be better, or worse, than it looks: not even a pod that seems broken is deleted."""


def plan(
    zone: OneZone, observed: ObservedZone, now: datetime, *, address_type: str = "IPv4"
) -> Step:
    """Decide the one step of a pass.

    Args:
        zone: spec and last status; ``spec.image`` filled in.
        observed: the facts.
        now: the time, UTC.
        address_type: family of the pods' addresses.
    """
    if zone.is_deleted:
        return Nothing("Deleted", "The OneZone is being deleted")
    if zone.spec.paused:
        return Nothing("Paused", "The operator is paused for this zone (spec.paused)")
    first = (
        _plan_foreign(zone, observed)
        or plan_record(zone, observed)
        or plan_missing_backup(zone, observed)
    )
    if first is not None:
        return first
    blocked = find_blocked(zone, observed)
    if blocked is not None:
        # All else is done with the image that the servers have.
        held = plan(hold_image(zone, observed), observed, now, address_type=address_type)
        return _blocked(blocked) if isinstance(held, Nothing) else held
    diagnosis = diagnose(observed, zone_uuid=zone_uuid(zone, observed))
    step = plan_terminating_stateful_set(zone, observed) or _plan_objects(
        zone, observed, diagnosis, now, address_type
    )
    if step is not None:
        return step
    shape = _shape(zone, observed, diagnosis, address_type)
    # What volumes wait for holds up nothing else.
    volumes = plan_volumes(zone, observed, diagnosis, shape)
    return (
        _plan_broken(zone, observed, diagnosis, now)
        or plan_bootstrap(zone, observed, shape)
        or plan_finished_tasks(observed, now)
        or plan_previews(zone, observed, diagnosis, now)
        or plan_founding(zone, observed, diagnosis, shape, now)
        or plan_waiting_backup(zone, observed, diagnosis, now)
        or plan_hibernation(zone, observed, shape)
        or plan_fence(zone, observed, diagnosis)
        or plan_full_volume(zone, observed, diagnosis)
        or _plan_without_quorum(zone, observed, diagnosis, shape)
        or plan_route(zone, observed, diagnosis, now)
        or (volumes if volumes is not None and is_change(volumes) else None)
        or plan_task(zone, observed, diagnosis, now)
        or plan_backups(zone, observed, diagnosis, now)
        or plan_membership(zone, observed, diagnosis, shape)
        or plan_rollout(zone, observed, diagnosis, now)
        or _plan_certificates(zone, observed, diagnosis, now)
        or volumes
        or _plan_steady(zone, observed, diagnosis)
    )


def _plan_broken(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    if diagnosis.health in _FORCED_NEVER or zone.spec.hibernated:
        return None
    return plan_broken_pod(observed, now)


def _plan_objects(
    zone: OneZone,
    observed: ObservedZone,
    diagnosis: Diagnosis,
    now: datetime,
    address_type: str,
) -> Step | None:
    """Secrets first, then all other objects: each is what its builder says, or is written."""
    servers = _servers(zone, observed, diagnosis)
    secrets = plan_secrets(zone, observed, servers=servers, now=now)
    if secrets is not None:
        return secrets
    differing, reasons = [], []
    for manifest in build_children(zone, _shape(zone, observed, diagnosis, address_type)):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        drift = find_drift(manifest, observed.objects.get((kind, name)))
        if drift and (kind, name) not in observed.contested:
            differing.append(manifest)
            reasons.append(f"{kind}/{name}: {drift[0]}")
    if differing:
        return ApplyObjects(tuple(differing), tuple(reasons))
    return plan_spare_policy(zone, observed)


def _servers(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> int:
    """How many servers need a certificate: those that are, and those that shall be."""
    pods = observed.statefulset.replicas if observed.statefulset is not None else 0
    return max(zone.spec.replicas, pods, known_size(zone, diagnosis))


def _plan_certificates(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """What has time: the zone serves, and all its servers are there."""
    if any(member.name not in diagnosis.healthy for member in diagnosis.members):
        return None
    return (
        plan_spare_certificates(zone, observed, servers=_servers(zone, observed, diagnosis))
        or plan_certificate_request(zone, observed)
        or plan_rotation(zone, observed, diagnosis, now)
    )


def _shape(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, address_type: str) -> Shape:
    """What the objects depend on. The number of pods is what it is: membership changes it."""
    statefulset = observed.statefulset
    replicas = initial_replicas(zone, observed) if statefulset is None else statefulset.replicas
    bootstrapped = is_bootstrapped(zone, observed)
    known = known_size(zone, diagnosis)
    return Shape(
        zone_uuid=str(zone_uuid(zone, observed)),
        replicas=replicas,
        voters=len(diagnosis.voters) or known or replicas,
        bootstrap="" if bootstrapped or is_restored(zone) else naming.server_name(zone.name, 0),
        address_type=address_type,
        live_stateful_set=observed.objects.get(("StatefulSet", zone.name)),
        founding=founding_text(zone, observed),
        restore_storage=restore_storage(zone, observed),
        backup_storages=backup_storages(zone, observed),
        keeps_volumes=(
            keeps_volumes(observed) or zone.spec.hibernated or lacks_pods(zone, diagnosis, replicas)
        ),
        releases_volumes=releases_volumes(zone, observed, diagnosis),
    )


def _plan_foreign(zone: OneZone, observed: ObservedZone) -> Step | None:
    for (kind, name), live in observed.objects.items():
        if (kind, name) in _provided(zone):
            continue
        if not is_foreign(zone, live):
            continue
        if live.get("metadata", {}).get("deletionTimestamp"):
            return Wait("OldObjectTerminating", f"Waiting until an older {kind} {name} is gone")
        return Wait(
            "NameTaken",
            f"{kind} {name} belongs to something else, or to an earlier OneZone that is still "
            "being deleted; rename the OneZone, or delete it",
            is_trouble=True,
        )
    return None


def _provided(zone: OneZone) -> set[tuple[str, str]]:
    """Secrets that somebody else makes."""
    provided = set()
    if zone.spec.credentials_secret_ref is not None:
        provided.add(("Secret", zone.spec.credentials_secret_ref.name))
    if zone.spec.tls.enabled and not zone.spec.tls.is_own:
        provided.add(("Secret", api_secret_name(zone)))
    return provided


def _plan_without_quorum(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape
) -> Step | None:
    if diagnosis.is_quorate:
        return None
    step = plan_lost_quorum(zone, observed, diagnosis, shape)
    if step is not None:
        return step
    finding = explain(zone, observed, diagnosis)
    message = f"{finding.message}; {_AWAITED.get(finding.health, 'waiting for a leader')}"
    trouble = [f"{pod.name}: {pod.trouble}" for pod in observed.pods if pod.trouble]
    return Wait(str(finding.health), "; ".join([message, *trouble]), is_trouble=True)


def _blocked(reason: str) -> Wait:
    return Wait(
        "UpgradeBlocked",
        f"The image is not rolled out: {reason} (override: annotation "
        f"{naming.ALLOW_VERSION_ANNOTATION} with the version)",
        is_trouble=True,
    )


def _plan_steady(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Step:
    fenced = fenced_servers(observed)
    for member in diagnosis.members:
        if member.name in fenced:
            continue
        pod = observed.pod(member.name)
        if member.name not in diagnosis.healthy or pod is None or not pod.ready:
            trouble = f": {pod.trouble}" if pod is not None and pod.trouble else ""
            return Wait(
                "ServerNotReady", f"Waiting until {member.name} is back{trouble}", is_trouble=True
            )
    if observed.statefulset is not None and not observed.statefulset.is_current:
        # Whether pods are of an older template is not known yet: the roll may be still to come.
        return Wait(
            "StatefulSetNotObserved",
            "Waiting until the StatefulSet's controller has seen the last change",
        )
    fences = explain_fences(zone, observed, diagnosis)
    if fences is not None:
        return fences
    servers = len(diagnosis.members)
    return Nothing("AsDesired", f"{servers} of {zone.spec.replicas} servers, all healthy")
