"""Fence a server: never more than the quorum can spare, and what is fenced is left alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone

from onezone_operator import naming
from onezone_operator.reconcile import build_status, diagnose, plan
from onezone_operator.reconcile.forecast import forecast
from onezone_operator.reconcile.rollout import BROKEN_AFTER
from onezone_operator.reconcile.steps import FenceServer, RemoveMember, ReplacePod, Wait


def marked(zone, *ordinals, servers=3, **changes):
    """Facts in which these servers are fenced already."""
    pods = tuple(
        build_pod(each, is_fenced=each in ordinals, ready=each not in ordinals)
        for each in range(servers)
    )
    leader = min(each for each in range(servers) if each not in ordinals)
    reports = build_reports(servers, leader=leader, silent=ordinals)
    for each in ordinals:
        awake = reports[f"zone-{leader}"]
        reports[f"zone-{each}"] = replace(
            awake, name=f"zone-{each}", server_id=each, state="fenced", serving=False, leader_id=-1
        )
    observed = build_observed(zone, servers, reports=reports, pods=changes.pop("pods", pods))
    route = replace(observed.route, leader=f"zone-{leader}", addresses=(f"10.0.0.{leader}",))
    return replace(observed, route=route, **changes)


def insisting(zone):
    annotations = {naming.FENCE_ANY_ANNOTATION: "true"}
    metadata = zone.metadata.model_copy(update={"annotations": annotations})
    return zone.model_copy(update={"metadata": metadata})


def test_server_is_fenced_and_told():
    zone = build_zone(fencedServers=["zone-1"])
    assert plan(zone, build_observed(zone), NOW) == FenceServer("zone-1", "uid-1", is_fenced=True)
    observed = marked(zone, 1)
    step = plan(zone, observed, NOW)
    assert (step.reason, step.is_trouble) == ("ServerFenced", False)
    status = build_status(zone, observed, step, NOW)
    assert [server.role for server in status.servers] == ["leader", "fenced", "follower"]
    assert status.condition("Degraded").reason == "ServersFenced"
    assert status.condition("Quorate").status == "True"


def test_mark_is_taken_away_without_a_quorum_too():
    zone = build_zone()
    assert plan(zone, marked(zone, 1), NOW) == FenceServer("zone-1", "uid-1", is_fenced=False)
    lost = replace(marked(zone, 1), reports={})
    assert plan(zone, lost, NOW) == FenceServer("zone-1", "uid-1", is_fenced=False)


def test_second_of_three_is_refused():
    zone = build_zone(fencedServers=["zone-1", "zone-2"])
    step = plan(zone, marked(zone, 1), NOW)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("FenceRefused", True)
    assert "of 3 voters 2 must stay" in step.message
    assert plan(insisting(zone), marked(zone, 1), NOW).server == "zone-2"


def test_marked_server_that_still_seems_healthy_is_counted_out():
    zone = build_zone(fencedServers=["zone-1", "zone-2"])
    pods = (build_pod(0), build_pod(1, is_fenced=True), build_pod(2))
    assert plan(zone, build_observed(zone, pods=pods), NOW).reason == "FenceRefused"


def test_fenced_server_is_neither_rolled_nor_removed_nor_called_broken():
    zone = build_zone(fencedServers=["zone-2"])
    old = build_pod(2, is_fenced=True, ready=False, revision="old", created=NOW - 2 * BROKEN_AFTER)
    silent = build_reports(silent=(2,))
    observed = build_observed(zone, pods=(build_pod(0), build_pod(1), old), reports=silent)
    assert plan(zone, observed, NOW).reason == "ServerFenced"
    pods = (build_pod(0), build_pod(1, revision="old"), old)
    step = plan(zone, replace(observed, pods=pods), NOW)
    assert (step.reason, "zone-2 is fenced" in step.message) == ("ServerFenced", True)
    shrinking = build_zone(fencedServers=["zone-2"], replicas=1)
    assert plan(shrinking, marked(shrinking, 2), NOW).reason == "ServerFenced"


def test_pod_that_comes_back_is_marked_again():
    """The mark goes with the pod, the wish does not."""
    zone = build_zone(fencedServers=["zone-1"])
    pods = (build_pod(0), build_pod(1, uid="new"), build_pod(2))
    assert plan(zone, build_observed(zone, pods=pods), NOW).uid == "new"


def test_nobody_is_fenced_of_servers_that_are_none():
    zone = build_zone(fencedServers=["other-1"])
    assert plan(zone, build_observed(zone), NOW).reason == "AsDesired"


def test_forecast_ends_with_a_fenced_leader():
    zone = build_zone(fencedServers=["zone-0"])
    first, second, *_ = forecast(zone, build_observed(zone), NOW)
    assert first == FenceServer("zone-0", "uid-0", is_fenced=True)
    assert isinstance(second, Wait)


@settings(deadline=None)
@given(
    servers=st.sampled_from([1, 3, 5, 7]),
    wanted=st.sets(st.integers(0, 6), max_size=7),
    away=st.sets(st.integers(0, 6), max_size=3),
)
def test_quorum_is_never_fenced_away(servers, wanted, away):
    """Fence after fence, until nothing more is done: a quorum of healthy servers is left."""
    away = {each for each in away if each < servers and each != 0}
    zone = build_zone(replicas=servers, fencedServers=[f"zone-{each}" for each in wanted])
    observed = build_observed(
        zone, servers, reports=build_reports(servers, silent=tuple(away)), volumes=()
    )
    before = diagnose(observed, zone_uuid=zone.status.zone_uuid)
    for _ in range(servers + 1):
        step = plan(zone, observed, NOW)
        assert not isinstance(step, RemoveMember | ReplacePod)
        if not isinstance(step, FenceServer):
            break
        pods = tuple(
            replace(each, is_fenced=True) if each.name == step.server else each
            for each in observed.pods
        )
        observed = replace(observed, pods=pods)
    else:
        raise AssertionError("fences without end")
    marks = {each.name for each in observed.pods if each.is_fenced}
    if marks:
        assert len(before.healthy - marks) >= servers // 2 + 1
