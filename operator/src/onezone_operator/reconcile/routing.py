"""Whether the leader Service leads to the leader, and when that is the operator's to repair.

The route is the leader's to write, and it writes it within moments. The operator only repairs
what stays wrong, and never against a later term.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.quorum import Diagnosis
from onezone_operator.reconcile.steps import RepairRoute, Step

__all__ = ["plan_route", "route_difference"]

GRACE = timedelta(seconds=3)
"""The leader's own hook is given so long; it retries by itself."""


def route_difference(observed: ObservedZone, diagnosis: Diagnosis) -> str | None:
    """What is wrong with the route, None when it is right. Only to be asked with a quorum."""
    assert diagnosis.leader is not None
    leader = diagnosis.leader
    route = observed.route
    if route is None or not route.addresses:
        return "the leader Service leads nowhere"
    pod = observed.pod(leader.name)
    if pod is None or pod.address is None:
        return f"the pod of the leader {leader.name} has no address"
    if route.addresses != (pod.address,):
        led = route.leader or ", ".join(route.addresses)
        return f"the leader Service leads to {led}, not to {leader.name}"
    return None


def plan_route(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """Repair a route that has been wrong for longer than its grace."""
    assert diagnosis.leader is not None
    leader = diagnosis.leader
    pod = observed.pod(leader.name)
    if route_difference(observed, diagnosis) is None or pod is None or pod.address is None:
        return None
    if observed.route is not None and (observed.route.term or 0) > leader.term:
        return None
    known = zone.status.condition("RoutingInSync")
    if known is None or known.status == "True":
        return None
    if now - datetime.fromisoformat(known.last_transition_time) < GRACE:
        return None
    return RepairRoute(leader.name, pod.address, pod.node, pod.uid, leader.term)
