"""Grow and shrink, one server at a time: members first, pods after.

Members are the truth. A pod without a member, or a member without a pod, is a step half done,
and is finished before the wished-for number is looked at. So flipping 5 → 3 → 5 visits nothing
in between but the one step under way.
"""

from __future__ import annotations

from dataclasses import replace

from onezone_operator import naming
from onezone_operator.models.observed import Member, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.quorum import Diagnosis, majority
from onezone_operator.reconcile.seed import initial_replicas
from onezone_operator.reconcile.steps import (
    RegisterMember,
    RemoveMember,
    SetReplicas,
    Step,
    Wait,
    WaitForCatchUp,
)
from onezone_operator.resources.children import Shape, build_sized_stateful_set

__all__ = [
    "build_registration",
    "known_size",
    "lacks_pods",
    "own_members",
    "plan_lost_quorum",
    "plan_membership",
]


def own_members(zone: OneZone, members: tuple[Member, ...]) -> dict[int, Member]:
    """Members that are this operator's servers, by ordinal. Others are counted, never touched."""
    found: dict[int, Member] = {}
    for member in members:
        ordinal = naming.server_ordinal(zone.name, member.name)
        if ordinal is not None:
            found[ordinal] = member
    return found


def known_size(zone: OneZone, diagnosis: Diagnosis) -> int:
    """Pods that the known members need; the status remembers them when no server answers."""
    ordinals = [*own_members(zone, diagnosis.members)]
    if not diagnosis.members:
        ordinals = [
            ordinal
            for server in zone.status.servers
            if server.id is not None
            and (ordinal := naming.server_ordinal(zone.name, server.name)) is not None
        ]
    return max(ordinals, default=-1) + 1


def lacks_pods(zone: OneZone, diagnosis: Diagnosis, replicas: int) -> bool:
    """Whether a voter has no pod to come: the zone wakes, or someone scaled the StatefulSet. One
    that was only just added has no vote yet.
    """
    if not diagnosis.members:
        return replicas < known_size(zone, diagnosis)
    own = own_members(zone, diagnosis.voters)
    return any(ordinal >= replicas for ordinal in own)


def plan_lost_quorum(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape
) -> Step | None:
    """The one thing done without a quorum: give members back the pods that someone took.

    That cannot harm: whoever is a member has its vote already, and whoever is none gets none.
    """
    assert observed.statefulset is not None
    needed = known_size(zone, diagnosis)
    if observed.statefulset.replicas == 0:
        # Asleep until now; volumes tell how many there were if the status does not.
        needed = max(needed, initial_replicas(zone, observed))
    if observed.statefulset.replicas < needed:
        return _resize(zone, observed.statefulset.replicas, needed, shape)
    return None


def plan_membership(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape
) -> Step | None:
    """Finish what is half done, else take one step towards ``spec.replicas``.

    Only to be called with a quorum. None when the number of servers is as it shall be.
    """
    assert observed.statefulset is not None
    assert diagnosis.leader is not None
    if not diagnosis.is_settled:
        return Wait("MembershipChanging", "Waiting until the last membership change is committed")
    members = own_members(zone, diagnosis.members)
    size = max(members, default=-1) + 1
    pods = observed.statefulset.replicas
    gaps = [ordinal for ordinal in range(size) if ordinal not in members]
    if gaps:
        return build_registration(zone, diagnosis, gaps[0])
    if pods != size:
        return _resize(zone, pods, size, shape)
    unfinished = _unfinished(zone, observed, members, diagnosis)
    if unfinished is not None:
        return unfinished
    if size < zone.spec.replicas:
        return _grow(zone, observed, diagnosis, size)
    if size > zone.spec.replicas:
        return _shrink(observed, diagnosis, members[size - 1])
    return None


def _unfinished(
    zone: OneZone, observed: ObservedZone, members: dict[int, Member], diagnosis: Diagnosis
) -> Step | None:
    """A learner that has not caught up, or a pod that is still going or coming.

    A learner that shall go anyway is not waited for.
    """
    for ordinal, member in sorted(members.items()):
        if member.voter:
            continue
        if ordinal == max(members) and ordinal >= zone.spec.replicas:
            return None
        pod = observed.pod(member.name)
        if pod is not None and pod.trouble:
            return Wait("ServerNotStarting", f"{member.name}: {pod.trouble}", is_trouble=True)
        return WaitForCatchUp(member.name, member.lag)
    beyond = sorted(
        pod.name
        for pod in observed.pods
        if naming.server_ordinal(zone.name, pod.name) not in members
    )
    if beyond:
        return Wait("PodTerminating", f"Waiting until the pod of {beyond[0]} is gone")
    if zone.spec.replicas > len(members):
        # Growing may go on with a server away, but not past one that is only just starting.
        for member in members.values():
            pod = observed.pod(member.name)
            is_starting = pod is None or (not pod.ready and pod.trouble is None)
            if is_starting and member.name in diagnosis.healthy:
                return Wait("ServerStarting", f"Waiting until {member.name} is ready")
    return None


def _grow(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, size: int) -> Step:
    """Add the next server, if that leaves as many losses to spare as there are now.

    It gets its vote only once it has caught up, so it counts as healthy in the larger quorum.
    """
    name = naming.server_name(zone.name, size)
    volume = naming.volume_name(zone.name, size)
    if any(each.name == volume and each.is_terminating for each in observed.volumes):
        return Wait("VolumeTerminating", f"Waiting until the old volume of {name} is gone")
    voters = len(diagnosis.voters)
    if diagnosis.healthy_voters + 1 < majority(voters + 1):
        return _unsafe(f"add {name}", diagnosis, majority(voters + 1) - 1)
    return build_registration(zone, diagnosis, size)


def _shrink(observed: ObservedZone, diagnosis: Diagnosis, last: Member) -> Step:
    """Remove the highest server, if those that remain and are healthy are a quorum."""
    assert diagnosis.leader is not None
    pod = observed.pod(last.name)
    if pod is not None and pod.is_fenced:
        return Wait("ServerFenced", f"{last.name} is fenced, and not removed meanwhile")
    remaining = [member for member in diagnosis.voters if member.id != last.id]
    healthy = sum(member.name in diagnosis.healthy for member in remaining)
    if healthy < majority(len(remaining)):
        return _unsafe(f"remove {last.name}", diagnosis, majority(len(remaining)))
    return RemoveMember(last.name, last.id, diagnosis.leader.name)


def _unsafe(act: str, diagnosis: Diagnosis, needed: int) -> Wait:
    away = sorted(each.name for each in diagnosis.members if each.name not in diagnosis.healthy)
    return Wait(
        "TooFewHealthyServers",
        f"To {act} takes {needed} other healthy servers; waiting for {', '.join(away)}",
        is_trouble=True,
    )


def build_registration(zone: OneZone, diagnosis: Diagnosis, ordinal: int) -> RegisterMember:
    """The step that adds the server of this ordinal."""
    assert diagnosis.leader is not None
    name = naming.server_name(zone.name, ordinal)
    return RegisterMember(
        name,
        naming.server_endpoint(zone.name, zone.namespace, name, scheme=zone.spec.tls.scheme),
        naming.server_peer(zone.name, zone.namespace, name),
        diagnosis.leader.name,
    )


def _resize(zone: OneZone, before: int, after: int, shape: Shape) -> SetReplicas:
    manifest = build_sized_stateful_set(zone, replace(shape, replicas=after))
    return SetReplicas(manifest, before, after)
