"""Volumes follow ``spec.storage``: they grow, one server at a time, and never shrink.

First the claims ask for more, the leader's last; each has what it asked for before the next one
asks. Nothing is restarted. Then the StatefulSet, whose claim template cannot be changed, is
deleted without its pods and made again, so that servers which come later get what the spec says.
A template that differs from the spec is therefore a change that is not finished, and the volumes
themselves tell how far it is: nothing else is remembered.

Another storage class, and a size that Kubernetes refuses to give a volume, go into the template
alone: servers get it when they are replaced (OneZoneTask ReplaceServer).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from onezone_operator import naming
from onezone_operator.models.observed import Manifest, ObservedVolume, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.quantity import amount, are_equal
from onezone_operator.reconcile.membership import known_size
from onezone_operator.reconcile.quorum import Diagnosis, Health
from onezone_operator.reconcile.steps import ExpandVolume, RecreateStatefulSet, Step, Wait
from onezone_operator.resources.children import Shape, build_sized_stateful_set

__all__ = [
    "CONDITION",
    "REFUSALS",
    "VolumesVerdict",
    "judge_volumes",
    "plan_full_volume",
    "plan_terminating_stateful_set",
    "plan_volumes",
    "releases_volumes",
]

CONDITION = "VolumesInSync"
REFUSED = "ExpansionRefused"
SHRUNK = "ShrinkRefused"
REFUSALS = frozenset({REFUSED, SHRUNK})
"""Reasons of the condition that ask a user to do something."""

_FULL = "full"
"""What a server says of its database when its disk is."""

_ADVICE = (
    "Set storage.size back, or replace the servers one at a time (OneZoneTask ReplaceServer): new "
    "volumes are made with the size and the storage class of the spec"
)


@dataclass(frozen=True, slots=True)
class VolumesVerdict:
    """What the condition says."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


# --- facts -----------------------------------------------------------------------------------


def _template(zone: OneZone, observed: ObservedZone) -> tuple[str, str | None] | None:
    """Size and storage class that the StatefulSet makes volumes with; None without one."""
    live = observed.objects.get(("StatefulSet", zone.name))
    if live is None:
        return None
    claim = live["spec"]["volumeClaimTemplates"][0]["spec"]
    return str(claim["resources"]["requests"]["storage"]), claim.get("storageClassName")


def _template_difference(zone: OneZone, observed: ObservedZone) -> str | None:
    template = _template(zone, observed)
    if template is None:
        return None
    storage, (size, name) = zone.spec.storage, template
    if not are_equal(size, storage.size):
        return f"new volumes get {size}, storage.size is {storage.size}"
    if name != storage.storage_class_name:
        wanted = storage.storage_class_name or "the cluster's default"
        return (
            f"new volumes get storage class {name or 'default'}, storage.storageClassName is "
            f"{wanted}"
        )
    return None


def _servers_volumes(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis
) -> dict[str, ObservedVolume]:
    """The volume of each server, by the server's name; those that go or have no disk yet do not
    count.
    """
    found = {}
    for ordinal in range(known_size(zone, diagnosis)):
        volume = observed.volume(naming.volume_name(zone.name, ordinal))
        if volume is not None and volume.is_bound and not volume.is_terminating:
            found[naming.server_name(zone.name, ordinal)] = volume
    return found


def _size(volume: ObservedVolume) -> str:
    """Empty where it is not known: nothing is concluded from that."""
    return volume.capacity or volume.requested or ""


def _is_less(size: str, than: str) -> bool:
    left, right = amount(size), amount(than)
    return left is not None and right is not None and left < right


def _has_other_class(zone: OneZone, volume: ObservedVolume) -> bool:
    wanted = zone.spec.storage.storage_class_name
    return wanted is not None and volume.storage_class not in {None, wanted}


def _must_grow(zone: OneZone, volume: ObservedVolume) -> bool:
    """One of another class does not: its server is to be replaced."""
    return _is_less(_size(volume), zone.spec.storage.size) and not _has_other_class(zone, volume)


def _is_asked(zone: OneZone, volume: ObservedVolume) -> bool:
    return are_equal(volume.requested, zone.spec.storage.size)


def _is_shrunk(
    zone: OneZone, observed: ObservedZone, volumes: Iterable[ObservedVolume]
) -> str | None:
    """Why the size cannot be had; None if it can.

    A size that some server still has takes an expansion back which did not come about: that is
    no shrinking, and the larger volumes of others stay. Neither is a volume that somebody made
    larger by hand.
    """
    template, size = _template(zone, observed), zone.spec.storage.size
    if template is None or not _is_less(size, template[0]):
        return None
    sizes = [known for volume in volumes if (known := _size(volume))]
    if not all(_is_less(size, each) for each in sizes):
        return None
    smallest = min(sizes, key=lambda each: amount(each) or 0, default=template[0])
    return (
        f"Volumes cannot shrink: each server has {smallest} or more, storage.size is {size}. Set "
        f"storage.size to {smallest}; for smaller volumes make another OneZone from a backup"
    )


def _refusal(zone: OneZone, observed: ObservedZone) -> str:
    """Why Kubernetes refuses the present spec's size: said now, or before and kept in the status.

    Another spec is asked for anew.
    """
    if observed.refusal:
        return f"{observed.refusal}. {_ADVICE}"
    known = zone.status.condition(CONDITION)
    if known is None or known.reason != REFUSED:
        return ""
    return known.message if known.observed_generation == zone.metadata.generation else ""


# --- plan ------------------------------------------------------------------------------------


def plan_terminating_stateful_set(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Wait until a StatefulSet that is being deleted is gone; then it is made again.

    Nothing that was written into it would last.
    """
    live = observed.objects.get(("StatefulSet", zone.name))
    if live is None or not live["metadata"].get("deletionTimestamp"):
        return None
    return Wait("StatefulSetTerminating", "Waiting until the old StatefulSet is gone")


def plan_full_volume(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Step | None:
    """Let the volume of a server grow whose disk is full.

    It takes no part in the zone, so that it has nothing to lose: neither a quorum nor another
    server is waited for. Full disks may be why there is no quorum.
    """
    if _refusal(zone, observed) and not observed.asks_again:
        return None
    for server, volume in _servers_volumes(zone, observed, diagnosis).items():
        report = observed.reports.get(server)
        is_full = report is not None and report.database == _FULL
        if is_full and _must_grow(zone, volume) and not _is_asked(zone, volume):
            return _expand(zone, server, volume)
    return None


def plan_volumes(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape
) -> Step | None:
    """The next step towards the spec's size and class, or what it waits for; None without any.

    Planned while every server is healthy: trouble with storage costs one server at most. Nothing
    is restarted, so that it waits for no maintenance window.
    """
    volumes = _servers_volumes(zone, observed, diagnosis)
    statefulset = observed.statefulset
    if not _is_healthy(observed, diagnosis) or statefulset is None or not statefulset.is_current:
        return None
    shrunk = _is_shrunk(zone, observed, volumes.values())
    if shrunk is not None:
        return Wait(SHRUNK, shrunk, is_trouble=True)
    refused = _refusal(zone, observed)
    growing = _growing(zone, volumes, diagnosis)
    for server, volume in growing.items():
        if _is_asked(zone, volume):
            return _await_growth(zone, server, volume)
    if growing and (not refused or observed.asks_again):
        server = next(iter(growing))
        return _expand(zone, server, growing[server])
    step = _plan_template(zone, observed, volumes.values(), shape)
    if step is None and growing:
        return Wait(REFUSED, refused, is_trouble=True)
    return step


def releases_volumes(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> bool:
    """Whether the StatefulSet is about to be deleted without its volumes.

    Where volumes go with their StatefulSet they belong to it, in the eyes of the garbage
    collector; its controller might claim one again in the very moment in which it goes.
    """
    if _template_difference(zone, observed) is None or not _is_healthy(observed, diagnosis):
        return False
    volumes = _servers_volumes(zone, observed, diagnosis)
    if _is_shrunk(zone, observed, volumes.values()) is not None:
        return False
    is_refused = bool(_refusal(zone, observed)) and not observed.asks_again
    growing = _growing(zone, volumes, diagnosis)
    return not growing or (is_refused and not any(_is_asked(zone, v) for v in growing.values()))


def _growing(
    zone: OneZone, volumes: dict[str, ObservedVolume], diagnosis: Diagnosis
) -> dict[str, ObservedVolume]:
    """Volumes that are too small: followers' first, the leader's last."""
    leader = diagnosis.leader.name if diagnosis.leader is not None else None
    small = [each for each in volumes.items() if _must_grow(zone, each[1])]
    return dict(sorted(small, key=lambda each: (each[0] == leader, each[0])))


def _is_healthy(observed: ObservedZone, diagnosis: Diagnosis) -> bool:
    statefulset = observed.statefulset
    if diagnosis.health is not Health.HEALTHY or statefulset is None:
        return False
    pods = {pod.name for pod in observed.pods if pod.ready and not pod.is_terminating}
    members = {member.name for member in diagnosis.voters}
    return (
        diagnosis.is_settled
        and len(members) == len(diagnosis.members) == len(observed.pods) == statefulset.replicas
        and members <= pods
    )


def _expand(zone: OneZone, server: str, volume: ObservedVolume) -> ExpandVolume:
    size = zone.spec.storage.size
    return ExpandVolume(server, volume.name, volume.uid, volume.version, _size(volume), size)


def _await_growth(zone: OneZone, server: str, volume: ObservedVolume) -> Wait:
    state = f" ({volume.resize})" if volume.resize else ""
    text = (
        f"Waiting until the volume of {server} has {zone.spec.storage.size}, not {_size(volume)}"
        f"{state}"
    )
    if "FileSystemResizePending" in volume.resize:
        text += (
            f". If it stays so, the driver grows file systems only when they are mounted: "
            f"kubectl -n {zone.namespace} delete pod {server}"
        )
    return Wait("VolumeGrowing", text, is_trouble=volume.is_resize_failing)


def _plan_template(
    zone: OneZone, observed: ObservedZone, volumes: Iterable[ObservedVolume], shape: Shape
) -> Step | None:
    difference = _template_difference(zone, observed)
    if difference is None:
        return None
    if any(volume.is_owned for volume in volumes):
        return Wait("VolumesReleased", "Waiting until no volume would go with the old StatefulSet")
    live = observed.objects["StatefulSet", zone.name]
    return RecreateStatefulSet(
        _build_new(zone, shape),
        live["metadata"].get("uid", ""),
        live["metadata"].get("resourceVersion", ""),
        difference,
    )


def _build_new(zone: OneZone, shape: Shape) -> Manifest:
    """What the plan of objects will make in place of the old one."""
    return build_sized_stateful_set(zone, shape.with_new_claims())


# --- condition -------------------------------------------------------------------------------


def judge_volumes(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> VolumesVerdict:
    """Whether every server has what the spec says, and new ones will."""
    volumes = _servers_volumes(zone, observed, diagnosis)
    if _template(zone, observed) is None and not volumes:
        return VolumesVerdict("Unknown", "NotCreated", "There are no volumes yet")
    shrunk = _is_shrunk(zone, observed, volumes.values())
    if shrunk is not None:
        return VolumesVerdict("False", SHRUNK, shrunk)
    size = zone.spec.storage.size
    growing = _growing(zone, volumes, diagnosis)
    if growing:
        refused = _refusal(zone, observed)
        asked = [each for each in growing.values() if _is_asked(zone, each)]
        if refused and not asked:
            return VolumesVerdict("False", REFUSED, refused)
        small = ", ".join(f"{server} {_size(each)}" for server, each in growing.items())
        failed = "; ".join(each.resize for each in asked if each.is_resize_failing)
        trouble = f" ({failed})" if failed else ""
        return VolumesVerdict("False", "Growing", f"To have {size}: {small}{trouble}")
    difference = _template_difference(zone, observed)
    if difference is not None:
        return VolumesVerdict("False", "OlderTemplate", difference)
    moving = [f"{s} {v.storage_class}" for s, v in volumes.items() if _has_other_class(zone, v)]
    if moving:
        return VolumesVerdict(
            "False",
            "OlderStorageClass",
            f"Volumes stay in the storage class that they are of: {', '.join(moving)}. Replace "
            "these servers one at a time (OneZoneTask ReplaceServer)",
        )
    return VolumesVerdict("True", "UpToDate", f"Every volume has {size} or more")
