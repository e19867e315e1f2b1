"""Each condition of a zone: whether it holds, why, and what is awaited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.backup_status import judge_backups
from onezone_operator.reconcile.certificates import certificate_trouble
from onezone_operator.reconcile.diagnosis import explain
from onezone_operator.reconcile.fencing import fenced_servers
from onezone_operator.reconcile.hibernation import is_asleep
from onezone_operator.reconcile.quorum import Diagnosis, Health
from onezone_operator.reconcile.rollout import outdated_pods
from onezone_operator.reconcile.routing import route_difference
from onezone_operator.reconcile.seed import is_bootstrapped
from onezone_operator.reconcile.steps import (
    Nothing,
    Step,
    Wait,
    WaitForCatchUp,
    describe,
)
from onezone_operator.reconcile.upgrade import find_blocked
from onezone_operator.reconcile.volumes import CONDITION as VOLUMES
from onezone_operator.reconcile.volumes import judge_volumes
from onezone_operator.resources.drift import template_difference

__all__ = ["CONDITIONS", "Verdict", "judge"]

CONDITIONS = (
    "Ready",
    "Quorate",
    "LeaderElected",
    "RoutingInSync",
    "AllServersReady",
    "Progressing",
    "Degraded",
    "ConfigInSync",
    VOLUMES,
    "CertificatesReady",
    "BackupReady",
    "Paused",
    "Hibernated",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one condition."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""

    @property
    def holds(self) -> bool:
        return self.status == "True"


def judge(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, step: Step, now: datetime
) -> dict[str, Verdict]:
    """All conditions, in the order in which they are shown."""
    backups = judge_backups(zone, observed, now)
    quorate = _quorate(zone, observed, diagnosis)
    routing = _routing(zone, observed, diagnosis)
    servers = _all_servers_ready(zone, observed, diagnosis)
    verdicts = {
        "Quorate": quorate,
        "LeaderElected": _leader_elected(zone, observed, diagnosis),
        "RoutingInSync": routing,
        "AllServersReady": servers,
        "Progressing": _progressing(step),
        "Degraded": _degraded(zone, observed, diagnosis, step),
        "ConfigInSync": _config_in_sync(zone, observed),
        VOLUMES: _volumes(zone, observed, diagnosis),
        "CertificatesReady": _certificates_ready(observed, now),
        "BackupReady": Verdict(backups.status, backups.reason, backups.message),
        "Paused": Verdict("True", "SpecPaused", "spec.paused is set")
        if zone.spec.paused
        else Verdict("False", "NotPaused"),
        "Hibernated": _hibernated(zone, observed),
    }
    verdicts["Ready"] = _ready(quorate, routing, servers)
    return {kind: verdicts[kind] for kind in CONDITIONS}


def _ready(quorate: Verdict, routing: Verdict, servers: Verdict) -> Verdict:
    for each in (quorate, routing):
        if not each.holds:
            return Verdict("False", each.reason, each.message)
    if not servers.holds:
        return Verdict("False", servers.reason, f"The zone serves. {servers.message}")
    return Verdict("True", "AllServersReady", servers.message)


def _quorate(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Verdict:
    finding = explain(zone, observed, diagnosis)
    match finding.health:
        case Health.HEALTHY | Health.PARTIAL:
            status: Literal["True", "False", "Unknown"] = "True"
        case Health.UNKNOWN | Health.UNCERTAIN | Health.NO_LEADER:
            status = "Unknown"
        case Health.NOT_BOOTSTRAPPED | Health.NO_QUORUM | Health.SPLIT | Health.HIBERNATED:
            status = "False"
    return Verdict(status, str(finding.health), finding.message)


def _leader_elected(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Verdict:
    if diagnosis.leader is not None:
        leader = diagnosis.leader
        return Verdict("True", "Elected", f"{leader.name} leads in term {leader.term}")
    if not is_bootstrapped(zone, observed):
        return Verdict("False", "NotBootstrapped", "The zone's database is not made yet")
    if zone.spec.hibernated:
        return Verdict("False", "Hibernated", "The zone is hibernated (spec.hibernated)")
    if diagnosis.health in {Health.UNKNOWN, Health.UNCERTAIN}:
        return Verdict("Unknown", str(diagnosis.health), "A leader is not confirmed by a quorum")
    return Verdict("False", str(diagnosis.health), "No server leads with a quorum")


def _routing(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Verdict:
    if diagnosis.leader is None:
        reason = "NoLeader" if is_bootstrapped(zone, observed) else "NotBootstrapped"
        return Verdict("Unknown", reason, "Without a leader there is nothing to compare with")
    difference = route_difference(observed, diagnosis)
    if difference is not None:
        return Verdict("False", "RouteDiffers", difference)
    return Verdict("True", "LeadsToLeader", f"The Service leads to {diagnosis.leader.name}")


def _all_servers_ready(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Verdict:
    desired = zone.spec.replicas
    if zone.spec.hibernated:
        return Verdict("False", "Hibernated", "The zone is hibernated (spec.hibernated)")
    good = [
        member.name for member in diagnosis.voters if _is_good(observed, diagnosis, member.name)
    ]
    count = f"{len(good)} of {desired} servers are ready voters"
    away = sorted(member.name for member in diagnosis.members if member.name not in good)
    if away:
        return Verdict("False", "ServersNotReady", f"{count}; not {', '.join(away)}")
    if len(good) != desired:
        return Verdict("False", "SizeDiffers", count)
    return Verdict("True", "AllReady", count)


def _hibernated(zone: OneZone, observed: ObservedZone) -> Verdict:
    """Unknown on the way: neither alarms nor those who wait for it may take it for an end."""
    if not zone.spec.hibernated:
        return Verdict("False", "NotHibernated")
    if is_asleep(zone, observed):
        return Verdict("True", "Hibernated", "No server runs; volumes and members are kept")
    return Verdict("Unknown", "Hibernating", "Servers are being stopped, one by one")


def _is_good(observed: ObservedZone, diagnosis: Diagnosis, name: str) -> bool:
    pod = observed.pod(name)
    return pod is not None and pod.ready and not pod.is_terminating and name in diagnosis.healthy


def _progressing(step: Step) -> Verdict:
    if isinstance(step, Nothing):
        return Verdict("False", step.reason, step.message)
    if isinstance(step, Wait):
        return Verdict("True", step.reason, step.message)
    return Verdict("True", type(step).__name__, describe(step))


def _degraded(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, step: Step) -> Verdict:
    """Something that was there is missing, or the operator is stuck. Growing is neither."""
    if isinstance(step, Wait) and step.is_trouble:
        return Verdict("True", step.reason, step.message)
    if not is_bootstrapped(zone, observed):
        return Verdict("False", "NotBootstrapped")
    if zone.spec.hibernated:
        return Verdict("False", "Hibernated")
    if diagnosis.leader is None:
        return Verdict("True", str(diagnosis.health), "The zone has no confirmed leader")
    new = step.server if isinstance(step, WaitForCatchUp) else None
    away = sorted(
        member.name
        for member in diagnosis.members
        if member.voter and member.name != new and not _is_good(observed, diagnosis, member.name)
    )
    if away:
        reason = "ServersFenced" if fenced_servers(observed).issuperset(away) else "ServersNotReady"
        return Verdict("True", reason, f"Not healthy: {', '.join(away)}")
    return Verdict("False", "Healthy")


def _certificates_ready(observed: ObservedZone, now: datetime) -> Verdict:
    if observed.authority is None or observed.authority.fingerprint is None:
        return Verdict("Unknown", "NotCreated", "There is no authority yet")
    trouble = certificate_trouble(observed, now)
    if trouble is not None:
        return Verdict("False", *trouble)
    return Verdict("True", "AllValid", "No certificate ends soon")


def _volumes(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Verdict:
    found = judge_volumes(zone, observed, diagnosis)
    return Verdict(found.status, found.reason, found.message)


def _config_in_sync(zone: OneZone, observed: ObservedZone) -> Verdict:
    statefulset = observed.statefulset
    live = observed.objects.get(("StatefulSet", zone.name))
    if statefulset is None or live is None:
        known = zone.status.condition("ConfigInSync")
        if known is not None and known.observed_generation == zone.metadata.generation:
            # Deleted, to be made again around the same pods.
            return Verdict(known.status, known.reason, known.message)
        return Verdict("Unknown", "NotCreated", "There is no StatefulSet")
    if observed.contested:
        names = ", ".join(sorted(f"{kind} {name}" for kind, name in observed.contested))
        return Verdict("False", "ObjectsContested", f"Someone keeps changing {names}")
    blocked = find_blocked(zone, observed)
    if blocked is not None:
        return Verdict("False", "UpgradeBlocked", f"The image is not rolled out: {blocked}")
    differing = template_difference(zone, live)
    if differing is not None:
        # Not written yet (the status is, before the step), or the zone is paused.
        return Verdict(
            "False", "OlderTemplate", f"The StatefulSet is of an older spec: {differing}"
        )
    if not statefulset.is_current:
        # Its controller is a moment behind, perhaps only by a number of pods.
        known = zone.status.condition("ConfigInSync")
        if known is not None:
            return Verdict(known.status, known.reason, known.message)
        return Verdict("Unknown", "NotObserved", "The StatefulSet's controller has not seen it yet")
    outdated = [pod.name for pod in outdated_pods(observed)]
    if outdated:
        return Verdict(
            "False", "OlderTemplate", f"Pods of an older template: {', '.join(outdated)}"
        )
    return Verdict("True", "UpToDate", "Every pod runs the present template")
