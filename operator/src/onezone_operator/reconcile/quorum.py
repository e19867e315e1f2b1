"""Diagnosis: who leads, who are the members, and is there a quorum of them.

The same words stand in plan, status and events. Two sources must agree before anything is done:
what the leader knows of its followers, and what a majority of the servers say themselves. What
is uncertain is called so, and nothing is forced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from onezone_operator.models.observed import Member, ObservedZone, ServerReport

__all__ = ["Diagnosis", "Health", "diagnose", "majority"]

CONTACT_SECONDS = 5.0
"""A follower that the leader has not heard of for so long counts as away. Heartbeats are
answered several times a second, so this is far beyond a slow answer."""

CATCH_UP_LAG = 1000
"""Entries. A voter further behind than this would slow down or stop commits if it were needed."""

_NO_SERVER = -1
"""``leader_id`` of a server that knows no leader."""


class Health(StrEnum):
    """The state of a zone in one word: the reason of the condition Quorate, ``status.diagnosis``
    and what the command line shows. ``reconcile.diagnosis`` has the sentence to each.
    """

    NOT_BOOTSTRAPPED = "NotBootstrapped"
    """The zone's database was never made: there is nothing that could be lost."""
    HIBERNATED = "Hibernated"
    """No server runs, or not enough of them any more, as the user wishes."""
    HEALTHY = "Healthy"
    """One leader, and every member follows it."""
    PARTIAL = "Partial"
    """One leader with a quorum; some member does not follow."""
    NO_LEADER = "NoLeader"
    """A quorum answers, but no server leads: an election, or trouble between the servers."""
    NO_QUORUM = "NoQuorum"
    """Fewer servers answer than a quorum takes."""
    SPLIT = "SplitBrain"
    """Two servers lead in one term, or in two zones, which Raft and certificates rule out:
    something is badly wrong.
    """
    UNCERTAIN = "Uncertain"
    """A server leads, or is said to, but a quorum does not confirm it, or could not be asked."""
    UNKNOWN = "Unknown"
    """No server answered."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the reports add up to.

    Attributes:
        health: in one word.
        leader: the report of the one leader that a quorum follows; None unless quorate.
        members: the server set, of the leader, or else of the server that knows most.
        healthy: names of members that answer, follow this leader and are not far behind.
        is_settled: no membership change is under way.
    """

    health: Health
    leader: ServerReport | None
    members: tuple[Member, ...]
    healthy: frozenset[str]
    is_settled: bool

    @property
    def is_quorate(self) -> bool:
        """Whether there is a leader with a confirmed quorum: only then may anything be changed."""
        return self.leader is not None

    @property
    def voters(self) -> tuple[Member, ...]:
        """Members whose vote counts."""
        return tuple(member for member in self.members if member.voter)

    @property
    def healthy_voters(self) -> int:
        """Voters that could lead, or make a quorum, now."""
        return sum(member.name in self.healthy for member in self.voters)


def majority(voters: int) -> int:
    """The least number of voters that is a quorum."""
    return voters // 2 + 1


def diagnose(observed: ObservedZone, *, zone_uuid: str | None) -> Diagnosis:
    """Judge the reports.

    Args:
        observed: the facts.
        zone_uuid: servers of another zone are not heard.
    """
    reports = {
        name: report
        for name, report in observed.reports.items()
        if report.initialised
        and report.state != "fenced"
        and (zone_uuid is None or report.zone_uuid == zone_uuid)
    }
    if _is_split(observed.reports.values()):
        return Diagnosis(Health.SPLIT, None, _known_members(reports), frozenset(), False)
    leaders = [each for each in reports.values() if _is_leading(each)]
    if not leaders:
        return _without_leader(reports)
    return _with_leader(max(leaders, key=lambda each: each.term), reports)


def _is_split(reports: Iterable[ServerReport]) -> bool:
    """Two leaders of one term, or of different zones.

    Of different terms there may be two for a moment. Of one term never, not even of an older one.
    """
    leaders = [each for each in reports if each.initialised and _is_leading(each)]
    terms = {each.term for each in leaders}
    zones = {each.zone_uuid for each in leaders}
    return len(terms) < len(leaders) or len(zones) > 1


def _with_leader(leader: ServerReport, reports: Mapping[str, ServerReport]) -> Diagnosis:
    voters = [member for member in leader.members if member.voter]
    following = {member.name for member in leader.members if _is_following(member, leader, reports)}
    in_contact = {member.name for member in leader.members if _is_in_contact(member, leader)}
    needed = majority(len(voters))
    confirmed = sum(member.name in following for member in voters)
    reached = sum(member.name in in_contact for member in voters)
    healthy = frozenset(
        member.name
        for member in leader.members
        if member.name in following & in_contact and (member.lag or 0) <= CATCH_UP_LAG
    )
    if not voters or confirmed < needed or reached < needed:
        return Diagnosis(
            Health.UNCERTAIN, None, leader.members, healthy, leader.configuration_committed
        )
    complete = len(healthy) == len(leader.members)
    return Diagnosis(
        Health.HEALTHY if complete else Health.PARTIAL,
        leader,
        leader.members,
        healthy,
        leader.configuration_committed,
    )


def _without_leader(reports: Mapping[str, ServerReport]) -> Diagnosis:
    members = _known_members(reports)
    if not members:
        return Diagnosis(Health.UNKNOWN, None, (), frozenset(), False)
    voters = [member for member in members if member.voter]
    answering = [reports[member.name] for member in voters if member.name in reports]
    if len(answering) >= majority(len(voters)):
        health = Health.NO_LEADER
    else:
        # A voter forgets its leader before it campaigns. One that still has a leader which does
        # not answer *us* tells that we may be the one who is cut off.
        ids = {each.server_id for each in reports.values()}
        led = any(each.leader_id not in {None, _NO_SERVER, *ids} for each in answering)
        health = Health.UNCERTAIN if led else Health.NO_QUORUM
    return Diagnosis(health, None, members, frozenset(), False)


def _is_leading(report: ServerReport) -> bool:
    return report.state in {"leader", "solo"} and report.serving


def _is_following(
    member: Member, leader: ServerReport, reports: Mapping[str, ServerReport]
) -> bool:
    report = reports.get(member.name)
    if report is None or report.term != leader.term:
        return False
    return leader.server_id in {report.server_id, report.leader_id}


def _is_in_contact(member: Member, leader: ServerReport) -> bool:
    if member.id == leader.server_id:
        return True
    seconds = member.last_contact_seconds
    return seconds is not None and seconds <= CONTACT_SECONDS


def _known_members(reports: Mapping[str, ServerReport]) -> tuple[Member, ...]:
    """The server set as told by the server with the longest applied history."""
    told = [each for each in reports.values() if each.members]
    if not told:
        return ()
    return max(told, key=lambda each: (each.term, each.commit, each.name)).members
