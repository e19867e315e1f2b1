"""Certificates of a zone: what is missing, what ends, and how one authority follows another.

An authority is replaced in three stages, each of which ends when every member says so at
``/status``: the next one is trusted, then it issues, then the one before is trusted no more. What
a stage has written reaches the servers at different times, and at each of them any two servers
accept each other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from onezone_operator import naming
from onezone_operator.models.observed import (
    ObservedApiCertificate,
    ObservedAuthority,
    ObservedZone,
    ServerReport,
)
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.status import CertificateStatus
from onezone_operator.reconcile.quorum import Diagnosis
from onezone_operator.reconcile.steps import (
    AnnounceAuthority,
    ApplyObjects,
    DropCertificates,
    IssueApiCertificate,
    IssueCertificates,
    PromoteAuthority,
    RetireAuthority,
    Step,
    Wait,
)
from onezone_operator.resources.drift import find_drift
from onezone_operator.resources.tls import api_hosts, build_certificate

__all__ = [
    "certificate_ends",
    "certificate_trouble",
    "plan_api_certificate",
    "plan_certificate_request",
    "plan_peers_certificates",
    "plan_rotation",
    "plan_spare_certificates",
]

PEER_RENEW_BEFORE = timedelta(days=365)
API_RENEW_BEFORE = timedelta(days=60)
AUTHORITY_RENEW_BEFORE = timedelta(days=1200)
"""A certificate is renewed when a third of its life is left."""

ENDS_SOON = timedelta(days=7)
"""What is not renewed by then needs somebody to look at it."""

ENDS_SOON_PART = 12
"""The same for a certificate of somebody else's that lives for days only: when a twelfth of its
life is left. It is renewed at a third, as a rule."""

_API, _PEER = "api", "peer"

_CERT_MANAGER_MISSING = (
    "The cluster does not know cert-manager's Certificate: install cert-manager, or make a Secret "
    "and name it in tls.secretRef"
)


def plan_peers_certificates(
    zone: OneZone, observed: ObservedZone, *, servers: int, now: datetime
) -> Step | None:
    """Certificates for so many servers, beside the authorities that are trusted."""
    assert observed.authority is not None
    wanted = [naming.server_name(zone.name, ordinal) for ordinal in range(servers)]
    missing = tuple(
        name for name in wanted if observed.certificates.get(name, now) - PEER_RENEW_BEFORE <= now
    )
    if missing or observed.peers.trusted != observed.authority.trusted:
        return IssueCertificates(missing)
    return None


def plan_api_certificate(zone: OneZone, observed: ObservedZone, now: datetime) -> Step | None:
    """The API's certificate, as far as servers cannot start without it.

    What somebody else makes is waited for only until there are servers: those that run have one,
    and what happens to them is more important.
    """
    found = observed.api_certificate
    if found is None or observed.authority is None:
        return None
    if zone.spec.tls.is_own:
        hosts = _hosts(zone, observed)
        reason = _why_issue(found, observed.authority, hosts, now)
        return None if reason is None else IssueApiCertificate(hosts, reason)
    if not found.problem or observed.statefulset is not None:
        return None
    if observed.lacks_cert_manager:
        return Wait("CertManagerMissing", _CERT_MANAGER_MISSING, is_trouble=True)
    return plan_certificate_request(zone, observed) or Wait(
        "ApiCertificateMissing",
        f"Waiting for the API's certificate: {_problem(found, observed)}",
        is_trouble=True,
    )


def plan_certificate_request(zone: OneZone, observed: ObservedZone) -> Step | None:
    """Ask cert-manager for what the spec says."""
    if zone.spec.tls.issuer_ref is None or observed.lacks_cert_manager:
        return None
    manifest = build_certificate(zone, _hosts(zone, observed))
    key = (manifest["kind"], manifest["metadata"]["name"])
    drift = find_drift(manifest, observed.objects.get(key))
    if not drift or key in observed.contested:
        return None
    return ApplyObjects((manifest,), (f"{key[0]}/{key[1]}: {drift[0]}",))


def plan_rotation(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step | None:
    """The next stage in which one authority follows another; None while there is none."""
    authority = observed.authority
    if authority is None or authority.fingerprint is None:
        return None
    if authority.next is not None:
        return _plan_promotion(zone, observed, diagnosis, now)
    if authority.old is not None:
        waiting = _lagging(observed, diagnosis, _uses_new(zone, observed))
        if waiting:
            return _wait(waiting, "uses a certificate of the new authority")
        return RetireAuthority(authority.old)
    if authority.is_rotation_wanted:
        return AnnounceAuthority(authority.fingerprint, now, "it was asked for")
    end = authority.not_after
    if end is not None and end - AUTHORITY_RENEW_BEFORE <= now:
        return AnnounceAuthority(authority.fingerprint, now, f"the present one ends on {_day(end)}")
    return None


def plan_spare_certificates(zone: OneZone, observed: ObservedZone, *, servers: int) -> Step | None:
    """Keys of servers that are no more, taken away.

    Args:
        zone: the zone.
        observed: the facts.
        servers: how many there are, or shall be.
    """
    wanted = {naming.server_name(zone.name, ordinal) for ordinal in range(servers)}
    spare = sorted(name for name in observed.peers.servers - wanted if observed.pod(name) is None)
    return DropCertificates(tuple(spare)) if spare else None


def certificate_ends(observed: ObservedZone) -> list[CertificateStatus]:
    """When certificates end, as the status tells it."""
    ends = {
        "authority": observed.authority.not_after if observed.authority is not None else None,
        "peers": min(observed.certificates.values(), default=None),
        "api": observed.api_certificate.not_after if observed.api_certificate else None,
    }
    return [
        CertificateStatus(name=name, not_after=end.strftime("%Y-%m-%dT%H:%M:%SZ"))
        for name, end in ends.items()
        if end is not None
    ]


def certificate_trouble(observed: ObservedZone, now: datetime) -> tuple[str, str] | None:
    """What is wrong with certificates: a reason in one word, and a sentence."""
    found = observed.api_certificate
    if observed.lacks_cert_manager:
        return "CertManagerMissing", _CERT_MANAGER_MISSING
    if found is not None and found.problem:
        return "ApiCertificateMissing", f"The API's certificate: {_problem(found, observed)}"
    refused = sorted(
        f"{name} ({which})"
        for name, report in observed.reports.items()
        for which, each in report.certificates.items()
        if each.is_refused
    )
    if refused:
        text = "Files that cannot be used are refused, the certificate before stays in use"
        return "CertificateRefused", f"{text}: {', '.join(refused)}"
    ends = {f"the certificate of {name}": end for name, end in observed.certificates.items()}
    if observed.authority is not None and observed.authority.not_after is not None:
        ends["the authority"] = observed.authority.not_after
    soon = [(end, what) for what, end in ends.items() if end - ENDS_SOON <= now]
    if found is not None and found.not_after is not None and found.not_before is not None:
        life = found.not_after - found.not_before
        if found.not_after - min(ENDS_SOON, life / ENDS_SOON_PART) <= now:
            soon.append((found.not_after, "the API's certificate"))
    if soon:
        end, what = min(soon)
        return "CertificateEndsSoon", f"{what[0].upper()}{what[1:]} ends on {_day(end)}"
    return None


def _problem(found: ObservedApiCertificate, observed: ObservedZone) -> str:
    """What is wrong with the API's certificate, and what cert-manager says of it."""
    told = [
        str(each.get("message", ""))
        for (kind, _), live in observed.objects.items()
        if kind == naming.CERTIFICATE_KIND
        for each in (live.get("status") or {}).get("conditions") or []
        if each.get("type") == "Ready" and each.get("status") != "True"
    ]
    return f"{found.problem} (cert-manager: {told[0]})" if told and told[0] else found.problem


def _hosts(zone: OneZone, observed: ObservedZone) -> tuple[str, ...]:
    service = observed.objects.get(("Service", naming.leader_service_name(zone.name)))
    return api_hosts(zone, service)


def _why_issue(
    found: ObservedApiCertificate,
    authority: ObservedAuthority,
    hosts: tuple[str, ...],
    now: datetime,
) -> str | None:
    """Why another certificate of the API is needed, None if none is."""
    if found.problem:
        return found.problem
    if not found.is_of_authority:
        return "it is of another authority"
    if found.trusted != authority.trusted:
        return "other authorities are trusted"
    missing = [host for host in hosts if host not in found.names]
    if missing:
        return f"it does not name {missing[0]}"
    if found.not_after is None or found.not_after - API_RENEW_BEFORE <= now:
        return "it ends before long"
    return None


def _plan_promotion(
    zone: OneZone, observed: ObservedZone, diagnosis: Diagnosis, now: datetime
) -> Step:
    authority = observed.authority
    assert authority is not None
    assert authority.next is not None
    waiting = _lagging(observed, diagnosis, _trusts_next(zone, authority))
    if waiting:
        return _wait(waiting, "trusts the next authority")
    if zone.spec.tls.is_own and authority.announced is not None:
        overlap = timedelta(seconds=zone.spec.tls.authority_overlap_seconds)
        until = authority.announced + overlap
        if now < until:
            return Wait(
                "ClientsLearnAuthority",
                "Clients have until "
                f"{until:%Y-%m-%d %H:%M:%S} UTC to trust the next authority, ca.crt in Secret "
                f"{naming.tls_secret_name(zone.name)}",
            )
    return PromoteAuthority(authority.next)


_Check = Callable[[str, ServerReport], bool]


def _ports(zone: OneZone) -> tuple[str, ...]:
    return (_PEER, _API) if zone.spec.tls.is_own else (_PEER,)


def _trusts_next(zone: OneZone, authority: ObservedAuthority) -> _Check:
    def check(_: str, report: ServerReport) -> bool:
        return all(
            which in report.certificates
            and report.certificates[which].authorities >= set(authority.trusted)
            for which in _ports(zone)
        )

    return check


def _uses_new(zone: OneZone, observed: ObservedZone) -> _Check:
    """Whether a server uses what the Secrets hold, all of which is of the new authority."""
    api = observed.api_certificate.fingerprint if observed.api_certificate is not None else ""

    def check(name: str, report: ServerReport) -> bool:
        wanted = {_PEER: observed.peers.fingerprints.get(name), _API: api}
        return all(
            which in report.certificates and report.certificates[which].fingerprint == wanted[which]
            for which in _ports(zone)
        )

    return check


def _lagging(observed: ObservedZone, diagnosis: Diagnosis, check: _Check) -> list[str]:
    """Members that do not say that they are so far; one that says nothing is not."""
    return [
        member.name
        for member in diagnosis.members
        if (report := observed.reports.get(member.name)) is None or not check(member.name, report)
    ]


def _wait(names: list[str], awaited: str) -> Wait:
    return Wait("CertificatesSpreading", f"Waiting until {', '.join(names)} {awaited}")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
