"""Volumes that grow: one claim at a time, and refusals that are told. Whole courses are in
``test_volumes_in_a_world``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from operator_facts import NOW, UUID, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import ObservedStatefulSet, ObservedVolume
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.notices import notices_of_change
from onezone_operator.reconcile.quorum import diagnose
from onezone_operator.reconcile.steps import (
    ApplyObjects,
    ExpandVolume,
    Nothing,
    RecreateStatefulSet,
    RegisterMember,
    Wait,
)
from onezone_operator.reconcile.volumes import judge_volumes

SMALL, LARGE = {"size": "10Gi"}, {"size": "20Gi"}
BEFORE = build_zone(replicas=3, storage=SMALL)
SAID = "data-zone-1 is forbidden: only dynamically provisioned pvc can be resized"


def build_volume(ordinal, has="10Gi", asked=None, **changes):
    volume = ObservedVolume(
        name=f"data-zone-{ordinal}",
        zone_uuid=UUID,
        is_bound=True,
        uid=f"uid-data-{ordinal}",
        version=f"v{ordinal}",
        requested=asked or has,
        capacity=has,
        storage_class="standard",
    )
    return replace(volume, **changes)


def facts(*changed, before=None, leader=0, servers=3, **changes):
    """A zone that was made with ``before``, and these volumes in place of those that it made."""
    zone = build_zone(replicas=servers, storage=before or SMALL)
    by_name = {each.name: each for each in changed}
    size = zone.spec.storage.size
    volumes = (build_volume(each, size) for each in range(servers))
    reports = changes.pop("reports", build_reports(servers, leader=leader))
    observed = build_observed(
        zone,
        servers,
        reports=reports,
        volumes=tuple(by_name.get(each.name, each) for each in volumes),
        route=replace(
            build_observed(zone).route, leader=f"zone-{leader}", addresses=(f"10.0.0.{leader}",)
        ),
    )
    live = observed.objects[("StatefulSet", "zone")]
    live["metadata"] |= {"uid": "uid-set", "resourceVersion": "77"}
    return replace(observed, **changes)


def wanting(servers=3, status=None, **storage):
    return build_zone(replicas=servers, storage=storage, status=status)


def step_of(zone, observed):
    """The step after the objects, which a change of volumes does not concern, are written."""
    step = plan(zone, observed, NOW)
    while isinstance(step, ApplyObjects):
        live = {(each["kind"], each["metadata"]["name"]): each for each in step.manifests}
        for key, manifest in live.items():
            known = observed.objects.get(key, {}).get("metadata", {})
            manifest["metadata"] = {**known, **manifest["metadata"]}
        observed = replace(observed, objects={**observed.objects, **live})
        step = plan(zone, observed, NOW)
    return step


def condition(zone, observed):
    step = step_of(zone, observed)
    return build_status(zone, observed, step, NOW).condition("VolumesInSync")


def refused(zone, message=SAID, generation=None):
    """The zone with a refusal in its status, said of this generation."""
    known = {
        "type": "VolumesInSync",
        "status": "False",
        "reason": "ExpansionRefused",
        "message": message,
        "observedGeneration": zone.metadata.generation if generation is None else generation,
        "lastTransitionTime": "2026-03-01T11:00:00Z",
    }
    return build_zone(
        replicas=zone.spec.replicas,
        storage=zone.spec.storage.model_dump(by_alias=True, exclude_none=True),
        status={"conditions": [known]},
    )


# --- which claim asks, and when --------------------------------------------------------------


def test_volumes_as_desired():
    zone, observed = wanting(**SMALL), facts()
    assert isinstance(step_of(zone, observed), Nothing)
    told = condition(zone, observed)
    assert (told.status, told.reason) == ("True", "UpToDate")
    assert told.message == "Every volume has 10Gi or more"


def test_amounts_are_compared_and_not_their_spelling():
    assert isinstance(step_of(wanting(size="10240Mi"), facts()), Nothing)


@pytest.mark.parametrize(
    ("leader", "grown", "expected"),
    [(0, (), 1), (0, (1,), 2), (0, (1, 2), 0), (1, (), 0), (1, (0,), 2), (2, (0, 1), 2)],
)
def test_followers_grow_first_and_the_leader_last(leader, grown, expected):
    observed = facts(*(build_volume(each, "20Gi") for each in grown), leader=leader)
    assert step_of(wanting(**LARGE), observed) == ExpandVolume(
        f"zone-{expected}",
        f"data-zone-{expected}",
        f"uid-data-{expected}",
        f"v{expected}",
        "10Gi",
        "20Gi",
    )


def test_next_claim_waits_until_the_last_one_has_its_size():
    zone, observed = wanting(**LARGE), facts(build_volume(1, asked="20Gi"))
    step = step_of(zone, observed)
    assert step == Wait(
        "VolumeGrowing", "Waiting until the volume of zone-1 has 20Gi, not 10Gi", is_trouble=False
    )
    told = condition(zone, observed)
    assert (told.status, told.reason) == ("False", "Growing")
    assert told.message == "To have 20Gi: zone-1 10Gi, zone-2 10Gi, zone-0 10Gi"


def test_file_system_that_is_not_grown_online_is_explained():
    pending = build_volume(1, asked="20Gi", resize="FileSystemResizePending")
    step = step_of(wanting(**LARGE), facts(pending))
    assert isinstance(step, Wait)
    assert not step.is_trouble
    assert step.message.startswith(
        "Waiting until the volume of zone-1 has 20Gi, not 10Gi (FileSystemResizePending). "
    )
    assert step.message.endswith("kubectl -n front delete pod zone-1")


def test_driver_that_fails_is_trouble_and_others_are_not_asked():
    failing = build_volume(
        1, asked="20Gi", resize="ControllerResizeError: no space", is_resize_failing=True
    )
    zone, observed = wanting(**LARGE), facts(failing)
    step = step_of(zone, observed)
    assert isinstance(step, Wait)
    assert step.is_trouble
    assert "ControllerResizeError: no space" in step.message
    told = condition(zone, observed)
    assert (told.reason, told.message) == (
        "Growing",
        "To have 20Gi: zone-1 10Gi, zone-2 10Gi, zone-0 10Gi (ControllerResizeError: no space)",
    )


def test_smaller_amount_is_asked_for_after_an_expansion_that_cannot_be():
    """Kubernetes lets a claim ask for less than before, while that is more than it has."""
    stuck = build_volume(1, asked="900Ti", resize="Infeasible", is_resize_failing=True)
    step = step_of(wanting(**LARGE), facts(stuck))
    assert isinstance(step, ExpandVolume)
    assert (step.server, step.before, step.after) == ("zone-1", "10Gi", "20Gi")


@pytest.mark.parametrize(
    "changes",
    [
        {"reports": build_reports(silent=(2,))},
        {"reports": build_reports(learners=(2,))},
        {"reports": build_reports(settled=False)},
        {"reports": build_reports(leader=None)},
        {"pods": tuple(build_pod(each, ready=each != 2) for each in range(3))},
        {"pods": tuple(build_pod(each, is_terminating=each == 2) for each in range(3))},
        {"pods": tuple(build_pod(each) for each in range(2))},
        {"statefulset": ObservedStatefulSet(3, "new", False)},
    ],
    ids=["silent", "learner", "unsettled", "leaderless", "unready", "going", "missing", "stale"],
)
def test_unhealthy_zone_waits(changes):
    step = step_of(wanting(**LARGE), facts(**changes))
    assert not isinstance(step, ExpandVolume | RecreateStatefulSet)
    grown = tuple(build_volume(each, "20Gi") for each in range(3))
    step = step_of(wanting(**LARGE), facts(*grown, **changes))
    assert not isinstance(step, ExpandVolume | RecreateStatefulSet)


def test_unknown_size_is_no_reason_to_grow():
    volumes = tuple(build_volume(each, requested=None, capacity=None) for each in range(3))
    assert isinstance(step_of(wanting(**LARGE), facts(*volumes)), RecreateStatefulSet)


# --- a full disk -----------------------------------------------------------------------------


def full(*ordinals, **changes):
    reports = build_reports(silent=tuple(ordinals), **changes)
    healthy = build_reports()
    for each in ordinals:
        name = f"zone-{each}"
        reports[name] = replace(healthy[name], initialised=False, database="full", members=())
    return reports


def test_full_disk_grows_without_waiting_for_the_rest():
    observed = facts(reports=full(2))
    step = step_of(wanting(**LARGE), observed)
    assert isinstance(step, ExpandVolume)
    assert step.server == "zone-2"


def test_full_disks_grow_without_a_quorum():
    """Two at once have no vote to lose: each is asked, and none waits for the other."""
    observed = facts(
        build_volume(1, asked="20Gi"), reports=full(1, 2, leader=None), route=facts().route
    )
    step = step_of(wanting(**LARGE), observed)
    assert isinstance(step, ExpandVolume)
    assert step.server == "zone-2"


def test_full_disk_that_may_not_grow_is_not_asked_again():
    zone = refused(wanting(**LARGE))
    assert not isinstance(step_of(zone, facts(reports=full(2))), ExpandVolume)


# --- the claim template ----------------------------------------------------------------------


def test_statefulset_is_made_anew_with_the_pods_that_it_had():
    observed = facts(*(build_volume(each, "20Gi") for each in range(3)))
    zone = wanting(**LARGE)
    step = step_of(zone, observed)
    assert isinstance(step, RecreateStatefulSet)
    assert (step.uid, step.version) == ("uid-set", "77")
    assert step.reason == "new volumes get 10Gi, storage.size is 20Gi"
    told = condition(zone, observed)
    assert (told.status, told.reason) == ("False", "OlderTemplate")
    live = observed.objects[("StatefulSet", "zone")]
    assert step.manifest["spec"]["replicas"] == 3
    assert step.manifest["spec"]["template"] == live["spec"]["template"]
    claim = step.manifest["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["resources"]["requests"]["storage"] == "20Gi"
    # And this is what the plan of objects makes when the old one is gone.
    without = {key: each for key, each in observed.objects.items() if key[0] != "StatefulSet"}
    gone = replace(observed, objects=without, statefulset=None)
    made = plan(zone, gone, NOW)
    assert isinstance(made, ApplyObjects)
    assert step.manifest in made.manifests


def test_statefulset_that_is_being_deleted_is_waited_for():
    observed = facts(*(build_volume(each, "20Gi") for each in range(3)))
    live = observed.objects[("StatefulSet", "zone")]
    live["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    step = plan(wanting(**LARGE), observed, NOW)
    assert isinstance(step, Wait)
    assert step.reason == "StatefulSetTerminating"


def test_volumes_do_not_go_with_the_statefulset():
    both = {
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"}
    }
    owned = tuple(build_volume(each, "20Gi", is_owned=True) for each in range(3))
    observed, zone = facts(*owned, before={**SMALL, **both}), wanting(**LARGE, **both)
    owner = [{"kind": "OneZone", "uid": "uid-zone"}]
    observed.objects["Secret", "zone-auth"]["metadata"]["ownerReferences"] = owner
    step = plan(zone, observed, NOW)
    assert isinstance(step, ApplyObjects)
    policy = step.manifests[0]["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy["whenDeleted"] == "Retain"
    step = step_of(zone, observed)
    assert isinstance(step, Wait)
    assert step.reason == "VolumesReleased"
    free = replace(observed, volumes=tuple(replace(each, is_owned=False) for each in owned))
    step = step_of(zone, free)
    assert isinstance(step, RecreateStatefulSet)
    policy = step.manifest["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy["whenDeleted"] == "Delete"


def test_volumes_come_before_membership():
    """Servers that are added are made with the new size."""
    step = step_of(wanting(5, **LARGE), facts())
    assert isinstance(step, ExpandVolume)
    step = step_of(wanting(5, **LARGE), facts(build_volume(1, asked="20Gi")))
    assert isinstance(step, RegisterMember)


# --- refusals --------------------------------------------------------------------------------


def test_smaller_size_is_refused():
    zone, observed = wanting(size="5Gi"), facts()
    step = step_of(zone, observed)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("ShrinkRefused", True)
    told = condition(zone, observed)
    assert (told.status, told.reason) == ("False", "ShrinkRefused")
    assert told.message == (
        "Volumes cannot shrink: each server has 10Gi or more, storage.size is 5Gi. Set "
        "storage.size to 10Gi; for smaller volumes make another OneZone from a backup"
    )


def test_smaller_size_holds_up_nothing_else():
    assert isinstance(step_of(wanting(5, size="5Gi"), facts()), RegisterMember)


def test_expansion_that_did_not_come_about_is_taken_back():
    """One server has the size that was refused to the others: that is no shrinking."""
    observed = facts(build_volume(1, "20Gi"))
    zone = wanting(**SMALL)
    assert isinstance(step_of(zone, observed), Nothing)
    assert condition(zone, observed).status == "True"


def test_refusal_is_told_with_what_to_do():
    zone, observed = wanting(**LARGE), facts(refusal=SAID)
    told = condition(zone, observed)
    assert (told.status, told.reason) == ("False", "ExpansionRefused")
    assert told.message.startswith(f"{SAID}. Set storage.size back, or replace the servers")
    assert "(OneZoneTask ReplaceServer)" in told.message


def test_refusal_is_remembered_and_new_servers_get_the_size():
    zone, observed = refused(wanting(**LARGE)), facts()
    assert isinstance(step_of(zone, observed), RecreateStatefulSet)
    after = facts(*(build_volume(each) for each in range(3)), before=LARGE)
    step = step_of(zone, after)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble, step.message) == ("ExpansionRefused", True, SAID)
    told = condition(zone, after)
    assert (told.reason, told.message) == ("ExpansionRefused", SAID)


def test_refused_is_asked_for_anew_after_a_change_and_after_a_while():
    after = facts(*(build_volume(each) for each in range(3)), before=LARGE)
    other = refused(wanting(**LARGE), generation=2)
    assert isinstance(step_of(other, after), ExpandVolume)
    known = refused(wanting(**LARGE))
    assert isinstance(step_of(known, replace(after, asks_again=True)), ExpandVolume)


def test_refused_size_that_is_set_back_leaves_nothing_behind():
    """Not even where new servers would have got the size: the template follows."""
    back = wanting(**SMALL)
    after = facts(*(build_volume(each) for each in range(3)), before=LARGE)
    assert isinstance(step_of(back, after), RecreateStatefulSet)
    assert isinstance(step_of(back, facts()), Nothing)
    assert condition(back, facts()).status == "True"


def warnings(before, after):
    changes = notices_of_change(before, after)
    return [each.reason for each in changes if each.type == "Warning"]


def test_refusal_is_a_warning():
    zone = wanting(**LARGE)
    grows = build_status(zone, facts(), step_of(zone, facts()), NOW)
    assert not warnings(build_status(BEFORE, facts(), step_of(BEFORE, facts()), NOW), grows)
    observed = facts(refusal=SAID)
    told = build_status(zone, observed, step_of(zone, observed), NOW)
    assert warnings(grows, told) == ["ExpansionRefused"]
    assert not warnings(told, told)
    smaller = wanting(size="5Gi")
    shrunk = build_status(smaller, facts(), step_of(smaller, facts()), NOW)
    assert "ShrinkRefused" in warnings(told, shrunk)


# --- another storage class -------------------------------------------------------------------


def test_storage_class_goes_into_the_template_alone():
    standard = {**SMALL, "storageClassName": "standard"}
    zone = wanting(**{**standard, "storageClassName": "fast"})
    step = step_of(zone, facts(before=standard))
    assert isinstance(step, RecreateStatefulSet)
    assert step.reason == (
        "new volumes get storage class standard, storage.storageClassName is fast"
    )
    after = facts(before={**standard, "storageClassName": "fast"})
    assert isinstance(step_of(zone, after), Nothing)
    told = condition(zone, after)
    assert (told.status, told.reason) == ("False", "OlderStorageClass")
    assert "zone-0 standard, zone-1 standard, zone-2 standard" in told.message
    moved = tuple(build_volume(each, storage_class="fast") for each in range(3))
    assert condition(zone, facts(*moved, before=after_storage(zone))).status == "True"


def after_storage(zone):
    return zone.spec.storage.model_dump(by_alias=True, exclude_none=True)


def test_larger_size_of_another_class_is_for_servers_that_are_replaced():
    zone = wanting(**LARGE, storageClassName="fast")
    after = facts(*(build_volume(each) for each in range(3)), before=after_storage(zone))
    assert isinstance(step_of(zone, after), Nothing)
    assert condition(zone, after).reason == "OlderStorageClass"


def test_zone_without_volumes_says_so():
    zone = wanting(**SMALL)
    observed = replace(facts(), objects={}, volumes=())
    assert judge_volumes(zone, observed, diagnosis_of(observed)).reason == "NotCreated"


def diagnosis_of(observed):
    return diagnose(observed, zone_uuid=UUID)
