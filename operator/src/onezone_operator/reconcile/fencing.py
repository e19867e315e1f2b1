"""Fence a server: it takes no part in the zone, while its pod stays to be looked at.

Asked for by the user, and undone at any time. Only as many servers are fenced as the quorum can
spare, unless the user insists with an annotation.
"""

from __future__ import annotations

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.quorum import Diagnosis, majority
from onezone_operator.reconcile.steps import FenceServer, Step, Wait

__all__ = ["explain_fences", "fenced_servers", "plan_fence"]


def fenced_servers(observed: ObservedZone) -> frozenset[str]:
    """Servers whose pods are marked: they are neither replaced nor removed."""
    return frozenset(pod.name for pod in observed.pods if pod.is_fenced)


def plan_fence(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Step | None:
    """Mark the next pod, or take the next mark away; None when nothing is to be done or may be."""
    pods = [pod for pod in observed.pods if not pod.is_terminating]
    for pod in pods:
        if pod.is_fenced and pod.name not in zone.spec.fenced_servers:
            return FenceServer(pod.name, pod.uid, is_fenced=False)
    for pod in pods:
        if pod.is_fenced or pod.name not in zone.spec.fenced_servers:
            continue
        if _refusal(zone, observed, diagnosis, pod.name) is None:
            return FenceServer(pod.name, pod.uid, is_fenced=True)
    return None


def explain_fences(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Wait | None:
    """What to tell when all else is done: who is fenced, or why somebody is not."""
    marked = fenced_servers(observed)
    for server in sorted(set(zone.spec.fenced_servers) - marked):
        reason = _refusal(zone, observed, diagnosis, server)
        if reason is not None and observed.pod(server) is not None:
            return Wait("FenceRefused", reason, is_trouble=True)
    if not marked:
        return None
    names = ", ".join(sorted(marked))
    return Wait("ServerFenced", f"Fenced, and left alone, as spec.fencedServers says: {names}")


def _refusal(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, server: str
) -> str | None:
    if zone.metadata.annotations.get(naming.FENCE_ANY_ANNOTATION) == "true":
        return None
    voters = diagnosis.voters
    # One that is marked may still seem healthy: it looks at its file only now and then.
    lost = {server, *fenced_servers(observed)}
    others = sum(each.name in diagnosis.healthy - lost for each in voters)
    if diagnosis.is_quorate and others >= majority(len(voters)):
        return None
    return (
        f"{server} is not fenced: of {len(voters)} voters {majority(len(voters))} must stay, and "
        f"{others} others are healthy (override: annotation {naming.FENCE_ANY_ANNOTATION}=true)"
    )
