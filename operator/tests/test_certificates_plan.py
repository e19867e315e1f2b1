"""Certificates: what is issued, waited for, renewed and taken away, and in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone

from onezone_operator.models.observed import (
    ObservedApiCertificate,
    ObservedPeers,
    ReportedCertificate,
)
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.steps import (
    AnnounceAuthority,
    ApplyObjects,
    DropCertificates,
    IssueApiCertificate,
    IssueCertificates,
    Nothing,
    PromoteAuthority,
    RetireAuthority,
    Wait,
)
from onezone_operator.resources.metadata import build_metadata
from onezone_operator.resources.tls import api_hosts, build_certificate

OWN = build_zone(tls={"enabled": True})
SECRET = build_zone(tls={"enabled": True, "secretRef": {"name": "ours"}})
ISSUER = build_zone(tls={"enabled": True, "issuerRef": {"name": "internal"}})
HTTP = build_zone()
ISSUED = ObservedApiCertificate(
    fingerprint="api",
    not_before=NOW - timedelta(days=80),
    not_after=NOW + timedelta(days=100),
    names=frozenset(api_hosts(OWN)),
    trusted=("fingerprint",),
    is_of_authority=True,
)


def observe(zone=OWN, **changes):
    changes.setdefault("api_certificate", ISSUED if zone.spec.tls.enabled else None)
    return build_observed(zone, **changes)


def reports(*, peer=None, api=None, **changes):
    """What servers tell; without certificates unless some are given."""
    certificates = {"peer": peer, "api": api}
    told = {which: each for which, each in certificates.items() if each is not None}
    return {
        name: replace(report, certificates=told)
        for name, report in build_reports(**changes).items()
    }


def with_authority(observed, **changes):
    authority = replace(observed.authority, **changes)
    peers = replace(observed.peers, trusted=authority.trusted)
    api = observed.api_certificate
    if api is not None and not api.problem:
        api = replace(api, trusted=authority.trusted)
    return replace(observed, authority=authority, peers=peers, api_certificate=api)


def step_of(zone, observed):
    return plan(zone, observed, NOW)


def condition(zone, observed):
    status = build_status(zone, observed, step_of(zone, observed), NOW)
    return status.condition("CertificatesReady")


def test_all_valid():
    assert isinstance(step_of(OWN, observe()), Nothing)
    assert condition(OWN, observe()).status == "True"
    status = build_status(OWN, observe(), Nothing("AsDesired", ""), NOW)
    assert [each.name for each in status.certificates] == ["peers", "api"]
    assert status.endpoint == "https://zone.front.svc:2633/RPC2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problem": "there is no Secret zone-tls"}, "there is no Secret"),
        ({"is_of_authority": False}, "another authority"),
        ({"trusted": ("fingerprint", "x")}, "other authorities"),
        ({"names": frozenset(api_hosts(OWN)[1:])}, "does not name zone"),
        ({"not_after": NOW + timedelta(days=59)}, "ends before long"),
    ],
)
def test_own_certificate_is_issued_again(change, reason):
    step = step_of(OWN, observe(api_certificate=replace(ISSUED, **change)))
    assert isinstance(step, IssueApiCertificate)
    assert step.hosts == api_hosts(OWN)
    assert reason in step.reason


def test_names_of_the_api():
    endpoint = {"type": "LoadBalancer", "metallb": {"address": "192.0.2.10,2001:DB8::1"}}
    zone = build_zone(
        endpoint=endpoint,
        tls={"enabled": True, "dnsNames": ["front.example"], "ipAddresses": ["192.0.2.11"]},
    )
    hosts = api_hosts(zone)
    assert len(set(hosts)) == len(hosts)
    assert {"zone", "zone.front.svc", "zone-any.front.svc", "*.zone-servers.front.svc"} <= {*hosts}
    assert {"front.example", "192.0.2.10", "192.0.2.11", "2001:db8::1"} <= {*hosts}
    assigned = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.99"}]}}}
    assert "192.0.2.99" in api_hosts(zone, assigned)


def test_servers_wait_for_a_certificate_that_somebody_else_makes():
    missing = ObservedApiCertificate(problem="there is no Secret ours")
    step = step_of(SECRET, observe(SECRET, statefulset=None, pods=(), api_certificate=missing))
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("ApiCertificateMissing", True)
    assert "there is no Secret ours" in step.message


def test_running_servers_do_not_wait_for_it():
    """What they have loaded stays in use, and failover must not wait."""
    missing = ObservedApiCertificate(problem="there is no Secret ours")
    observed = observe(SECRET, api_certificate=missing)
    assert isinstance(step_of(SECRET, observed), Nothing)
    told = condition(SECRET, observed)
    assert (told.status, told.reason) == ("False", "ApiCertificateMissing")


def test_foreign_secret_is_taken_where_it_is_asked_for():
    secret = {"kind": "Secret", "metadata": {"name": "ours", "ownerReferences": [{"uid": "x"}]}}
    objects = {**observe(SECRET).objects, ("Secret", "ours"): secret}
    assert isinstance(step_of(SECRET, observe(SECRET, objects=objects)), Nothing)
    taken = {**observe().objects, ("Secret", "zone-tls"): secret}
    assert step_of(OWN, observe(objects=taken)).reason == "NameTaken"


def test_cert_manager_is_asked_before_there_are_servers():
    missing = ObservedApiCertificate(problem="there is no Secret zone-tls")
    observed = observe(ISSUER, statefulset=None, pods=(), api_certificate=missing)
    step = step_of(ISSUER, observed)
    assert isinstance(step, ApplyObjects)
    (manifest,) = step.manifests
    assert manifest["kind"] == "Certificate"
    assert manifest["spec"]["issuerRef"] == {
        "name": "internal",
        "kind": "Issuer",
        "group": "cert-manager.io",
    }
    asked = {**observed.objects, ("Certificate", "zone-tls"): manifest}
    assert step_of(ISSUER, replace(observed, objects=asked)).reason == "ApiCertificateMissing"


def test_cert_manager_is_asked_anew_when_the_zone_serves():
    observed = observe(ISSUER)
    assert isinstance(step_of(ISSUER, observed), ApplyObjects)
    key, certificate = ("Certificate", "zone-tls"), build_certificate(ISSUER, api_hosts(ISSUER))
    asked = replace(observed, objects={**observed.objects, key: certificate})
    assert isinstance(step_of(ISSUER, asked), Nothing)
    unready = replace(observed, pods=(build_pod(0), build_pod(1), build_pod(2, ready=False)))
    assert isinstance(step_of(ISSUER, unready), ApplyObjects)
    silent = replace(observed, reports=build_reports(3, silent=(2,)))
    assert step_of(ISSUER, silent).reason == "ServerNotReady"
    assert build_metadata(ISSUER, "zone-tls")["ownerReferences"]


def test_without_cert_manager_nothing_is_tried():
    missing = ObservedApiCertificate(problem="there is no Secret zone-tls")
    new = observe(ISSUER, statefulset=None, pods=(), api_certificate=missing)
    step = step_of(ISSUER, replace(new, lacks_cert_manager=True))
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("CertManagerMissing", True)
    assert "install cert-manager" in step.message
    running = replace(observe(ISSUER), lacks_cert_manager=True)
    assert isinstance(step_of(ISSUER, running), Nothing)
    assert condition(ISSUER, running).reason == "CertManagerMissing"
    turning = with_authority(running, is_rotation_wanted=True)
    assert isinstance(step_of(ISSUER, turning), AnnounceAuthority)


def test_what_cert_manager_says_is_passed_on():
    missing = ObservedApiCertificate(problem="there is no Secret zone-tls")
    observed = observe(ISSUER, statefulset=None, pods=(), api_certificate=missing)
    asked = build_certificate(ISSUER, api_hosts(ISSUER))
    says = {"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "no issuer"}
    objects = {("Certificate", "zone-tls"): {**asked, "status": {"conditions": [says]}}}
    observed = replace(observed, objects={**observed.objects, **objects})
    assert "(cert-manager: no issuer)" in step_of(ISSUER, observed).message
    assert "(cert-manager: no issuer)" in condition(ISSUER, observed).message


def test_peers_certificates_are_renewed_when_a_third_is_left():
    ends = {f"zone-{each}": NOW + timedelta(days=700) for each in range(3)}
    observed = observe(HTTP, certificates={**ends, "zone-1": NOW + timedelta(days=364)})
    assert step_of(HTTP, observed) == IssueCertificates(("zone-1",))


def test_keys_of_servers_that_are_no_more_go():
    names = frozenset(f"zone-{each}" for each in range(5))
    peers = ObservedPeers(trusted=("fingerprint",), servers=names)
    observed = observe(HTTP, peers=peers)
    assert step_of(HTTP, observed) == DropCertificates(("zone-3", "zone-4"))
    leaving = replace(observed, pods=tuple(build_pod(each) for each in range(4)))
    assert not isinstance(step_of(HTTP, leaving), DropCertificates)
    assert not isinstance(step_of(HTTP, replace(observed, reports={})), DropCertificates)


class TestAuthority:
    def announced(self, zone=OWN, *, seconds=3600, told=None):
        observed = observe(zone) if told is None else observe(zone, reports=told)
        since = NOW - timedelta(seconds=seconds)
        return with_authority(observed, next="coming", announced=since)

    BOTH = ReportedCertificate("leaf", frozenset({"fingerprint", "coming"}))
    OLD = ReportedCertificate("leaf", frozenset({"fingerprint"}))

    def test_asked_for(self):
        step = step_of(OWN, with_authority(observe(), is_rotation_wanted=True))
        assert isinstance(step, AnnounceAuthority)
        assert (step.fingerprint, step.now) == ("fingerprint", NOW)

    def test_before_it_ends(self):
        soon = with_authority(observe(), not_after=NOW + timedelta(days=1199))
        assert isinstance(step_of(OWN, soon), AnnounceAuthority)
        late = with_authority(observe(), not_after=NOW + timedelta(days=1201))
        assert isinstance(step_of(OWN, late), Nothing)

    def test_not_while_a_server_is_away(self):
        away = observe(reports=build_reports(3, silent=(2,)))
        step = step_of(OWN, with_authority(away, is_rotation_wanted=True))
        assert step.reason == "ServerNotReady"

    @pytest.mark.parametrize(
        "told",
        [
            {},
            {"peer": BOTH},
            {"peer": OLD, "api": BOTH},
            {"peer": BOTH, "api": OLD},
        ],
    )
    def test_issues_only_when_all_trust_it(self, told):
        step = step_of(OWN, self.announced(told=reports(**told)))
        assert step.reason == "CertificatesSpreading"
        assert "zone-0, zone-1, zone-2" in step.message

    def test_issues_when_all_trust_it(self):
        told = reports(peer=self.BOTH, api=self.BOTH)
        assert step_of(OWN, self.announced(told=told)) == PromoteAuthority("coming")
        assert step_of(HTTP, self.announced(HTTP, told=reports(peer=self.BOTH))) == (
            PromoteAuthority("coming")
        )

    def test_clients_get_time(self):
        told = reports(peer=self.BOTH, api=self.BOTH)
        step = step_of(OWN, self.announced(seconds=3599, told=told))
        assert step.reason == "ClientsLearnAuthority"
        quick = self.announced(HTTP, seconds=0, told=reports(peer=self.BOTH))
        assert step_of(HTTP, quick) == PromoteAuthority("coming")

    def test_old_one_is_trusted_while_it_is_shown(self):
        api = ReportedCertificate("api")
        shown = {
            name: replace(
                report,
                certificates={"peer": ReportedCertificate(f"leaf-{report.server_id}"), "api": api},
            )
            for name, report in build_reports().items()
        }
        done = with_authority(observe(reports=shown), old="before")
        assert step_of(OWN, done) == RetireAuthority("before")
        for which in ("peer", "api"):
            told = {**shown["zone-2"].certificates, which: ReportedCertificate("other")}
            late = {**shown, "zone-2": replace(shown["zone-2"], certificates=told)}
            step = step_of(OWN, with_authority(observe(reports=late), old="before"))
            assert step.reason == "CertificatesSpreading"
            assert "zone-2" in step.message


def test_refused_files_and_ends_are_told():
    refused = ReportedCertificate("leaf", is_refused=True)
    told = condition(OWN, observe(reports=reports(api=refused)))
    assert (told.status, told.reason) == ("False", "CertificateRefused")
    assert "zone-0 (api)" in told.message
    ends = replace(ISSUED, not_after=NOW + timedelta(days=6))
    told = condition(SECRET, observe(SECRET, api_certificate=ends))
    assert (told.status, told.reason) == ("False", "CertificateEndsSoon")
    assert "The API's certificate ends on 2026-03-07" in told.message


@pytest.mark.parametrize(
    ("left", "reason"), [(7, "AllValid"), (2.1, "AllValid"), (1.9, "CertificateEndsSoon")]
)
def test_certificate_that_lives_for_a_day_is_judged_by_its_life(left, reason):
    end = NOW + timedelta(hours=left)
    found = replace(ISSUED, not_before=end - timedelta(hours=24), not_after=end)
    assert condition(SECRET, observe(SECRET, api_certificate=found)).reason == reason
