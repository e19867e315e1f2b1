"""Put a zone to sleep: its pods go one by one, its volumes and its members stay.

The StatefulSet takes the pod with the highest number each time; one that leads hands over as it
goes, so the last to go is the first server, and nobody is elected in between for longer than it
takes. Waking needs no step of its own: members without pods get their pods back, all at once.
"""

from __future__ import annotations

from dataclasses import replace

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.steps import Nothing, SetReplicas, Step, Wait
from onezone_operator.resources.children import Shape, build_sized_stateful_set

__all__ = ["is_asleep", "plan_hibernation"]


def is_asleep(zone: OneZone, observed: ObservedZone) -> bool:
    """Whether the zone shall sleep, and no pod of it is left."""
    statefulset = observed.statefulset
    return (
        zone.spec.hibernated
        and not observed.pods
        and statefulset is not None
        and statefulset.replicas == 0
    )


def plan_hibernation(zone: OneZone, observed: ObservedZone, shape: Shape) -> Step | None:
    """One pod less, or rest; None when the zone shall not sleep.

    Asked for by the user and undone by a word, so it needs neither quorum nor leader: what is on
    the volumes is what there will be afterwards.
    """
    if not zone.spec.hibernated:
        return None
    assert observed.statefulset is not None
    pods = observed.statefulset.replicas
    for pod in observed.pods:
        ordinal = naming.server_ordinal(zone.name, pod.name)
        if ordinal is None or ordinal >= pods:
            return Wait(
                "PodTerminating", f"Hibernating: waiting until the pod of {pod.name} is gone"
            )
    if pods > 0:
        manifest = build_sized_stateful_set(zone, replace(shape, replicas=pods - 1))
        return SetReplicas(manifest, pods, pods - 1)
    return Nothing("Hibernated", "The zone is hibernated: volumes and members are kept")
