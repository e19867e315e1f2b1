"""The sentence to each word of a diagnosis: why a zone is healthy, partial, uncertain ….

One word and one sentence for the plan, the status and the command line. What the word means for
the plan: only ``Healthy`` and ``Partial`` let it change members, route or running pods, and under
``Uncertain`` and ``SplitBrain`` it deletes nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile.quorum import Diagnosis, Health, majority
from onezone_operator.reconcile.seed import is_bootstrapped

__all__ = ["Finding", "explain"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A zone in one word, and why."""

    health: Health
    message: str


def explain(zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis) -> Finding:
    """The word and the sentence. A zone that was never made is neither healthy nor ill."""
    if not is_bootstrapped(zone, observed):
        return Finding(Health.NOT_BOOTSTRAPPED, "The zone's database is not made yet")
    if zone.spec.hibernated and diagnosis.leader is None and diagnosis.health is not Health.SPLIT:
        return Finding(Health.HIBERNATED, "The zone sleeps, or is about to (spec.hibernated)")
    return Finding(diagnosis.health, _sentence(observed, diagnosis))


def _sentence(observed: ObservedZone, diagnosis: Diagnosis) -> str:
    voters = len(diagnosis.voters)
    needed = f"{majority(voters)} are needed"
    answering = sum(each.name in observed.reports for each in diagnosis.voters)
    followers = f"{diagnosis.healthy_voters} of {voters} voters follow the leader, {needed}"
    match diagnosis.health:
        case Health.HEALTHY | Health.PARTIAL:
            away = sorted({each.name for each in diagnosis.members} - diagnosis.healthy)
            return followers if not away else f"{followers}; away or behind: {', '.join(away)}"
        case Health.NO_LEADER:
            return f"{answering} of {voters} voters answer, but none leads"
        case Health.NO_QUORUM:
            return f"{answering} of {voters} voters answer, {needed}"
        case Health.SPLIT:
            return "Two servers claim to lead in one term, or in different zones"
        case Health.UNCERTAIN:
            return f"A leader is not confirmed: {followers}, and {answering} answer"
        case Health.UNKNOWN | Health.NOT_BOOTSTRAPPED | Health.HIBERNATED:
            return "No server answers"
