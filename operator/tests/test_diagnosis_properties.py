"""What holds of a diagnosis, and of the plan made on it, whatever the servers say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from operator_facts import NOW, UUID, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.crd import build_crd
from onezone_operator.models.observed import ObservedAuthority, ObservedZone
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.diagnosis import explain
from onezone_operator.reconcile.quorum import Health, diagnose
from onezone_operator.reconcile.steps import (
    Nothing,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReplacePod,
    SetReplicas,
    Wait,
    WaitForCatchUp,
)

SERVERS = 5


@st.composite
def reports(draw):
    """Anything that servers could say, also what Raft rules out."""
    found = {}
    size = draw(st.integers(1, SERVERS))
    for name, report in build_reports(size).items():
        if not draw(st.booleans()):
            continue
        lag = draw(st.sampled_from([None, 0, 5000]))
        contact = draw(st.sampled_from([None, 0.1, 60.0]))
        found[name] = replace(
            report,
            state=draw(st.sampled_from(["leader", "follower", "candidate", "solo"])),
            term=draw(st.integers(3, 5)),
            leader_id=draw(st.sampled_from([None, -1, *range(size)])),
            serving=draw(st.booleans()),
            initialised=draw(st.sampled_from([True, True, True, False])),
            zone_uuid=draw(st.sampled_from([UUID, UUID, UUID, "another"])),
            configuration_committed=draw(st.booleans()),
            members=tuple(
                replace(each, lag=lag, last_contact_seconds=contact) for each in report.members
            ),
        )
    return found


@st.composite
def situations(draw):
    """A zone and what was seen of it: old and new pods, ready or not, of any wished-for size."""
    bootstrapped = draw(st.sampled_from([True, True, True, False]))
    zone = build_zone(
        replicas=draw(st.sampled_from([1, 3, 5])), status={"bootstrapped": bootstrapped}
    )
    pods = tuple(
        build_pod(
            each,
            ready=draw(st.booleans()),
            revision=draw(st.sampled_from(["old", "new"])),
            created=NOW - draw(st.sampled_from([timedelta(0), timedelta(hours=1)])),
        )
        for each in range(SERVERS)
        if draw(st.booleans())
    )
    observed = build_observed(zone, draw(st.integers(1, SERVERS)), reports=draw(reports()))
    authority = ObservedAuthority(UUID, bootstrapped, "fingerprint")
    return zone, replace(observed, pods=pods, authority=authority)


@given(situations())
def test_one_word_and_one_sentence_always_and_the_same_everywhere(situation):
    zone, observed = situation
    diagnosis = diagnose(observed, zone_uuid=UUID)
    finding = explain(zone, observed, diagnosis)
    assert isinstance(finding.health, Health)
    assert finding.message
    step = plan(zone, observed, NOW)
    status = build_status(zone, observed, step, NOW)
    assert (status.diagnosis.health, status.diagnosis.message) == (finding.health, finding.message)
    assert status.condition("Quorate").reason == status.diagnosis.health
    assert (status.condition("Quorate").status == "True") == (
        finding.health in {Health.HEALTHY, Health.PARTIAL}
    )
    assert (status.plan.waiting_for is None) == (not isinstance(step, Wait | WaitForCatchUp))


@given(situations())
def test_what_is_uncertain_or_split_deletes_and_removes_nothing(situation):
    zone, observed = situation
    finding = explain(zone, observed, diagnose(observed, zone_uuid=UUID))
    if finding.health not in {Health.UNCERTAIN, Health.SPLIT}:
        return
    step = plan(zone, observed, NOW)
    assert not isinstance(step, ReplacePod | RemoveMember | RegisterMember | RepairRoute)
    if isinstance(step, SetReplicas):
        assert step.after > step.before, "pods are given back, never taken"


@given(situations())
def test_members_and_route_are_changed_with_a_quorum_alone(situation):
    zone, observed = situation
    step = plan(zone, observed, NOW)
    if isinstance(step, RegisterMember | RemoveMember | RepairRoute):
        assert diagnose(observed, zone_uuid=UUID).is_quorate


@given(reports(), st.sets(st.integers(0, SERVERS - 1)))
def test_a_split_that_was_seen_stays_one_whatever_else_is_seen(told, hidden):
    part = {name: each for name, each in told.items() if int(name[-1]) not in hidden}
    if diagnose(ObservedZone(reports=part), zone_uuid=UUID).health is Health.SPLIT:
        assert diagnose(ObservedZone(reports=told), zone_uuid=UUID).health is Health.SPLIT


@given(
    st.integers(1, SERVERS),
    st.sets(st.integers(0, SERVERS - 1)),
    st.sets(st.integers(0, SERVERS - 1)),
    st.booleans(),
)
def test_to_see_more_of_a_zone_never_makes_it_look_worse(size, away, unseen, led):
    """``away`` servers do not run; of the others the operator cannot see all."""
    leader = next((each for each in range(size) if each not in away), None) if led else None
    truth = build_reports(size, leader=leader, silent=tuple(away))
    seen = {name: each for name, each in truth.items() if int(name[-1]) not in unseen}
    part = diagnose(ObservedZone(reports=seen), zone_uuid=UUID)
    whole = diagnose(ObservedZone(reports=truth), zone_uuid=UUID)
    assert part.healthy <= whole.healthy
    assert whole.is_quorate or not part.is_quorate
    if part.health is Health.NO_QUORUM and led and whole.is_quorate:
        raise AssertionError("a quorum that was only not seen was called lost")


def test_a_plan_that_is_done_waits_for_nothing():
    zone = build_zone()
    observed = build_observed(zone)
    step = plan(zone, observed, NOW)
    assert isinstance(step, Nothing)
    assert build_status(zone, observed, step, NOW).plan.waiting_for is None


def test_every_word_is_in_the_reference():
    (version,) = build_crd()["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    text = status["diagnosis"]["properties"]["health"]["description"]
    assert [word for word in Health if word not in text] == []
