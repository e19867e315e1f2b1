"""A forecast is what the operator then does: compared with its passes in a model of the world."""

from __future__ import annotations

from dataclasses import replace

import pytest
from operator_facts import NOW, UUID, build_observed, build_pod, build_reports, build_zone
from operator_world import NAMESPACE, ZONE, World
from test_model_world import grown

from onezone_operator.kube.observe import observe_kubernetes
from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.plugin.view import render_forecast
from onezone_operator.reconcile import plan
from onezone_operator.reconcile.forecast import forecast
from onezone_operator.reconcile.steps import (
    BEST_SERVER,
    HandOver,
    Nothing,
    RecordBootstrap,
    RegisterMember,
    RemoveMember,
    ReplacePod,
    SetReplicas,
    Wait,
    describe,
    is_change,
)

DECISIVE = (RegisterMember, RemoveMember, SetReplicas, ReplacePod, RecordBootstrap)


def essence(step):
    """What is decided, without what cannot be known before: ids, names of leaders, uids."""
    if isinstance(step, RegisterMember | RemoveMember | ReplacePod):
        return type(step).__name__, step.server
    if isinstance(step, SetReplicas):
        return "SetReplicas", step.before, step.after
    return (type(step).__name__,)


async def facts_of(world: World) -> tuple[OneZone, ObservedZone]:
    zone = world.zone()
    spec = zone.spec.model_copy(update={"image": zone.spec.image or "oned:1"})
    zone = zone.model_copy(update={"spec": spec})
    observed = (await observe_kubernetes(world, zone)).zone
    addresses = {pod.name: pod.address for pod in observed.pods}
    return zone, replace(observed, reports=await world.read_reports(addresses))


async def taken(world: World) -> list[tuple[object, ...]]:
    """The decisive steps that passes take until the zone is as desired."""
    steps = []
    for _ in range(200):
        zone, observed = await facts_of(world)
        step = plan(zone, observed, world.now)
        await world.run_pass()
        world.step()
        if isinstance(step, DECISIVE):
            steps.append(essence(step))
        if isinstance(step, Nothing) and world.is_as_desired():
            return steps
    raise AssertionError("not settled")


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (1, {"replicas": 3}),
        (3, {"replicas": 5}),
        (5, {"replicas": 1}),
        (3, {"image": "oned:2"}),
        (3, {"replicas": 5, "image": "oned:2"}),
    ],
)
async def test_forecast_is_what_happens(before, change):
    world = await grown(before)
    world.declare(**change)
    zone, observed = await facts_of(world)
    steps = forecast(zone, observed, world.now)
    assert isinstance(steps[-1], Nothing)
    decisive = [essence(each) for each in steps if isinstance(each, DECISIVE)]
    assert decisive
    assert decisive == await taken(world)


async def test_forecast_of_a_new_zone_begins_with_its_secrets_and_ends_with_all_servers():
    world = World()
    world.declare(replicas=3)
    zone, observed = await facts_of(world)
    steps = forecast(zone, observed, world.now)
    assert isinstance(steps[-1], Nothing)
    decisive = [essence(each) for each in steps if isinstance(each, DECISIVE)]
    assert decisive == await taken(world)
    assert not world.objects[("OneZone", ZONE)]["spec"].get("paused")
    assert zone.namespace == NAMESPACE


def test_a_leader_is_replaced_last_and_the_others_follow_another():
    zone = build_zone()
    pods = tuple(build_pod(each, revision="old") for each in range(3))
    steps = forecast(zone, build_observed(zone, pods=pods), NOW)
    decisive = [each for each in steps if isinstance(each, ReplacePod | HandOver)]
    replaced = [each for each in decisive if isinstance(each, ReplacePod)]
    assert [each.server for each in replaced] == ["zone-1", "zone-2", "zone-0"]
    assert decisive[-2] == HandOver(None, "zone-0", None, BEST_SERVER)
    assert not any(each.is_leader for each in replaced)


def test_without_a_quorum_it_says_what_is_waited_for_and_stops():
    zone = build_zone(replicas=5)
    observed = build_observed(zone, reports=build_reports(leader=None, silent=(1, 2)))
    steps = forecast(zone, observed, NOW)
    assert len(steps) == 1
    assert isinstance(steps[0], Wait)
    assert "waits (NoQuorum)" in render_forecast(steps)


def test_nothing_to_do_is_said_so():
    zone = build_zone()
    text = render_forecast(forecast(zone, build_observed(zone), NOW))
    assert text.startswith("Nothing would be changed.\nThen: AsDesired")


def test_every_step_is_told_in_order():
    zone = build_zone(replicas=5)
    steps = forecast(zone, build_observed(zone), NOW)
    text = render_forecast(steps)
    told = [line.partition(". ")[2] for line in text.splitlines()[:-1]]
    assert told == [describe(each) for each in steps[:-1]]
    assert sum(is_change(each) for each in steps) >= 4
    assert UUID not in text
