"""Replace pods of an older template, one at a time: broken ones first, the leader last.

The pod is deleted, not evicted: an eviction would wait behind the disruption budget exactly when
it is needed. The leader hands over first, as a step of its own: the pod that is deleted is a
follower's, to which calls on an old route are still sent and which passes them on. A leader that
does not manage to hand over keeps its pod.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from onezone_operator import naming
from onezone_operator.models.observed import ObservedPod, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.quorum import Diagnosis, majority
from onezone_operator.reconcile.steps import BEST_SERVER, HandOver, ReplacePod, Step, Wait
from onezone_operator.reconcile.windows import plan_in_window

__all__ = ["outdated_pods", "plan_broken_pod", "plan_rollout"]

BROKEN_AFTER = timedelta(seconds=30)
"""A pod that is neither ready nor answering is given so long to start."""


def outdated_pods(observed: ObservedZone) -> tuple[ObservedPod, ...]:
    """Pods of an older template; none while the StatefulSet's controller is behind."""
    statefulset = observed.statefulset
    if statefulset is None or not statefulset.is_current or not statefulset.update_revision:
        return ()
    return tuple(
        pod
        for pod in observed.pods
        if pod.revision != statefulset.update_revision and not pod.is_terminating
    )


def plan_broken_pod(observed: ObservedZone, now: datetime) -> Step | None:
    """Replace an outdated pod that takes no part in the zone.

    That costs no availability, so it is done without a quorum too: it is how a zone gets up again
    after its only or most of its servers were given a template that cannot run.
    """
    for pod in outdated_pods(observed):
        if pod.is_fenced:
            continue
        takes_part = pod.ready or pod.name in observed.reports
        if not takes_part and now - pod.created > BROKEN_AFTER:
            trouble = pod.trouble or "it does not answer"
            return ReplacePod(pod.name, pod.uid, False, f"older template, and {trouble}")
    return None


def plan_rollout(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """Replace the next outdated pod if every other member is healthy; None if there is none.

    Planned, not a repair: it waits for a maintenance window, and the leader, if the user wishes,
    for an approval.
    """
    assert diagnosis.leader is not None
    outdated = [pod for pod in outdated_pods(observed) if not pod.is_fenced]
    if not outdated:
        return None
    leader = diagnosis.leader.name
    candidates = sorted(outdated, key=lambda pod: (pod.ready, pod.name == leader, pod.name))
    chosen = candidates[0]
    for member in diagnosis.members:
        pod = observed.pod(member.name)
        is_ready = pod is not None and pod.ready and not pod.is_terminating
        if member.name != chosen.name and pod is not None and pod.is_fenced:
            return Wait(
                "ServerFenced", f"{member.name} is fenced: {chosen.name} is not replaced meanwhile"
            )
        if member.name != chosen.name and (not is_ready or member.name not in diagnosis.healthy):
            return Wait(
                "RolloutWaiting",
                f"Waiting until {member.name} is healthy before {chosen.name} is replaced",
            )
    voters = diagnosis.voters
    others = sum(each.name in diagnosis.healthy and each.name != chosen.name for each in voters)
    if len(voters) > 1 and others < majority(len(voters)):
        return Wait(
            "TooFewServers",
            f"Replacing {chosen.name} would cost the quorum of {len(voters)} servers: "
            "an odd number of three or more is needed to change a running zone",
            is_trouble=True,
        )
    is_leader = chosen.name == leader
    step = plan_in_window(
        ReplacePod(chosen.name, chosen.uid, is_leader, "older template"),
        zone.spec.update_strategy.maintenance_windows,
        now,
    )
    if not is_leader or isinstance(step, Wait):
        return step
    approval = _plan_approval(zone, observed, leader)
    if approval is not None or len(voters) == 1:
        return approval or step
    return HandOver(None, leader, None, BEST_SERVER)


def _plan_approval(zone: OneZone, observed: ObservedZone, leader: str) -> Step | None:
    """What the leader's replacement waits for; None when it is approved or needs no approval."""
    assert observed.statefulset is not None
    revision = str(observed.statefulset.update_revision)
    approved = zone.metadata.annotations.get(naming.APPROVE_LEADER_ANNOTATION)
    if zone.spec.update_strategy.leader == "Auto" or approved == revision:
        return None
    return Wait(
        "LeaderApproval",
        f"{leader} leads and is the last of an older template. To replace it: kubectl annotate "
        f"--overwrite {naming.SINGULAR} {zone.name} -n {zone.namespace} "
        f"{naming.APPROVE_LEADER_ANNOTATION}={revision}; or let another server lead",
    )
