"""OneZoneTasks: one situation, one step. Whole courses are in ``test_tasks_in_a_world``."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import ObservedRoute, ObservedVolume
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.reconcile import plan
from onezone_operator.reconcile.notices import notice_of_step
from onezone_operator.reconcile.steps import (
    DeleteTask,
    DeleteVolume,
    HandOver,
    Nothing,
    RegisterMember,
    RemoveMember,
    ReportTask,
    Wait,
    WaitForCatchUp,
    describe,
)
from onezone_operator.reconcile.tasks import HAND_OVER_WITHIN, timestamp

ONE = build_zone(replicas=3)
STARTED = {"startedAt": timestamp(NOW)}


def task(kind: str, *, name: str = "task", age: int = 0, **spec: Any) -> OneZoneTask:
    status = spec.pop("status", {})
    return OneZoneTask.model_validate(
        {
            "metadata": {
                "name": name,
                "namespace": "front",
                "uid": f"uid-{name}",
                "creationTimestamp": timestamp(NOW - timedelta(seconds=age)),
            },
            "spec": {"zoneRef": {"name": "zone"}, "type": kind, **spec},
            "status": status,
        }
    )


def started(kind: str, *, record: dict[str, Any] | None = None, **spec: Any) -> OneZoneTask:
    return task(kind, status={**STARTED, **(record or {})}, **spec)


def finished(one: OneZoneTask, status: str = "True", *, at=NOW) -> OneZoneTask:
    condition = {
        "type": "Succeeded",
        "status": status,
        "reason": "Done",
        "lastTransitionTime": timestamp(at),
    }
    data = one.model_dump(by_alias=True)
    data["status"] |= {"completedAt": timestamp(at), "conditions": [condition]}
    return OneZoneTask.model_validate(data)


def volumes(*ordinals: int, **changes: Any) -> tuple[ObservedVolume, ...]:
    return tuple(
        replace(ObservedVolume(f"data-zone-{each}", is_bound=True, uid=f"claim-{each}"), **changes)
        for each in ordinals
    )


def observed(*tasks: OneZoneTask, zone=ONE, **changes: Any):
    changes.setdefault("volumes", volumes(0, 1, 2))
    return build_observed(zone, tasks=tuple(sorted(tasks, key=lambda each: each.order)), **changes)


def routed(ordinal: int) -> ObservedRoute:
    return ObservedRoute((f"10.0.0.{ordinal}",), f"zone-{ordinal}", 4)


def step_of(*tasks: OneZoneTask, zone=ONE, now=NOW, **changes: Any):
    return plan(zone, observed(*tasks, zone=zone, **changes), now)


def outcome(step: Any) -> tuple[str, str]:
    assert isinstance(step, ReportTask), step
    assert step.status.outcome is not None
    return step.status.outcome.status, step.status.message


def failure(step: Any) -> str:
    status, message = outcome(step)
    assert status == "False"
    assert step.status.completed_at == timestamp(NOW)
    return message


# --- which one -----------------------------------------------------------------------------


def test_the_oldest_task_comes_first_and_a_started_one_before_it():
    old, new = task("HandOver", name="b", age=60), task("HandOver", name="a", age=5)
    assert step_of(old, new).task == old
    begun = started("HandOver", name="a", age=5, server="zone-1")
    step = step_of(old, begun)
    assert isinstance(step, HandOver)
    assert step.task == begun


def test_a_task_that_is_over_or_not_confirmed_keeps_no_other_waiting():
    over = finished(task("HandOver", name="a", age=90), "False")
    shown = task("Restore", name="b", age=60, location="s3://b/z.bck")
    step = step_of(over, shown, task("HandOver", name="c"))
    assert step.task.name == "b"
    assert step.status.preview
    seen = shown.model_copy(update={"status": step.status})
    assert step_of(over, seen, task("HandOver", name="c")).task.name == "c"


def test_a_paused_zone_does_nothing_for_a_task():
    paused = build_zone(replicas=3, paused=True)
    assert step_of(task("HandOver"), zone=paused) == Nothing(
        "Paused", "The operator is paused for this zone (spec.paused)"
    )


@pytest.mark.parametrize(("after", "deleted"), [(59, False), (60, True)])
def test_a_task_is_deleted_when_its_time_is_over(after, deleted):
    over = finished(task("HandOver", ttlSecondsAfterFinished=60))
    step = step_of(over, now=NOW + timedelta(seconds=after))
    assert step == (DeleteTask("task", "uid-task") if deleted else step_of(finished(over)))
    assert isinstance(step, DeleteTask) == deleted


# --- handing over --------------------------------------------------------------------------


def test_a_hand_over_is_noted_then_carried_out_then_over():
    step = step_of(task("HandOver", server="zone-2"))
    assert outcome(step) == ("Unknown", "Handing over from zone-0 to zone-2")
    assert step.status.started_at == timestamp(NOW)
    assert notice_of_step(step).reason == "TaskStarted"
    begun = started("HandOver", server="zone-2", record={"formerLeader": "zone-0"})
    assert step_of(begun) == HandOver(begun, "zone-0", "zone-2", 2)
    done = step_of(begun, reports=build_reports(leader=2), route=routed(2))
    assert outcome(done) == ("True", "zone-2 leads")


def test_a_hand_over_to_the_best_is_over_when_another_leads():
    begun = started("HandOver", record={"formerLeader": "zone-1"})
    assert outcome(step_of(begun)) == ("True", "zone-0 leads")
    begun = started("HandOver", record={"formerLeader": "zone-0"})
    assert step_of(begun) == HandOver(begun, "zone-0", None, -1)


def test_who_leads_already_is_no_hand_over():
    step = step_of(task("HandOver", server="zone-0"))
    assert outcome(step) == ("True", "zone-0 leads already")
    assert notice_of_step(step).reason == "TaskSucceeded"


@pytest.mark.parametrize(
    ("server", "servers", "learners", "text"),
    [
        ("zone-7", 3, (), "zone-7 is no member of the zone"),
        ("zone-2", 3, (2,), "zone-2 has no vote yet"),
        (None, 1, (), "nobody else can lead"),
    ],
)
def test_a_hand_over_that_cannot_be_fails(server, servers, learners, text):
    named = {} if server is None else {"server": server}
    zone = build_zone(replicas=servers)
    facts = build_observed(zone, servers, reports=build_reports(servers, learners=learners))
    step = plan(zone, replace(facts, tasks=(task("HandOver", **named),)), NOW)
    assert text in failure(step)
    assert notice_of_step(step).type == "Warning"


def test_a_hand_over_waits_for_its_server_and_gives_up():
    begun = started("HandOver", server="zone-2", record={"message": "zone-2 lacks 900 entries"})
    away = {"reports": build_reports(silent=(2,))}
    step = step_of(begun, **away)
    assert isinstance(step, Wait)
    assert step.reason == "HandOverWaiting"
    late = step_of(begun, now=NOW + HAND_OVER_WITHIN + timedelta(seconds=1), **away)
    assert outcome(late) == ("False", "zone-0 still leads. zone-2 lacks 900 entries")


def test_nothing_is_handed_over_without_a_quorum():
    step = step_of(task("HandOver", server="zone-1"), reports=build_reports(silent=(1, 2)))
    assert isinstance(step, Wait)


# --- replacing a server --------------------------------------------------------------------


def replacement(server: str = "zone-1", *, number: int = 1) -> OneZoneTask:
    record = {"server": server, "serverId": number, "volumeUID": f"claim-{number}"}
    return started("ReplaceServer", server=server, record=record)


def test_a_replacement_notes_whom_and_what_it_replaces():
    step = step_of(task("ReplaceServer", server="zone-1"))
    assert outcome(step) == ("Unknown", "Replacing zone-1")
    assert (step.status.server, step.status.server_id) == ("zone-1", 1)
    assert step.status.volume_uid == "claim-1"


def test_a_replaced_leader_hands_over_before_it_is_removed():
    leader = replacement("zone-0", number=0)
    assert step_of(leader) == HandOver(leader, "zone-0", None, -1)
    led = {"reports": build_reports(leader=1), "route": routed(1)}
    assert step_of(leader, **led) == RemoveMember("zone-0", 0, "zone-1")


def test_a_member_is_removed_first_and_then_its_volume_and_pod():
    assert step_of(replacement()) == RemoveMember("zone-1", 1, "zone-0")
    gone = without(build_reports(), 1)
    assert step_of(replacement(), reports=gone) == DeleteVolume(
        "zone-1", "data-zone-1", "claim-1", "uid-1", "zone-0"
    )
    going = volumes(0, 2) + volumes(1, is_terminating=True)
    assert isinstance(step_of(replacement(), reports=gone, volumes=going), DeleteVolume)
    pods = (build_pod(0), build_pod(1, is_terminating=True), build_pod(2))
    step = step_of(replacement(), reports=gone, volumes=going, pods=pods)
    assert isinstance(step, Wait)
    assert step.reason == "VolumeTerminating"


def without(reports, ordinal):
    """What the servers say when one of them is no member any more."""
    return {
        name: replace(
            each, members=tuple(m for m in each.members if m.name != f"zone-{ordinal}")
        )
        for name, each in reports.items()
        if name != f"zone-{ordinal}"
    }  # fmt: skip


@pytest.mark.parametrize("server", [1, 2])
def test_a_server_with_a_new_volume_is_registered_anew_whatever_its_place(server):
    fresh = tuple(
        replace(each, uid="claim-new") if each.name == f"data-zone-{server}" else each
        for each in volumes(0, 1, 2)
    )
    step = step_of(
        replacement(f"zone-{server}", number=server),
        reports=without(build_reports(), server),
        volumes=fresh,
    )
    assert isinstance(step, RegisterMember)
    assert step.server == f"zone-{server}"


def test_a_replacement_is_over_when_the_new_member_votes():
    fresh = volumes(0, 2) + volumes(1, uid="claim-new")
    new_id = {
        name: replace(
            each,
            server_id=7 if name == "zone-1" else each.server_id,
            members=tuple(
                replace(m, id=7) if m.name == "zone-1" else m for m in each.members
            ),
        )
        for name, each in build_reports().items()
    }  # fmt: skip
    step = step_of(replacement(), reports=new_id, volumes=fresh)
    assert outcome(step) == ("True", "zone-1 is a voter with an empty past: id 7")
    learning = {
        name: replace(
            each,
            members=tuple(
                replace(m, voter=False) if m.name == "zone-1" else m for m in each.members
            ),
        )
        for name, each in new_id.items()
    }  # fmt: skip
    assert isinstance(step_of(replacement(), reports=learning, volumes=fresh), WaitForCatchUp)


def test_a_replacement_that_would_cost_the_quorum_waits_and_says_so():
    asked = task("ReplaceServer", server="zone-1")
    step = step_of(asked, reports=build_reports(silent=(2,)))
    assert outcome(step) == (
        "Unknown",
        (
            "Without zone-1 the quorum would be lost: 2 other healthy voters are needed, 1 are"
            " there; waiting for zone-2"
        ),
    )
    assert notice_of_step(step) is None
    told = asked.model_copy(update={"status": step.status})
    assert not isinstance(step_of(told, reports=build_reports(silent=(2,))), ReportTask)
    step = step_of(replacement(), reports=build_reports(silent=(2,)))
    assert isinstance(step, Wait)
    assert step.reason == "TooFewHealthyServers"


def test_a_broken_server_can_be_replaced():
    step = step_of(task("ReplaceServer", server="zone-1"), reports=build_reports(silent=(1,)))
    assert outcome(step)[1] == "Replacing zone-1"


@pytest.mark.parametrize(
    ("server", "replicas", "text"),
    [
        ("zone-5", 3, "zone-5 is no server of this zone"),
        ("other", 3, "other is no server of this zone"),
        ("zone-2", 1, "zone-2 is about to be removed"),
    ],
)
def test_a_replacement_that_cannot_be_fails(server, replicas, text):
    zone = build_zone(replicas=replicas)
    step = plan(
        zone,
        replace(build_observed(zone, 3), tasks=(task("ReplaceServer", server=server),)),
        NOW,
    )
    assert text in failure(step)


def test_the_only_server_is_not_replaced():
    zone = build_zone(replicas=1)
    facts = build_observed(zone, 1, tasks=(task("ReplaceServer", server="zone-0"),))
    assert "nobody who could keep its data" in failure(plan(zone, facts, NOW))


# --- beginning anew ------------------------------------------------------------------------


def lost(*, silent=(0, 2), log=(4, 90), **changes: Any) -> dict[str, Any]:
    """Most servers are silent: no quorum, and that is certain."""
    reports = build_reports(leader=None, silent=silent)
    reports = {
        name: replace(each, log_term=log[0], log_index=log[1]) for name, each in reports.items()
    }
    return {"reports": reports, **changes}


def test_a_recovery_tells_what_it_would_do_and_does_nothing():
    step = step_of(task("RecoverQuorum"), **lost())
    assert outcome(step) == ("Unknown", "Set spec.confirm to true to do this")
    assert step.status.started_at is None
    first, given_up, silent, undone = step.status.preview
    assert "zone-1 begins the zone anew as its only member" in first
    assert "entry 90 of term 4" in first
    assert "The copies of zone-0, zone-2 are given up" in given_up
    assert "not deleted" in given_up
    assert "Changes that only zone-0, zone-2 hold are lost" in silent
    assert "may become done" in undone
    shown = task("RecoverQuorum").model_copy(update={"status": step.status})
    rest = step_of(shown, **lost())
    assert isinstance(rest, Wait)
    assert rest.reason == "NoQuorum"


def test_the_longest_log_is_chosen_by_term_and_then_by_index():
    zone = build_zone(replicas=5)
    reports = build_reports(5, leader=None, silent=(0, 1, 2))
    reports["zone-3"] = replace(reports["zone-3"], log_term=5, log_index=10)
    reports["zone-4"] = replace(reports["zone-4"], log_term=4, log_index=99)
    facts = build_observed(zone, 5, reports=reports)
    step = plan(zone, replace(facts, tasks=(task("RecoverQuorum", confirm=True),)), NOW)
    assert step.status.server == "zone-3"
    named = task("RecoverQuorum", confirm=True, server="zone-4")
    step = plan(zone, replace(facts, tasks=(named,)), NOW)
    assert step.status.server == "zone-4"
    assert any("The log of zone-3 is longer" in each for each in step.status.preview)


@pytest.mark.parametrize("confirm", [False, True])
@pytest.mark.parametrize(
    ("reports", "text"),
    [
        (build_reports(silent=(1, 2)), "The zone is Uncertain"),
        (build_reports(leader=None, silent=(2,)), "The zone is NoLeader"),
        ({}, "The zone is Unknown"),
    ],
)
def test_a_quorum_is_recovered_only_when_it_is_certain_that_there_is_none(reports, text, confirm):
    step = step_of(task("RecoverQuorum", confirm=confirm), reports=reports)
    status, message = outcome(step)
    assert status == "Unknown"
    assert text in message
    assert step.status.started_at is None
    assert step.status.preview == []


def test_a_confirmed_recovery_of_a_zone_with_a_quorum_fails():
    assert "The zone has a quorum" in failure(step_of(task("RecoverQuorum", confirm=True)))


def test_a_server_that_does_not_answer_recovers_nothing():
    step = step_of(task("RecoverQuorum", confirm=True, server="zone-0"), **lost())
    assert outcome(step) == (
        "Unknown", "zone-0 is no voter that answers; zone-1 would do"
    )  # fmt: skip


def test_a_server_with_a_damaged_database_recovers_nothing():
    reports = {n: replace(r, database="damaged") for n, r in lost()["reports"].items()}
    step = step_of(task("RecoverQuorum", confirm=True), reports=reports)
    assert "No voter of the zone answers" in outcome(step)[1]


def test_a_restore_tells_what_it_would_do_and_waits():
    step = step_of(task("Restore", location="s3://b/zone.bck"))
    assert step.status.started_at is None
    assert (
        "zone-0 begins the zone anew as its only member, from s3://b/zone.bck"
        in (step.status.preview[0])
    )
    assert "since that backup was taken is lost" in step.status.preview[1]


@pytest.mark.parametrize("silent", [(1, 2)])
def test_a_restore_replaces_nothing_that_is_uncertain(silent):
    asked = task("Restore", location="s3://b/zone.bck", confirm=True)
    step = step_of(asked, reports=build_reports(silent=silent))
    assert "nothing is replaced before it is certain" in outcome(step)[1]


def test_a_restore_to_a_server_that_is_none_waits():
    asked = task("Restore", location="s3://b/zone.bck", confirm=True, server="zone-8")
    assert outcome(step_of(asked)) == ("Unknown", "zone-8 is no server of this zone")


def test_long_words_are_cut_to_what_a_status_holds():
    location = "s3://b/" + "x" * 1000 + ".bck"
    preview = step_of(task("Restore", location=location)).status.preview
    assert max(len(each) for each in preview) == 1024
    begun = started("HandOver", server="zone-2", record={"message": "y" * 1024})
    late = step_of(begun, now=NOW + HAND_OVER_WITHIN + timedelta(seconds=1))
    assert len(outcome(late)[1]) == 1024


def test_a_zone_that_hibernates_does_not_begin_anew():
    sleeping = build_zone(replicas=3, hibernated=True)
    asked = task("Restore", location="s3://b/zone.bck", confirm=True)
    assert "The zone hibernates: wake it first" in outcome(step_of(asked, zone=sleeping))[1]


def test_steps_of_tasks_are_told_in_words():
    one = task("HandOver", server="zone-2")
    assert describe(HandOver(one, "zone-0", "zone-2", 2)) == (
        "Handing leadership over from zone-0 to zone-2"
    )
    assert describe(HandOver(one, "zone-0", None, -1)).endswith("to the best server")
    assert "which is no member" in describe(
        DeleteVolume("zone-1", "data-zone-1", "c", None, "zone-0")
    )
    assert describe(step_of(one)).startswith("Task task (HandOver): Handing over")
