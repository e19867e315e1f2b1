"""The status of a zone, from the same facts and diagnosis that the plan was made of.

Everything here can be derived again, but two things that are carried over: the zone's uuid and
that it was bootstrapped. Values that move all the time (lag, last contact) are shown coarsely, so
that a zone at rest is never written.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from onezone_operator import naming
from onezone_operator.models.observed import Member, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.status import (
    Condition,
    DiagnosisStatus,
    OneZoneStatus,
    PastStep,
    PlanStatus,
    ServerStatus,
)
from onezone_operator.reconcile.backup_status import build_backup_status
from onezone_operator.reconcile.certificates import certificate_ends
from onezone_operator.reconcile.conditions import Verdict, judge
from onezone_operator.reconcile.diagnosis import explain
from onezone_operator.reconcile.quorum import CONTACT_SECONDS, Diagnosis, diagnose
from onezone_operator.reconcile.seed import is_bootstrapped, zone_uuid
from onezone_operator.reconcile.steps import Step, awaited, describe, is_change, rounded_lag

__all__ = ["build_status", "timestamp"]

HISTORY_MAX = 20
"""Steps that the status remembers; older ones are in the log."""

_MESSAGE_MAX = 1024

_SAME_CONTACT = timedelta(seconds=10)
"""Two computed moments of one last contact differ by less than this."""


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def build_status(zone: OneZone, observed: ObservedZone, step: Step, now: datetime) -> OneZoneStatus:
    """The status after planning ``step``; equal to ``zone.status`` when nothing changed."""
    diagnosis = diagnose(observed, zone_uuid=zone_uuid(zone, observed))
    servers = _servers(zone, observed, diagnosis, now)
    members = [server for server in servers if server.id is not None]
    ready = sum(server.ready for server in members)
    leader = diagnosis.leader
    verdicts = judge(zone, observed, diagnosis, step, now)
    finding = explain(zone, observed, diagnosis)
    planned = PlanStatus(
        step=type(step).__name__, message=describe(step), waiting_for=awaited(step)
    )
    return OneZoneStatus(
        observed_generation=zone.metadata.generation,
        zone_uuid=zone_uuid(zone, observed),
        bootstrapped=is_bootstrapped(zone, observed),
        replicas=len(members),
        ready_servers=f"{ready}/{max(len(members), zone.spec.replicas)}",
        selector=naming.label_selector(zone.name),
        servers=servers,
        leader=leader.name if leader is not None else None,
        term=leader.term if leader is not None else None,
        endpoint=_endpoint(zone, observed),
        diagnosis=DiagnosisStatus(health=str(finding.health), message=finding.message),
        plan=planned,
        history=_history(zone.status, planned, now) if is_change(step) else zone.status.history,
        backup=build_backup_status(zone, observed, now),
        certificates=certificate_ends(observed),
        conditions=[_condition(zone, kind, verdict, now) for kind, verdict in verdicts.items()],
    )


def _history(before: OneZoneStatus, planned: PlanStatus, now: datetime) -> list[PastStep]:
    """A step that is tried again is the same step."""
    if planned == before.plan:
        return before.history
    message = planned.message[:_MESSAGE_MAX]
    step = PastStep(time=timestamp(now), step=planned.step, message=message)
    return [*before.history, step][-HISTORY_MAX:]


def _condition(zone: OneZone, kind: str, verdict: Verdict, now: datetime) -> Condition:
    before = zone.status.condition(kind)
    flipped = before is None or before.status != verdict.status
    return Condition(
        type=kind,
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        last_transition_time=timestamp(now)
        if flipped or before is None
        else before.last_transition_time,
        observed_generation=zone.metadata.generation,
    )


def _servers(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> list[ServerStatus]:
    """Members and pods; what no server tells now is kept from the last status."""
    before = {server.name: server for server in zone.status.servers}
    told = {member.name: member for member in diagnosis.members}
    names = set(told) | {pod.name for pod in observed.pods}
    if not told:
        names |= {name for name, server in before.items() if server.id is not None}
    found = [
        _server(
            name,
            observed=observed,
            diagnosis=diagnosis,
            told=told,
            before=before.get(name),
            now=now,
        )
        for name in names
    ]
    return sorted(found, key=lambda server: _order(zone, server.name))


def _server(
    name: str,
    *,
    observed: ObservedZone,
    diagnosis: Diagnosis,
    told: dict[str, Member],
    before: ServerStatus | None,
    now: datetime,
) -> ServerStatus:
    pod = observed.pod(name)
    report = observed.reports.get(name)
    member = told.get(name)
    kept = before if not told else None
    role = "unreachable"
    if report is not None:
        role = report.state if report.initialised else "starting"
    elif pod is not None and not pod.ready and member is None and kept is None:
        role = "starting"
    return ServerStatus(
        name=name,
        id=member.id if member is not None else (kept.id if kept is not None else None),
        role=role,
        voter=member.voter if member is not None else (kept.voter if kept is not None else False),
        ready=pod is not None and pod.ready and not pod.is_terminating,
        term=report.term if report is not None and report.initialised else None,
        lag=rounded_lag(member.lag) if member is not None and member.lag is not None else None,
        node=pod.node if pod is not None else None,
        last_contact=_last_contact(member, diagnosis, before, now),
    )


def _last_contact(
    member: Member | None, diagnosis: Diagnosis, before: ServerStatus | None, now: datetime
) -> str | None:
    """When a silent member was last heard; computed anew, it differs by a moment each time."""
    known = before.last_contact if before is not None else None
    if diagnosis.leader is None or member is None:
        return known
    seconds = member.last_contact_seconds
    if seconds is None or seconds <= CONTACT_SECONDS:
        return None
    moment = now - timedelta(seconds=seconds)
    if known is not None and abs(datetime.fromisoformat(known) - moment) < _SAME_CONTACT:
        return known
    return timestamp(moment)


def _order(zone: OneZone, name: str) -> tuple[int, str]:
    ordinal = naming.server_ordinal(zone.name, name)
    return (naming.NAME_MAX if ordinal is None else ordinal, name)


def _endpoint(zone: OneZone, observed: ObservedZone) -> str:
    """The load balancer's address where there is one, else the Service's name."""
    service = observed.objects.get(("Service", naming.leader_service_name(zone.name)), {})
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    host = ingress[0].get("ip") or ingress[0].get("hostname")
    if host is None:
        return naming.zone_endpoint(zone.name, zone.namespace, scheme=zone.spec.tls.scheme)
    host = f"[{host}]" if ":" in host else host
    return f"{zone.spec.tls.scheme}://{host}:{naming.API_PORT}/RPC2"
