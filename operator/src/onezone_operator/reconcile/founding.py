"""RecoverQuorum and Restore: the zone goes on with one server, and the others join it anew.

Both end what the zone was: what only other servers hold is given up. So neither is ever done
unasked, and a quorum is recovered only where it is certain that there is none. All pods stop; the
ConfigMap names the server that founds the zone; it starts, and the others after it, each with its
database put aside. Volumes are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

from onezone_operator import naming
from onezone_operator.models.observed import ObservedZone, ServerReport
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.reconcile.membership import known_size
from onezone_operator.reconcile.quorum import Diagnosis, Health
from onezone_operator.reconcile.sources import source_of_task
from onezone_operator.reconcile.steps import ApplyObjects, ReportTask, SetReplicas, Step, Wait
from onezone_operator.reconcile.tasks import active_task, fail, report, start, succeed
from onezone_operator.resources.children import (
    Shape,
    build_found_config_map,
    build_sized_stateful_set,
)

__all__ = ["Founding", "keeps_volumes", "plan_founding", "plan_previews"]

_TYPES = frozenset({"RecoverQuorum", "Restore"})
_NEVER_OVER = frozenset({Health.SPLIT, Health.UNCERTAIN})
"""A zone that may be better than it looks is not replaced by a backup."""

CONFIRM = "Set spec.confirm to true to do this"


@dataclass(frozen=True, slots=True)
class Founding:
    """What servers read when they start, see ``onedb prepare``.

    Attributes:
        id: a server carries each founding out once.
        server: who founds the zone; empty when that is done, and all others still begin empty.
        source: URL of a backup, None for the server's own database.
    """

    id: str
    server: str
    source: str | None

    def text(self) -> str:
        """The value in the ConfigMap."""
        return json.dumps(
            {"id": self.id, "server": self.server, "source": self.source}, separators=(",", ":")
        )


def keeps_volumes(observed: ObservedZone) -> bool:
    """Whether pods go and come for a founding: their volumes stay whatever the policy says."""
    task = active_task(observed)
    return task is not None and task.is_started and task.spec.type in _TYPES


def plan_previews(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """Write what a task that was not confirmed yet would do, where that is not written."""
    for task in observed.tasks:
        if task.is_finished or task.is_started or task.spec.confirm or not task.shows_first:
            continue
        fault, sentences = _outlook(zone, observed, diagnosis, task)
        step = report(task, fault or CONFIRM, now, preview=() if fault else sentences)
        if step is not None:
            return step
    return None


def plan_founding(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape, now: datetime
) -> Step | None:
    """The next step of the active task, if it is of this kind. None to let the plan go on."""
    task = active_task(observed)
    if task is None or task.spec.type not in _TYPES:
        return _plan_left_over(zone, observed, diagnosis, shape)
    if not task.is_started:
        return _begin(zone, observed, diagnosis, task, now)
    founding = Founding(task.uid, str(task.status.server), task.status.location)
    live = _live_founding(zone, observed)
    if live == replace(founding, server="").text():
        return _plan_rest(zone, observed, diagnosis, task, now)
    if live != founding.text():
        return _plan_stop(zone, observed, founding, shape)
    return _plan_start(zone, observed, diagnosis, founding, shape)


# --- deciding ------------------------------------------------------------------------------


def _begin(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask, now: datetime
) -> ReportTask | None:
    if task.spec.type == "RecoverQuorum" and diagnosis.is_quorate:
        return fail(task, f"The zone has a quorum ({diagnosis.health}): nothing to do", now)
    fault, sentences = _outlook(zone, observed, diagnosis, task)
    if fault:
        return report(task, fault, now)
    server = _founder(zone, observed, diagnosis, task)
    message = f"The zone begins anew with {server}"
    return start(
        task, message, now, server=server, preview=sentences, location=_source(zone, observed, task)
    )


def _outlook(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask
) -> tuple[str, list[str]]:
    """Why it cannot be done now, or what will be done and what may be lost."""
    if zone.spec.hibernated:
        return "The zone hibernates: wake it first (spec.hibernated)", []
    if task.spec.type == "RecoverQuorum":
        return _recovery_outlook(observed, diagnosis, task)
    return _restore_outlook(zone, observed, diagnosis, task)


def _recovery_outlook(
    observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask
) -> tuple[str, list[str]]:
    if diagnosis.health is not Health.NO_QUORUM:
        return (
            (
                f"The zone is {diagnosis.health}. A quorum is recovered only while it is certain"
                " that there is none (NoQuorum)"
            ),
            [],
        )
    answering = _answering(observed, diagnosis)
    if not answering:
        return "No voter of the zone answers: there is no log to go on with", []
    best = max(answering, key=_log_end)
    chosen = best
    if task.spec.server is not None:
        named = [each for each in answering if each.name == task.spec.server]
        if not named:
            have = ", ".join(sorted(each.name for each in answering))
            return f"{task.spec.server} is no voter that answers; {have} would do", []
        chosen = named[0]
    given_up = sorted(m.name for m in diagnosis.members if m.name != chosen.name)
    silent = sorted({m.name for m in diagnosis.voters} - {each.name for each in answering})
    sentences = [
        (
            f"All servers are stopped, and {chosen.name} begins the zone anew as its only member,"
            f" with all of its log: it ends with entry {chosen.log_index} of term"
            f" {chosen.log_term}."
        ),
        (
            f"The copies of {', '.join(given_up)} are given up: put aside on their volumes as"
            " one.db.replaced-…, not deleted. These servers join again empty, one at a time."
        ),
    ]
    if silent:
        sentences.append(
            f"Changes that only {', '.join(silent)} hold are lost, acknowledged ones among them:"
            " nobody here can tell whether there are any."
        )
    if _log_end(chosen) != _log_end(best):
        sentences.append(
            f"The log of {best.name} is longer: it ends with entry {best.log_index} of term"
            f" {best.log_term}. What only it holds is lost."
        )
    sentences.append(
        "Changes in the log of which nobody was told that they were done may become done."
    )
    return "", sentences


def _restore_outlook(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask
) -> tuple[str, list[str]]:
    if diagnosis.health in _NEVER_OVER:
        return f"The zone is {diagnosis.health}: nothing is replaced before it is certain", []
    source = _source(zone, observed, task)
    if source is None:
        return f"Waiting until backup {_backup_name(task)} exists and succeeded", []
    server = _founder(zone, observed, diagnosis, task)
    ordinal = naming.server_ordinal(zone.name, server)
    if ordinal is None or ordinal >= max(known_size(zone, diagnosis), 1):
        return f"{server} is no server of this zone", []
    return "", [
        (
            f"All servers are stopped, and {server} begins the zone anew as its only member, from"
            f" {source}."
        ),
        "Everything that was changed since that backup was taken is lost.",
        (
            "Users and passwords become those of the backup; oneadmin's password stays the one in"
            " the zone's Secret."
        ),
        (
            "The databases of all servers are put aside on their volumes as one.db.replaced-…, not"
            " deleted. The other servers join again empty, one at a time."
        ),
    ]


def _founder(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask) -> str:
    if task.spec.server is not None:
        return task.spec.server
    if task.spec.type == "RecoverQuorum":
        return max(_answering(observed, diagnosis), key=_log_end).name
    return naming.server_name(zone.name, 0)


def _answering(observed: ObservedZone, diagnosis: Diagnosis) -> list[ServerReport]:
    """Voters that answer with a database that can be used."""
    voters = {member.name for member in diagnosis.voters}
    return [
        each
        for name, each in observed.reports.items()
        if name in voters and each.initialised and each.database in {"", "ok"}
    ]


def _log_end(each: ServerReport) -> tuple[int, int, str]:
    return each.log_term, each.log_index, each.name


def _source(zone: OneZone, observed: ObservedZone, task: OneZoneTask) -> str | None:
    source = source_of_task(zone, observed, task)
    return source.location if source is not None else None


def _backup_name(task: OneZoneTask) -> str:
    return task.spec.backup_ref.name if task.spec.backup_ref is not None else ""


# --- doing ---------------------------------------------------------------------------------


def _live_founding(zone: OneZone, observed: ObservedZone) -> str:
    live = observed.objects.get(("ConfigMap", naming.config_map_name(zone.name)), {})
    return str((live.get("data") or {}).get(naming.FOUNDING_KEY, ""))


def _plan_stop(zone: OneZone, observed: ObservedZone, founding: Founding, shape: Shape) -> Step:
    """Stop every server, then say who founds: none may read it late or not at all."""
    assert observed.statefulset is not None
    if observed.statefulset.replicas:
        manifest = build_sized_stateful_set(zone, replace(shape, replicas=0))
        return SetReplicas(manifest, observed.statefulset.replicas, 0)
    if observed.pods:
        names = ", ".join(sorted(pod.name for pod in observed.pods))
        return Wait("PodTerminating", f"Waiting until {names} is gone, before the zone begins anew")
    return _name(zone, founding, shape, f"{founding.server} begins the zone anew")


def _plan_start(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, founding: Founding, shape: Shape
) -> Step:
    """Start the server that founds, and those whose pods come before its own."""
    assert observed.statefulset is not None
    ordinal = naming.server_ordinal(zone.name, founding.server)
    assert ordinal is not None
    pods = observed.statefulset.replicas
    if pods <= ordinal:
        manifest = build_sized_stateful_set(zone, replace(shape, replicas=ordinal + 1))
        return SetReplicas(manifest, pods, ordinal + 1)
    if not diagnosis.is_quorate:
        pod = observed.pod(founding.server)
        trouble = f": {pod.trouble}" if pod is not None and pod.trouble else ""
        message = f"Waiting until {founding.server} has begun the zone anew{trouble}"
        return Wait("Founding", message, is_trouble=bool(trouble))
    # All servers were stopped before this was named, so that whoever leads is of the new zone. One
    # that loses its volume from now on must join the zone, not found it again.
    return _name(zone, replace(founding, server=""), shape, f"{founding.server} has begun it")


def _plan_rest(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, task: OneZoneTask, now: datetime
) -> Step | None:
    """The plan of members brings the other servers back; then it is over."""
    ready = {pod.name for pod in observed.pods if pod.ready and not pod.is_terminating}
    voters = {member.name for member in diagnosis.voters}
    is_complete = (
        diagnosis.health is Health.HEALTHY
        and diagnosis.is_settled
        and len(voters) == len(diagnosis.members) == zone.spec.replicas
        and voters <= ready
    )
    if not is_complete:
        return None
    return succeed(task, f"The zone went on with {task.status.server}; all servers are back", now)


def _plan_left_over(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, shape: Shape
) -> Step | None:
    """Somebody deleted the task half-way: what it named must not be founded once more."""
    try:
        found = json.loads(_live_founding(zone, observed) or "{}")
        left = Founding(found["id"], found["server"], found["source"])
    except (ValueError, KeyError, TypeError):
        return None
    if not left.server or not diagnosis.is_quorate:
        return None
    return _name(zone, replace(left, server=""), shape, f"{left.server} has begun it")


def _name(zone: OneZone, founding: Founding, shape: Shape, reason: str) -> ApplyObjects:
    manifest = build_found_config_map(zone, replace(shape, founding=founding.text()))
    return ApplyObjects((manifest,), (f"ConfigMap/{manifest['metadata']['name']}: {reason}",))
