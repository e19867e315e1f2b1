"""A zone that sleeps: pods go one by one, volumes and members stay, nothing is called ill."""

from __future__ import annotations

from dataclasses import replace

import pytest
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone
from operator_world import World

from onezone_operator.models.observed import ObservedStatefulSet, ObservedVolume
from onezone_operator.models.status import OneZoneStatus
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.notices import notices_of_change
from onezone_operator.reconcile.steps import ApplyObjects, Nothing, SetReplicas, Wait

DELETED = {"storage": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}
SERVERS = [{"name": f"zone-{each}", "id": each, "voter": True} for each in range(3)]


def asleep(zone, pods=0, **changes):
    """Facts of a zone with so many pods left."""
    return build_observed(
        zone,
        pods,
        pods=tuple(build_pod(each) for each in range(pods)),
        reports=changes.pop("reports", {}),
        **changes,
    )


def settled(zone, observed):
    """The facts once all objects are written."""
    step = plan(zone, observed, NOW)
    while isinstance(step, ApplyObjects):
        live = {(each["kind"], each["metadata"]["name"]): each for each in step.manifests}
        observed = replace(observed, objects={**observed.objects, **live})
        step = plan(zone, observed, NOW)
    return step


def hibernated(**spec):
    return build_zone(hibernated=True, status={"servers": SERVERS}, **spec)


def test_pods_go_one_at_a_time_the_highest_first():
    zone = hibernated()
    observed = asleep(zone, 3, reports=build_reports())
    step = settled(zone, observed)
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (3, 2)
    going = replace(observed, statefulset=ObservedStatefulSet(2, "new", True))
    assert settled(zone, going) == Wait(
        "PodTerminating", "Hibernating: waiting until the pod of zone-2 is gone"
    )


def test_quorum_is_not_needed_to_go_on():
    zone = hibernated()
    observed = asleep(zone, 1, reports=build_reports(leader=None, silent=(1, 2)))
    step = settled(zone, observed)
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (1, 0)


def test_sleeping_zone_is_not_ill():
    zone = hibernated()
    observed = asleep(zone)
    step = settled(zone, observed)
    assert isinstance(step, Nothing)
    status = build_status(zone, observed, step, NOW)
    assert status.diagnosis.health == "Hibernated"
    found = {each.type: (each.status, each.reason) for each in status.conditions}
    assert found["Hibernated"] == ("True", "Hibernated")
    assert found["Degraded"] == ("False", "Hibernated")
    assert found["Ready"] == ("False", "Hibernated")
    assert found["Quorate"] == ("False", "Hibernated")
    assert [server.name for server in status.servers] == ["zone-0", "zone-1", "zone-2"]


def test_volumes_are_kept_whatever_the_policy_says():
    zone = hibernated(**DELETED)
    step = plan(zone, build_observed(build_zone(**DELETED)), NOW)
    assert isinstance(step, ApplyObjects)
    (manifest,) = step.manifests
    policy = manifest["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy["whenScaled"] == "Retain"
    assert manifest["spec"]["replicas"] == 3


@pytest.mark.parametrize("servers", [SERVERS, []], ids=["by the status", "by the volumes"])
def test_all_pods_come_back_at_once(servers):
    zone = build_zone(status={"servers": servers}, **DELETED)
    volumes = tuple(ObservedVolume(f"data-zone-{each}") for each in range(3))
    step = settled(zone, asleep(zone, volumes=volumes))
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (0, 3)


def test_woken_halfway_volumes_are_kept_until_all_pods_are_back():
    zone = build_zone(status={"servers": SERVERS}, **DELETED)
    observed = asleep(zone, 2, reports=build_reports(3, silent=(2,)))
    step = plan(zone, observed, NOW)
    assert isinstance(step, ApplyObjects)
    (manifest,) = [each for each in step.manifests if each["kind"] == "StatefulSet"]
    assert manifest["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"


def test_growing_is_not_taken_for_waking():
    """A member that was just added has no pod yet: the policy is not changed to and fro."""
    zone = build_zone(replicas=5, **DELETED)
    reports = build_reports(4, silent=(3,), learners=(3,))
    step = plan(zone, build_observed(zone, 3, reports=reports), NOW)
    assert isinstance(step, SetReplicas)


def test_paused_wins():
    zone = hibernated(paused=True)
    assert plan(zone, asleep(zone, 3, reports=build_reports()), NOW).reason == "Paused"


def test_statefulset_that_is_lost_meanwhile_wakes_nobody():
    zone = hibernated()
    for pods in (0, 2):
        observed = asleep(zone, pods)
        objects = {key: each for key, each in observed.objects.items() if key[0] != "StatefulSet"}
        step = plan(zone, replace(observed, objects=objects, statefulset=None), NOW)
        assert isinstance(step, ApplyObjects)
        assert step.manifests[-1]["spec"]["replicas"] == pods


async def test_events_warn_of_nothing_that_was_asked_for():
    world = World()
    world.declare(replicas=3)
    notices = []
    before = OneZoneStatus()
    for count in range(80):
        if count == 40:
            assert world.is_as_desired()
            notices.clear()
            world.declare(hibernated=True)
        await world.run_pass()
        world.step()
        now = world.zone().status
        notices += notices_of_change(before, now)
        before = now
    assert world.is_as_desired()
    assert [(each.type, each.reason) for each in notices] == [("Normal", "Hibernated")]
