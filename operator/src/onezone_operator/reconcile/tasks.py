"""OneZoneTasks: which one is carried out, and the next step of it. One at a time, the oldest first.

A task's status holds what it was started with, so that the facts tell at any moment what is done
already. A task that only shows what it would do keeps no other from being carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonetask import OneZoneTask, OneZoneTaskStatus
from onezone_operator.models.request import SUCCEEDED
from onezone_operator.models.status import Condition
from onezone_operator.reconcile.membership import build_registration, own_members
from onezone_operator.reconcile.quorum import Diagnosis, majority
from onezone_operator.reconcile.steps import (
    BEST_SERVER,
    DeleteTask,
    DeleteVolume,
    HandOver,
    RemoveMember,
    ReportTask,
    Step,
    Wait,
)

__all__ = [
    "active_task",
    "fail",
    "plan_finished_tasks",
    "plan_task",
    "report",
    "start",
    "succeed",
    "timestamp",
]

HAND_OVER_WITHIN = timedelta(minutes=2)
"""A hand-over that did not come about by then is given up: whoever asked looks elsewhere."""

_TEXT_MAX = 1024
"""Characters of a sentence in a task's status."""


def active_task(observed: ObservedZone) -> OneZoneTask | None:
    """The task that is carried out now: one that was started, else the oldest that may be."""
    ready = [
        task
        for task in observed.tasks
        if not task.is_finished
        and task.metadata.deletion_timestamp is None
        and (task.is_started or task.spec.confirm or not task.shows_first)
    ]
    started = [task for task in ready if task.is_started]
    return min(started or ready, key=lambda task: task.order, default=None)


def plan_finished_tasks(observed: ObservedZone, now: datetime) -> Step | None:
    """Delete the next task that was over for as long as it said."""
    for task in observed.tasks:
        seconds, ended = task.spec.ttl_seconds_after_finished, task.status.completed_at
        if not task.is_finished or seconds is None or ended is None:
            continue
        if now >= datetime.fromisoformat(ended) + timedelta(seconds=seconds):
            return DeleteTask(task.name, task.uid)
    return None


def plan_task(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """The next step of a hand-over or a replacement.

    Only to be called with a quorum. None when there is no such task, or the rest of the plan is
    to go on for it.
    """
    task = active_task(observed)
    if task is None or diagnosis.leader is None:
        return None
    if task.spec.type == "HandOver":
        return _plan_hand_over(task, diagnosis, now)
    if task.spec.type == "ReplaceServer":
        return _plan_replacement(zone, observed, diagnosis, task, now)
    return None


# --- handing over ------------------------------------------------------------------------


def _plan_hand_over(task: OneZoneTask, diagnosis: Diagnosis, now: datetime) -> Step | None:
    assert diagnosis.leader is not None
    leader, wanted = diagnosis.leader.name, task.spec.server
    if task.status.started_at is None:
        fault = _hand_over_fault(wanted, diagnosis)
        if fault:
            return fail(task, fault, now)
        if wanted == leader:
            return succeed(task, f"{leader} leads already", now)
        heir = wanted or "the best server"
        return start(task, f"Handing over from {leader} to {heir}", now, former_leader=leader)
    if leader == wanted or (wanted is None and leader != task.status.former_leader):
        return succeed(task, f"{leader} leads", now)
    if now - datetime.fromisoformat(task.status.started_at) > HAND_OVER_WITHIN:
        return fail(task, f"{leader} still leads. {task.status.message}", now)
    if wanted is not None and wanted not in diagnosis.healthy:
        return Wait("HandOverWaiting", f"Waiting until {wanted} follows, to hand over to it")
    ids = {member.name: member.id for member in diagnosis.members}
    if wanted is not None and wanted not in ids:
        return fail(task, f"{wanted} is no member of the zone any more", now)
    return HandOver(task, leader, wanted, BEST_SERVER if wanted is None else ids[wanted])


def _hand_over_fault(wanted: str | None, diagnosis: Diagnosis) -> str:
    voters = {member.name for member in diagnosis.voters}
    if len(voters) < 2:  # noqa: PLR2004 - somebody else
        return "The zone has one server that votes: nobody else can lead"
    if wanted is None or wanted in voters:
        return ""
    if any(member.name == wanted for member in diagnosis.members):
        return f"{wanted} has no vote yet: it gets one when it has caught up"
    return f"{wanted} is no member of the zone, which has {', '.join(sorted(voters))}"


# --- replacing a server ------------------------------------------------------------------


def _plan_replacement(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask, now: datetime
) -> Step | None:
    """Remove the member, delete its volume and pod, register it anew under its name."""
    assert diagnosis.leader is not None
    server = str(task.spec.server)
    ordinal = naming.server_ordinal(zone.name, server)
    if not task.is_started:
        return _begin_replacement(zone, observed, diagnosis, task, now)
    assert ordinal is not None
    if ordinal >= zone.spec.replicas:
        return fail(task, f"{server} is not wanted any more: spec.replicas went down", now)
    if not diagnosis.is_settled:
        return Wait("MembershipChanging", "Waiting until the last membership change is committed")
    leader = diagnosis.leader.name
    member = own_members(zone, diagnosis.members).get(ordinal)
    if member is not None and member.id == task.status.server_id:
        veto = _replacement_veto(diagnosis, server)
        if veto:
            return Wait("TooFewHealthyServers", veto, is_trouble=True)
        if leader == server:
            return HandOver(task, leader, None, BEST_SERVER)
        return RemoveMember(server, member.id, leader)
    step = _plan_emptying(observed, task, ordinal=ordinal, zone=zone, leader=leader)
    if step is not None:
        return step
    if member is None:
        # Not left to the plan of members: for the last server it would take the pod away first.
        return build_registration(zone, diagnosis, ordinal)
    pod = observed.pod(server)
    if member.voter and server in diagnosis.healthy and pod is not None and pod.ready:
        return succeed(task, f"{server} is a voter with an empty past: id {member.id}", now)
    return None


def _begin_replacement(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask, now: datetime
) -> Step | None:
    server = str(task.spec.server)
    ordinal = naming.server_ordinal(zone.name, server)
    member = None
    if ordinal is not None:
        member = own_members(zone, diagnosis.members).get(ordinal)
    if ordinal is None or member is None:
        have = ", ".join(sorted(each.name for each in diagnosis.members))
        return fail(task, f"{server} is no server of this zone, which has {have}", now)
    if ordinal >= zone.spec.replicas:
        return fail(task, f"{server} is about to be removed: spec.replicas went down", now)
    if len(diagnosis.members) < 2:  # noqa: PLR2004 - it and another
        text = "A zone of one server has nobody who could keep its data meanwhile: grow it first"
        return fail(task, text, now)
    veto = _replacement_veto(diagnosis, server) or _unfinished(diagnosis, server)
    if veto:
        return report(task, veto, now)
    volume = observed.volume(naming.volume_name(zone.name, ordinal))
    return start(
        task,
        f"Replacing {server}",
        now,
        server=server,
        server_id=member.id,
        volume_uid=None if volume is None else volume.uid,
    )


def _plan_emptying(
    observed: ObservedZone, task: OneZoneTask, *, ordinal: int, zone: OneZone, leader: str
) -> Step | None:
    """Delete the old claim; None once it is gone. Its pod must go with it, or it would stay."""
    server = str(task.spec.server)
    volume = observed.volume(naming.volume_name(zone.name, ordinal))
    if volume is None or not task.status.volume_uid or volume.uid != task.status.volume_uid:
        return None
    pod = observed.pod(server)
    is_pod_there = pod is not None and not pod.is_terminating
    if volume.is_terminating and not is_pod_there:
        return Wait("VolumeTerminating", f"Waiting until the old volume of {server} is gone")
    uid = pod.uid if pod is not None and is_pod_there else None
    return DeleteVolume(server, volume.name, volume.uid, uid, leader)


def _replacement_veto(diagnosis: Diagnosis, server: str) -> str:
    """Why the server cannot go now: the others must be a quorum of themselves."""
    others = [member for member in diagnosis.voters if member.name != server]
    healthy = sum(member.name in diagnosis.healthy for member in others)
    needed = majority(len(others))
    if others and healthy >= needed:
        return ""
    away = sorted(each.name for each in others if each.name not in diagnosis.healthy)
    return (
        f"Without {server} the quorum would be lost: {needed} other healthy voters are needed,"
        f" {healthy} are there; waiting for {', '.join(away) or 'more servers'}"
    )


def _unfinished(diagnosis: Diagnosis, server: str) -> str:
    learners = [each.name for each in diagnosis.members if not each.voter and each.name != server]
    return f"Waiting until {', '.join(learners)} has caught up" if learners else ""


# --- a task's status -----------------------------------------------------------------------


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def start(task: OneZoneTask, message: str, now: datetime, **record: Any) -> ReportTask:
    """Note what it begins with; the zone is changed only afterwards."""
    record = {"started_at": timestamp(now), **record}
    return _written(task, "Unknown", "Running", message, now, record)


def succeed(task: OneZoneTask, message: str, now: datetime) -> ReportTask:
    return _over(task, "True", "Done", message, now)


def fail(task: OneZoneTask, message: str, now: datetime) -> ReportTask:
    return _over(task, "False", "Failed", message, now)


def report(
    task: OneZoneTask, message: str, now: datetime, *, preview: Sequence[str] | None = None
) -> ReportTask | None:
    """Say what is awaited, or would be done; None when it was said already."""
    record: dict[str, Any] = {} if preview is None else {"preview": list(preview)}
    reason = "Waiting" if preview is None else "Preview"
    step = _written(task, "Unknown", reason, message, now, record)
    return None if step.status == task.status else step


def _over(
    task: OneZoneTask, status: Literal["True", "False"], reason: str, message: str, now: datetime
) -> ReportTask:
    return _written(task, status, reason, message, now, {"completed_at": timestamp(now)})


def _written(  # noqa: PLR0917 - the words of a condition
    task: OneZoneTask,
    status: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
    record: dict[str, Any],
) -> ReportTask:
    message = message[:_TEXT_MAX]
    if "preview" in record:
        record = {**record, "preview": [each[:_TEXT_MAX] for each in record["preview"]]}
    before = task.status.outcome
    same = before is not None and before.status == status
    condition = Condition(
        type=SUCCEEDED,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time
        if before is not None and same
        else timestamp(now),
        observed_generation=task.metadata.generation,
    )
    return ReportTask(
        task,
        OneZoneTaskStatus.model_validate(
            {
                **task.status.model_dump(),
                **record,
                "observed_generation": task.metadata.generation,
                "message": message,
                "conditions": [condition.model_dump()],
            }
        ),
    )
