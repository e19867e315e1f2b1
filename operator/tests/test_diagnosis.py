"""Who leads, and is there a quorum: one case for each answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from operator_facts import UUID, build_reports

from onezone_operator.models.observed import ObservedZone
from onezone_operator.reconcile.quorum import Health, diagnose, majority


def judge(reports):
    return diagnose(ObservedZone(reports=reports), zone_uuid=UUID)


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (9, 5)])
def test_majority(voters, needed):
    assert majority(voters) == needed


def test_healthy():
    found = judge(build_reports())
    assert found.health is Health.HEALTHY
    assert found.leader.name == "zone-0"
    assert found.healthy == {"zone-0", "zone-1", "zone-2"}


def test_partial_when_one_is_silent():
    found = judge(build_reports(silent=(2,)))
    assert found.health is Health.PARTIAL
    assert found.is_quorate
    assert found.healthy_voters == 2


def test_no_leader():
    assert judge(build_reports(leader=None)).health is Health.NO_LEADER


def test_no_quorum():
    found = judge(build_reports(leader=None, silent=(1, 2)))
    assert found.health is Health.NO_QUORUM
    assert len(found.members) == 3


def test_unknown_when_nobody_answers():
    assert judge({}).health is Health.UNKNOWN


def test_split_when_two_lead_in_one_term():
    reports = build_reports()
    reports["zone-1"] = replace(reports["zone-1"], state="leader", serving=True)
    assert judge(reports).health is Health.SPLIT
    assert not judge(reports).is_quorate


def test_leader_of_a_later_term_is_believed():
    reports = build_reports(leader=1, term=5)
    stale = build_reports(leader=0, term=4)["zone-0"]
    found = judge({**reports, "zone-0": stale})
    assert found.leader.name == "zone-1"
    assert found.health is Health.PARTIAL


def test_leader_that_followers_do_not_confirm_is_uncertain():
    reports = build_reports(leader=0, term=4)
    for name in ("zone-1", "zone-2"):
        reports[name] = replace(reports[name], leader_id=-1, term=5)
    found = judge(reports)
    assert found.health is Health.UNCERTAIN
    assert not found.is_quorate


def test_followers_that_the_leader_does_not_hear_are_uncertain():
    reports = build_reports()
    members = tuple(
        replace(member, last_contact_seconds=30.0) for member in reports["zone-0"].members
    )
    reports["zone-0"] = replace(reports["zone-0"], members=members)
    assert judge(reports).health is Health.UNCERTAIN


def test_leader_that_does_not_serve_yet_is_none():
    reports = build_reports()
    reports["zone-0"] = replace(reports["zone-0"], serving=False)
    assert not judge(reports).is_quorate


def test_server_of_another_zone_is_not_heard():
    reports = build_reports(servers=1)
    reports["zone-0"] = replace(reports["zone-0"], zone_uuid="another")
    assert judge(reports).health is Health.UNKNOWN


def test_learner_does_not_count():
    found = judge(build_reports(servers=4, learners=(3,), silent=(1,)))
    assert len(found.voters) == 3
    assert found.is_quorate
    assert not judge(build_reports(servers=4, learners=(3,), silent=(1, 2))).is_quorate


def test_split_when_two_lead_in_one_older_term():
    reports = build_reports(servers=5, leader=4, term=7)
    for name in ("zone-0", "zone-1"):
        reports[name] = replace(reports[name], state="leader", serving=True, term=6)
    assert judge(reports).health is Health.SPLIT


def test_split_when_servers_lead_in_different_zones():
    reports = build_reports()
    reports["zone-1"] = replace(reports["zone-1"], zone_uuid="b", state="solo", serving=True)
    assert judge(reports).health is Health.SPLIT


def test_a_follower_of_a_silent_leader_says_that_too_little_was_seen():
    everything = build_reports()
    assert judge({"zone-1": everything["zone-1"]}).health is Health.UNCERTAIN
    campaigning = replace(everything["zone-1"], leader_id=-1, state="candidate")
    assert judge({"zone-1": campaigning}).health is Health.NO_QUORUM
