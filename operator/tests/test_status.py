"""Conditions, status and events, from facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from operator_facts import NOW, UUID, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import ObservedAuthority, ObservedRoute
from onezone_operator.models.status import OneZoneStatus
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.conditions import CONDITIONS
from onezone_operator.reconcile.notices import notices_of_change
from onezone_operator.reconcile.status import HISTORY_MAX
from onezone_operator.reconcile.steps import RemoveMember, SetReplicas, Wait, rounded_lag


def status_of(zone, observed, now=NOW):
    return build_status(zone, observed, plan(zone, observed, now), now)


def states(status):
    return {each.type: each.status for each in status.conditions}


def test_healthy_zone():
    zone = build_zone()
    status = status_of(zone, build_observed(zone))
    assert states(status) == {
        "Ready": "True",
        "Quorate": "True",
        "LeaderElected": "True",
        "RoutingInSync": "True",
        "AllServersReady": "True",
        "Progressing": "False",
        "Degraded": "False",
        "ConfigInSync": "True",
        "VolumesInSync": "True",
        "CertificatesReady": "True",
        "BackupReady": "Unknown",
        "Paused": "False",
        "Hibernated": "False",
    }
    assert (status.leader, status.term, status.ready_servers) == ("zone-0", 4, "3/3")
    assert status.observed_generation == 3
    assert status.zone_uuid == UUID
    assert [server.role for server in status.servers] == ["leader", "follower", "follower"]
    assert status.endpoint == "http://zone.front.svc:2633/RPC2"
    assert status.selector.startswith("app.kubernetes.io/component=oned,")


def test_history_is_of_changes_and_bounded():
    zone = build_zone()
    observed = build_observed(zone)
    removal = RemoveMember("zone-2", 2, "zone-0")
    for count in range(HISTORY_MAX + 3):
        for step in (SetReplicas({}, count, count + 1), removal, removal, Wait("Some", "thing")):
            status = build_status(zone, observed, step, NOW + timedelta(seconds=count))
            zone = zone.model_copy(update={"status": status})
    steps = [(each.step, each.message) for each in zone.status.history]
    assert len(steps) == HISTORY_MAX
    assert steps[-2:] == [
        ("SetReplicas", "Changing the number of pods from 22 to 23"),
        ("RemoveMember", "Removing server zone-2 from the zone"),
    ]
    assert zone.status.history[-1].time == "2026-03-01T12:00:22Z"


def test_every_condition_has_a_reason_in_every_situation():
    zone = build_zone(replicas=5)
    unborn = build_zone(status={"bootstrapped": False})
    for each_zone, observed in (
        (zone, build_observed(zone)),
        (zone, build_observed(zone, reports={})),
        (zone, build_observed(zone, reports=build_reports(leader=None))),
        (zone, build_observed(zone, reports=build_reports(leader=None, silent=(0, 1)))),
        (
            unborn,
            replace(
                build_observed(unborn, reports={}),
                authority=ObservedAuthority(UUID, False, "f"),
                statefulset=None,
            ),
        ),
        (unborn, replace(build_observed(unborn), objects={}, authority=None, reports={})),
    ):
        status = status_of(each_zone, observed)
        assert [each.type for each in status.conditions] == list(CONDITIONS)
        for each in status.conditions:
            assert each.reason
            assert each.observed_generation == 3


def test_status_is_the_same_when_nothing_changed():
    zone = build_zone()
    first = status_of(zone, build_observed(zone))
    again = zone.model_copy(update={"status": first})
    later = NOW + timedelta(minutes=5)
    assert status_of(again, build_observed(zone), later) == first


def test_time_of_a_condition_moves_only_when_it_flips():
    zone = build_zone()
    first = status_of(zone, build_observed(zone))
    zone = zone.model_copy(update={"status": first})
    observed = build_observed(zone, reports=build_reports(silent=(2,)))
    second = status_of(zone, observed, NOW + timedelta(minutes=1))
    assert second.condition("Ready").last_transition_time == "2026-03-01T12:01:00Z"
    assert second.condition("Quorate").last_transition_time == "2026-03-01T12:00:00Z"


def test_lost_server_degrades_but_the_zone_serves():
    zone = build_zone()
    pod = build_pod(2, ready=False)
    observed = build_observed(zone, reports=build_reports(silent=(2,)))
    status = status_of(zone, replace(observed, pods=(build_pod(0), build_pod(1), pod)))
    found = states(status)
    assert (found["Ready"], found["Quorate"], found["Degraded"]) == ("False", "True", "True")
    assert "The zone serves" in status.condition("Ready").message
    assert status.ready_servers == "2/3"
    assert status.servers[2].role == "unreachable"
    assert status.servers[2].last_contact == "2026-03-01T11:58:30Z"


def test_last_contact_of_a_silent_server_does_not_creep():
    zone = build_zone()
    observed = build_observed(zone, reports=build_reports(silent=(2,)))
    first = status_of(zone, observed)
    zone = zone.model_copy(update={"status": first})
    second = status_of(zone, observed, NOW + timedelta(seconds=3))
    assert second.servers[2].last_contact == first.servers[2].last_contact


def test_growing_is_progress_and_no_degradation():
    zone = build_zone(replicas=5)
    observed = build_observed(zone, 4, reports=build_reports(4, learners=(3,)))
    found = states(status_of(zone, observed))
    assert (found["Ready"], found["Progressing"], found["Degraded"]) == ("False", "True", "False")


def test_members_are_remembered_when_nobody_answers():
    zone = build_zone()
    first = status_of(zone, build_observed(zone))
    zone = zone.model_copy(update={"status": first})
    observed = replace(build_observed(zone, reports={}), pods=())
    status = status_of(zone, observed)
    assert [server.id for server in status.servers] == [0, 1, 2]
    assert [server.role for server in status.servers] == ["unreachable"] * 3
    assert status.condition("Quorate").status == "Unknown"


def test_wrong_route_is_dated():
    zone = build_zone()
    observed = replace(build_observed(zone), route=ObservedRoute(("10.9.9.9",), "zone-9", 3))
    condition = status_of(zone, observed).condition("RoutingInSync")
    assert condition.status == "False"
    assert condition.message == "the leader Service leads to zone-9, not to zone-0"


def test_template_that_is_about_to_change_is_not_in_sync():
    """The status is written first: whoever waits for ConfigInSync must not be let through."""
    before = build_zone()
    wanted = build_zone(image="example.org/oned:2")
    condition = status_of(wanted, build_observed(before)).condition("ConfigInSync")
    assert (condition.status, condition.reason) == ("False", "OlderTemplate")


def test_older_template_is_told():
    zone = build_zone()
    old = tuple(build_pod(each, revision="old") for each in range(3))
    status = status_of(zone, replace(build_observed(zone), pods=old))
    assert status.condition("ConfigInSync").reason == "OlderTemplate"


def test_address_of_the_load_balancer_is_the_endpoint():
    zone = build_zone()
    observed = build_observed(zone)
    service = {
        **observed.objects[("Service", "zone")],
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}},
    }
    observed = replace(observed, objects={**observed.objects, ("Service", "zone"): service})
    assert status_of(zone, observed).endpoint == "http://192.0.2.10:2633/RPC2"


@pytest.mark.parametrize(("lag", "shown"), [(0, 0), (63, 0), (64, 64), (65, 128), (5000, 8192)])
def test_lag_is_shown_coarsely(lag, shown):
    assert rounded_lag(lag) == shown


def test_events_tell_transitions_once():
    zone = build_zone()
    healthy = status_of(zone, build_observed(zone))
    reasons = [each.reason for each in notices_of_change(OneZoneStatus(), healthy)]
    assert reasons == [
        *("LeaderElected", "Ready", "Quorate", "AllServersReady", "ConfigInSync"),
        "VolumesInSync",
        "CertificatesReady",
    ]
    assert notices_of_change(healthy, healthy) == ()
    zone = zone.model_copy(update={"status": healthy})
    observed = build_observed(zone, reports=build_reports(silent=(2,)))
    lost = status_of(zone, observed)
    told = {each.reason: each.type for each in notices_of_change(healthy, lost)}
    assert told == {"NotReady": "Warning", "NotAllServersReady": "Warning", "Degraded": "Warning"}
    back = {each.reason: each.type for each in notices_of_change(lost, healthy)}
    assert back == {"Ready": "Normal", "AllServersReady": "Normal", "NotDegraded": "Normal"}
