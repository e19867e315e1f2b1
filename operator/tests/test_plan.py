"""One situation, one step: the table of the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from operator_facts import NOW, UUID, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import ObservedAuthority, ObservedRoute, ObservedVolume
from onezone_operator.reconcile import plan
from onezone_operator.reconcile.steps import (
    BEST_SERVER,
    ApplyObjects,
    CreateAuthority,
    CreateCredentials,
    HandOver,
    IssueCertificates,
    Nothing,
    RecordBootstrap,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReplacePod,
    SetCredentialsOwner,
    SetReplicas,
    Wait,
    WaitForCatchUp,
    describe,
)

ZONE = build_zone(replicas=3)
OUT_OF_SYNC = {
    "conditions": [
        {
            "type": "RoutingInSync",
            "status": "False",
            "reason": "RouteDiffers",
            "lastTransitionTime": "2026-03-01T11:59:50Z",
        }
    ]
}


def step_of(zone=ZONE, observed=None):
    return plan(zone, build_observed(zone) if observed is None else observed, NOW)


def wait_reason(zone, observed):
    step = step_of(zone, observed)
    assert isinstance(step, Wait), step
    return step.reason


def pods(*changed, servers=3):
    by_name = {pod.name: pod for pod in changed}
    return tuple(by_name.get(f"zone-{each}", build_pod(each)) for each in range(servers))


def test_all_as_desired():
    assert isinstance(step_of(), Nothing)


def test_deleted_zone_is_left_alone():
    metadata = ZONE.metadata.model_copy(update={"deletion_timestamp": "2026-03-01T12:00:00Z"})
    zone = ZONE.model_copy(update={"metadata": metadata})
    assert step_of(zone, replace(build_observed(zone), objects={})).reason == "Deleted"


def test_paused_zone_is_left_alone():
    zone = build_zone(replicas=5, paused=True)
    assert step_of(zone).reason == "Paused"


# Identity and secrets


def test_new_zone_gets_an_authority_with_a_new_uuid():
    zone = build_zone(status={"bootstrapped": False, "zoneUUID": None})
    observed = replace(build_observed(zone), authority=None, objects={})
    assert step_of(zone, observed) == CreateAuthority(None, bootstrapped=False)


def test_lost_authority_is_made_again_for_the_same_zone():
    observed = replace(build_observed(ZONE), authority=None)
    assert step_of(ZONE, observed) == CreateAuthority(UUID, bootstrapped=True)


def test_kept_volumes_give_the_zone_its_identity():
    zone = build_zone(status={"bootstrapped": False, "zoneUUID": None})
    volumes = (ObservedVolume("data-zone-0", "kept"), ObservedVolume("data-zone-1", "kept"))
    observed = replace(build_observed(zone), authority=None, volumes=volumes)
    assert step_of(zone, observed) == CreateAuthority("kept", bootstrapped=True)


def test_volumes_of_two_zones_are_not_chosen_from():
    zone = build_zone(status={"bootstrapped": False, "zoneUUID": None})
    volumes = (ObservedVolume("data-zone-0", "one"), ObservedVolume("data-zone-1", "two"))
    observed = replace(build_observed(zone), authority=None, volumes=volumes)
    assert wait_reason(zone, observed) == "VolumesOfDifferentZones"


def test_unusable_authority_is_replaced():
    observed = replace(build_observed(ZONE), authority=ObservedAuthority(UUID, True, None))
    assert isinstance(step_of(ZONE, observed), CreateAuthority)


def test_credentials_are_made_and_stay_with_the_volumes():
    observed = replace(build_observed(ZONE), has_credentials=False)
    assert step_of(ZONE, observed) == CreateCredentials(owned=False)


def test_credentials_go_when_volumes_go():
    zone = build_zone(storage={"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}})
    assert step_of(zone) == SetCredentialsOwner(owned=True)


def test_given_credentials_are_waited_for():
    zone = build_zone(credentialsSecretRef={"name": "ours"})
    observed = replace(build_observed(zone), has_credentials=False)
    assert wait_reason(zone, observed) == "CredentialsMissing"


def test_missing_and_ending_certificates_are_issued():
    observed = build_observed(ZONE)
    ends = {**observed.certificates, "zone-2": NOW + timedelta(days=10)}
    del ends["zone-1"]
    assert step_of(ZONE, replace(observed, certificates=ends)) == IssueCertificates(
        ("zone-1", "zone-2")
    )


# Seed


def unborn(report=None):
    zone = build_zone(replicas=3, status={"bootstrapped": False})
    observed = build_observed(zone, 1, reports={})
    observed = replace(observed, authority=ObservedAuthority(UUID, False, "fingerprint"))
    differing = plan(zone, observed, NOW)
    assert isinstance(differing, ApplyObjects)
    objects = dict(observed.objects)
    for each in differing.manifests:
        objects[(each["kind"], each["metadata"]["name"])] = each
    reports = {} if report is None else {"zone-0": report}
    return zone, replace(observed, objects=objects, reports=reports)


def test_seed_may_bootstrap_and_is_alone():
    zone, observed = unborn()
    assert observed.objects[("ConfigMap", "zone-config")]["data"]["bootstrap"] == "zone-0"
    assert wait_reason(zone, observed) == "SeedStarting"


def test_seed_is_recorded_before_anything_else():
    zone, observed = unborn(build_reports(1)["zone-0"])
    assert step_of(zone, observed) == RecordBootstrap(UUID)


def test_seed_is_recorded_before_drift_is_repaired():
    zone, observed = unborn(build_reports(1)["zone-0"])
    assert step_of(zone, replace(observed, objects={})) == RecordBootstrap(UUID)


def test_seed_gets_its_pod_back():
    zone, observed = unborn()
    live = observed.objects[("StatefulSet", "zone")]
    sizes = {}
    for pods_now in (0, 5):
        statefulset = replace(observed.statefulset, replicas=pods_now)
        found = replace(observed, statefulset=statefulset)
        step = step_of(zone, found)
        while isinstance(step, ApplyObjects):
            objects = dict(found.objects)
            for each in step.manifests:
                objects[(each["kind"], each["metadata"]["name"])] = each
            found = replace(found, objects=objects)
            step = step_of(zone, found)
        sizes[pods_now] = step.after
    assert live["spec"]["replicas"] == 1
    assert sizes == {0: 1, 5: 1}


def test_seed_with_a_foreign_database_is_not_accepted():
    zone, observed = unborn(replace(build_reports(1)["zone-0"], zone_uuid="other"))
    assert wait_reason(zone, observed) == "ZoneMismatch"


def test_bootstrapped_by_the_status_alone_is_recorded_again():
    observed = replace(
        build_observed(ZONE), authority=ObservedAuthority(UUID, False, "fingerprint")
    )
    assert step_of(ZONE, observed) == RecordBootstrap(UUID)


# Objects


def test_drift_is_repaired_and_named():
    observed = build_observed(ZONE)
    objects = dict(observed.objects)
    del objects[("Role", "zone")]
    step = step_of(ZONE, replace(observed, objects=objects))
    assert isinstance(step, ApplyObjects)
    assert step.reasons == ("Role/zone: missing",)


def test_object_of_another_owner_is_not_touched():
    observed = build_observed(ZONE)
    foreign = {"metadata": {"name": "zone", "ownerReferences": [{"uid": "other"}]}}
    objects = {**observed.objects, ("Service", "zone"): foreign}
    assert wait_reason(ZONE, replace(observed, objects=objects)) == "NameTaken"
    foreign["metadata"]["deletionTimestamp"] = "2026-03-01T11:00:00Z"
    assert wait_reason(ZONE, replace(observed, objects=objects)) == "OldObjectTerminating"


# Quorum


@pytest.mark.parametrize(
    ("reports", "reason"),
    [
        ({}, "Unknown"),
        (build_reports(leader=None), "NoLeader"),
        (build_reports(leader=None, silent=(1, 2)), "NoQuorum"),
    ],
)
def test_nothing_is_done_without_a_quorum(reports, reason):
    zone = build_zone(replicas=5)
    assert wait_reason(zone, build_observed(zone, reports=reports)) == reason


def test_members_get_their_pods_back_without_a_quorum():
    observed = build_observed(ZONE, 1, reports=build_reports(leader=None, silent=(1, 2)))
    step = step_of(ZONE, observed)
    if isinstance(step, ApplyObjects):  # the budget follows the voters first
        objects = {**observed.objects, ("PodDisruptionBudget", "zone"): step.manifests[0]}
        step = step_of(ZONE, replace(observed, objects=objects))
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (1, 3)


def test_remembered_members_get_their_pods_back_when_nobody_answers():
    servers = [{"name": f"zone-{each}", "id": each} for each in range(3)]
    zone = build_zone(status={"servers": servers})
    step = step_of(zone, build_observed(zone, 1, reports={}))
    assert isinstance(step, SetReplicas)
    assert step.after == 3


# Size


def test_grow_registers_before_the_pod():
    zone = build_zone(replicas=5)
    step = step_of(zone)
    assert isinstance(step, RegisterMember)
    assert (step.server, step.leader) == ("zone-3", "zone-0")


def test_pod_follows_the_member():
    zone = build_zone(replicas=5)
    step = step_of(zone, build_observed(zone, 3, reports=build_reports(4, learners=(3,))))
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (3, 4)


def test_learner_is_waited_for():
    zone = build_zone(replicas=5)
    observed = build_observed(zone, 4, reports=build_reports(4, learners=(3,)))
    assert step_of(zone, observed) == WaitForCatchUp("zone-3", 5000)


def test_learner_that_cannot_start_says_why():
    zone = build_zone(replicas=5)
    observed = build_observed(zone, 4, reports=build_reports(4, learners=(3,)))
    stuck = build_pod(3, ready=False, trouble="ImagePullBackOff: no such image")
    step = step_of(zone, replace(observed, pods=pods(stuck, servers=4)))
    assert step == Wait(
        "ServerNotStarting", "zone-3: ImagePullBackOff: no such image", is_trouble=True
    )


def test_learner_that_shall_go_is_not_waited_for():
    observed = build_observed(ZONE, 4, reports=build_reports(4, learners=(3,)))
    assert isinstance(step_of(ZONE, observed), RemoveMember)


def test_grow_waits_for_a_change_to_be_committed():
    zone = build_zone(replicas=5)
    observed = build_observed(zone, reports=build_reports(settled=False))
    assert wait_reason(zone, observed) == "MembershipChanging"


def test_grow_waits_for_a_starting_pod():
    zone = build_zone(replicas=5)
    observed = replace(build_observed(zone), pods=pods(build_pod(2, ready=False)))
    assert wait_reason(zone, observed) == "ServerStarting"


def test_grow_goes_on_with_a_lost_server_if_that_costs_nothing():
    zone = build_zone(replicas=5)
    assert isinstance(
        step_of(zone, build_observed(zone, reports=build_reports(silent=(2,)))), RegisterMember
    )


def test_grow_waits_for_the_old_volume():
    zone = build_zone(replicas=5)
    volume = ObservedVolume("data-zone-3", is_terminating=True)
    assert wait_reason(zone, replace(build_observed(zone), volumes=(volume,))) == (
        "VolumeTerminating"
    )


def test_shrink_removes_the_member_before_the_pod():
    observed = build_observed(ZONE, 5)
    assert step_of(ZONE, observed) == RemoveMember("zone-4", 4, "zone-0")


def test_pod_follows_the_removed_member():
    step = step_of(ZONE, build_observed(ZONE, 4, reports=build_reports(3)))
    assert isinstance(step, SetReplicas)
    assert (step.before, step.after) == (4, 3)


def test_pod_that_goes_is_waited_for():
    observed = replace(build_observed(ZONE), pods=(*pods(), build_pod(3, is_terminating=True)))
    assert wait_reason(ZONE, observed) == "PodTerminating"


def test_shrink_is_vetoed_when_the_rest_is_no_quorum():
    observed = build_observed(ZONE, 5, reports=build_reports(5, silent=(1, 2)))
    assert wait_reason(ZONE, observed) == "TooFewHealthyServers"


def test_removed_member_in_the_middle_is_registered_again():
    reports = build_reports()
    reports = {
        name: replace(
            report, members=tuple(each for each in report.members if each.name != "zone-1")
        )
        for name, report in reports.items()
    }
    step = step_of(ZONE, build_observed(ZONE, reports=reports))
    assert isinstance(step, RegisterMember)
    assert step.server == "zone-1"


# Route


def wrong_route(zone, **changes):
    return replace(build_observed(zone), route=ObservedRoute(("10.0.0.9",), "zone-9", 3), **changes)


def test_route_is_the_leaders_to_write_at_first():
    assert isinstance(step_of(ZONE, wrong_route(ZONE)), Nothing)


def test_route_that_stays_wrong_is_repaired():
    zone = build_zone(status=OUT_OF_SYNC)
    step = step_of(zone, wrong_route(zone))
    assert step == RepairRoute("zone-0", "10.0.0.0", "node-0", "uid-0", 4)


def test_route_comes_before_growing():
    zone = build_zone(replicas=5, status=OUT_OF_SYNC)
    assert isinstance(step_of(zone, wrong_route(zone)), RepairRoute)


def test_route_of_a_later_term_is_not_repaired():
    zone = build_zone(status=OUT_OF_SYNC)
    observed = replace(wrong_route(zone), route=ObservedRoute(("10.0.0.9",), "zone-9", 5))
    assert not isinstance(step_of(zone, observed), RepairRoute)


# Rollout


def test_followers_are_replaced_before_the_leader():
    old = [build_pod(each, revision="old") for each in range(3)]
    step = step_of(ZONE, replace(build_observed(ZONE), pods=tuple(old)))
    assert step == ReplacePod("zone-1", "uid-1", False, "older template")


def test_leader_that_is_the_last_hands_over_before_its_pod_is_deleted():
    observed = replace(build_observed(ZONE), pods=pods(build_pod(0, revision="old")))
    step = step_of(ZONE, observed)
    assert step == HandOver(None, "zone-0", None, BEST_SERVER)
    assert describe(step).endswith("to the best server, before its pod is replaced")


def test_only_server_is_replaced_while_it_leads():
    zone = build_zone(replicas=1)
    observed = build_observed(zone, 1)
    observed = replace(observed, pods=pods(build_pod(0, revision="old"), servers=1))
    assert step_of(zone, observed) == ReplacePod("zone-0", "uid-0", True, "older template")


def test_broken_pod_is_replaced_first():
    old = [build_pod(each, revision="old") for each in range(2)]
    broken = build_pod(2, revision="old", ready=False)
    observed = build_observed(ZONE, reports=build_reports(silent=(2,)))
    step = step_of(ZONE, replace(observed, pods=(*old, broken)))
    assert isinstance(step, ReplacePod)
    assert step.server == "zone-2"


def test_only_server_with_a_broken_template_is_replaced_without_a_quorum():
    zone = build_zone(replicas=1)
    broken = build_pod(0, revision="old", ready=False, trouble="ImagePullBackOff")
    observed = replace(build_observed(zone, 1, reports={}), pods=(broken,))
    assert isinstance(step_of(zone, observed), ReplacePod)


def test_rollout_waits_for_a_server_that_is_not_healthy():
    old = build_pod(1, revision="old")
    observed = build_observed(ZONE, reports=build_reports(silent=(2,)))
    step = step_of(ZONE, replace(observed, pods=pods(old)))
    assert isinstance(step, Wait)
    assert step.reason == "RolloutWaiting"


def test_rollout_waits_for_a_pod_that_is_not_ready():
    changed = pods(build_pod(1, revision="old"), build_pod(2, ready=False))
    assert wait_reason(ZONE, replace(build_observed(ZONE), pods=changed)) == "RolloutWaiting"


def test_rollout_of_two_servers_would_cost_the_quorum():
    zone = build_zone(replicas=2, allowEven=True)
    changed = pods(build_pod(1, revision="old"), servers=2)
    observed = replace(build_observed(zone, 2), pods=changed)
    assert wait_reason(zone, observed) == "TooFewServers"


def test_template_that_the_controller_has_not_seen_is_no_reason():
    observed = build_observed(ZONE)
    statefulset = replace(observed.statefulset, is_current=False)
    old = tuple(build_pod(each, revision="old") for each in range(3))
    behind = replace(observed, pods=old, statefulset=statefulset)
    # Nor is it convergence: a user who waits for that would be told too early.
    assert wait_reason(ZONE, behind) == "StatefulSetNotObserved"


def test_server_that_is_away_is_said():
    observed = build_observed(ZONE, reports=build_reports(silent=(2,)))
    assert wait_reason(ZONE, observed) == "ServerNotReady"
