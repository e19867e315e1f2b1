"""Planned changes wait for a window, or for a word about the leader; repairs wait for nothing."""

from __future__ import annotations

import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone
from operator_world import World

from onezone_operator import naming
from onezone_operator.models.onezone import MaintenanceWindow
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.rollout import BROKEN_AFTER
from onezone_operator.reconcile.steps import (
    HandOver,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReplacePod,
    Step,
    Wait,
)
from onezone_operator.reconcile.windows import WAITS_FOR_WINDOW, find_opening

SATURDAY = {"schedule": "0 2 * * SAT", "durationMinutes": 120, "timeZone": "Europe/Berlin"}
OPEN = datetime(2026, 3, 7, 1, 30, tzinfo=UTC)
"""Half past two on a Saturday in Berlin; ``NOW`` is a Sunday's noon."""


def windowed(*windows, leader="Auto", annotations=None, **spec):
    zone = build_zone(
        updateStrategy={"leader": leader, "maintenanceWindows": list(windows)}, **spec
    )
    if annotations is None:
        return zone
    metadata = zone.metadata.model_copy(update={"annotations": annotations})
    return zone.model_copy(update={"metadata": metadata})


def outdated(zone, *ordinals, **changes):
    pods = tuple(
        build_pod(each, revision="old" if each in ordinals else "new") for each in range(3)
    )
    return build_observed(zone, pods=pods, **changes)


def test_every_kind_of_step_is_in_the_table():
    assert set(WAITS_FOR_WINDOW) == set(typing.get_args(Step))


def test_change_waits_and_tells_the_next_opening():
    zone = windowed(SATURDAY)
    observed = outdated(zone, 1)
    step = plan(zone, observed, NOW)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("MaintenanceWindow", False)
    status = build_status(zone, observed, step, NOW)
    assert "opens 2026-03-07 01:00 UTC" in status.plan.message
    assert status.plan.waiting_for == "MaintenanceWindow"
    assert status.condition("Degraded").status == "False"
    assert status.condition("ConfigInSync").status == "False"


def test_change_is_made_in_the_window():
    zone = windowed(SATURDAY)
    assert plan(zone, outdated(zone, 1), OPEN).server == "zone-1"
    assert isinstance(plan(zone, outdated(zone, 1), OPEN + timedelta(hours=2)), Wait)


def test_any_of_several_windows_will_do():
    zone = windowed({"schedule": "0 0 1 1 *"}, SATURDAY)
    assert isinstance(plan(zone, outdated(zone, 1), OPEN), ReplacePod)


def test_broken_pod_is_replaced_at_once():
    zone = windowed(SATURDAY)
    broken = build_pod(1, ready=False, revision="old", created=NOW - 2 * BROKEN_AFTER)
    pods = (build_pod(0), broken, build_pod(2))
    observed = build_observed(zone, pods=pods, reports=build_reports(silent=(1,)))
    assert plan(zone, observed, NOW).server == "zone-1"


def test_size_and_route_wait_for_no_window():
    growing = windowed(SATURDAY, replicas=5)
    assert isinstance(plan(growing, outdated(growing, 1), NOW), RegisterMember)
    shrinking = windowed(SATURDAY, replicas=1)
    assert isinstance(plan(shrinking, outdated(shrinking, 1), NOW), RemoveMember)
    zone = windowed(SATURDAY, status={"conditions": _differs_for(30)})
    assert isinstance(plan(zone, outdated(zone, 1, route=None), NOW), RepairRoute)


def _differs_for(seconds):
    moment = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {
            "type": "RoutingInSync",
            "status": "False",
            "reason": "RouteDiffers",
            "lastTransitionTime": moment,
        }
    ]


@pytest.mark.parametrize(
    "window",
    [
        {"schedule": "every day!"},
        {"schedule": "0 2 30 2 *"},
        {"schedule": "0 2 * * *", "timeZone": "Mars/Olympus"},
        {"schedule": "0 2 * * *", "timeZone": "../../etc/passwd"},
    ],
)
def test_window_that_never_opens_is_trouble(window):
    zone = windowed(window)
    step = plan(zone, outdated(zone, 1), NOW)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("WindowNeverOpens", True)


def test_night_in_which_clocks_change_has_its_windows():
    window = MaintenanceWindow(
        schedule="30 1 * * SUN", duration_minutes=120, time_zone="Europe/Berlin"
    )
    # 29 March 2026: at 01:00 UTC clocks in Berlin go from two to three.
    opens = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    states = [
        find_opening([window], opens + timedelta(minutes=minute)).is_open for minute in (-1, 0, 119)
    ]
    assert states == [False, True, True]
    assert not find_opening([window], opens + timedelta(minutes=120)).is_open


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    length=st.integers(5, 3000),
    offset=st.integers(0, 4 * 24 * 60),
)
def test_windows_are_open_as_long_as_they_say(minute, hour, length, offset):
    """Against the same, counted day by day."""
    window = MaintenanceWindow(schedule=f"{minute} {hour} * * *", duration_minutes=length)
    now = NOW + timedelta(minutes=offset)
    today = now.replace(hour=hour, minute=minute)
    begins = [today + timedelta(days=day) for day in range(-4, 3)]
    opening = find_opening([window], now)
    assert opening.is_open == any(
        begin <= now < begin + timedelta(minutes=length) for begin in begins
    )
    if not opening.is_open:
        assert opening.following == min(begin for begin in begins if begin > now)


# The leader


def test_supervised_leader_waits_for_a_word():
    zone = windowed(leader="Manual")
    assert plan(zone, outdated(zone, 0, 1), NOW).server == "zone-1"
    step = plan(zone, outdated(zone, 0), NOW)
    assert isinstance(step, Wait)
    assert step.reason == "LeaderApproval"
    command = "kubectl annotate --overwrite onezone zone -n front onezone.dev/approve-leader=new"
    assert command in step.message


def test_approval_is_of_one_template():
    def step_with(value):
        zone = windowed(leader="Manual", annotations={naming.APPROVE_LEADER_ANNOTATION: value})
        return plan(zone, outdated(zone, 0), NOW)

    assert isinstance(step_with("new"), HandOver)
    assert step_with("old").reason == "LeaderApproval"


def test_approved_leader_waits_for_its_window():
    annotations = {naming.APPROVE_LEADER_ANNOTATION: "new"}
    zone = windowed(SATURDAY, leader="Manual", annotations=annotations)
    assert plan(zone, outdated(zone, 0), NOW).reason == "MaintenanceWindow"
    assert isinstance(plan(zone, outdated(zone, 0), OPEN), HandOver)


def test_leader_that_handed_over_is_a_follower():
    zone = windowed(leader="Manual")
    observed = outdated(zone, 0, reports=build_reports(leader=1))
    observed = replace(
        observed, route=replace(observed.route, leader="zone-1", addresses=("10.0.0.1",))
    )
    assert plan(zone, observed, NOW) == ReplacePod("zone-0", "uid-0", False, "older template")


async def test_supervised_roll_in_the_model_world():
    """Followers are rolled, the leader is not, until the user says so."""
    world = World()
    world.declare(replicas=3, updateStrategy={"leader": "Manual"})
    await run(world, 40)
    assert world.is_as_desired()
    leader, term = world.leader, world.term
    world.declare(image="oned:2")
    await run(world, 40)
    status = world.zone().status
    assert status.plan.waiting_for == "LeaderApproval"
    assert (world.leader, world.term) == (leader, term)
    writes = world.writes
    await run(world, 5)
    assert world.writes == writes
    live = world.objects[(naming.KIND, "zone")]
    revision = world.objects[("StatefulSet", "zone")]["status"]["updateRevision"]
    live["metadata"]["annotations"] = {naming.APPROVE_LEADER_ANNOTATION: revision}
    world.touch(live, spec=False)
    await run(world, 20)
    assert world.is_as_desired()
    assert world.zone().status.plan.step == "Nothing"
    assert world.leader != leader
    assert world.term == term + 1


async def run(world, passes):
    for _ in range(passes):
        await world.run_pass()
        world.step()
