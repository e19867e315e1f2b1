"""Certificates as the servers expect them (contract: ARCHITECTURE.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from onezone_operator.errors import OperatorError
from onezone_operator.kube.authority import (
    announce,
    certificate_ends,
    create_authority,
    fingerprint,
    fingerprints,
    issue_api_certificate,
    issue_certificate,
    promote,
    retire,
    trusted_pem,
)
from onezone_operator.kube.certificates import (
    parse_api_certificate,
    parse_authority,
    parse_peers,
)

UUID = "7e1f2f5c-5a3f-4a0a-9c3e-0d8a5a0f3b11"


@pytest.fixture(scope="module")
def authority():
    return create_authority(UUID)


def issue(authority, server="zone-0"):
    return issue_certificate(authority, zone_uuid=UUID, server=server, hosts=("zone-0.example",))


def test_identity_of_a_server(authority):
    certificate = x509.load_pem_x509_certificate(issue(authority)["zone-0.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"onezone://{UUID}/zone-0"]
    assert names.get_values_for_type(x509.DNSName) == ["zone-0.example"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority["tls.crt"]))


def test_present_certificates_are_found(authority):
    peers = {"ca.crt": authority["tls.crt"], **issue(authority)}
    ends = certificate_ends(authority, peers)
    assert set(ends) == {"zone-0"}
    assert ends["zone-0"] > datetime.now(UTC) + timedelta(days=1000)


def test_certificates_that_are_none(authority):
    other = create_authority(UUID)
    foreign = {"ca.crt": authority["tls.crt"], **issue(other)}
    assert certificate_ends(authority, foreign) == {}
    keyless = {"ca.crt": authority["tls.crt"], "zone-0.crt": issue(authority)["zone-0.crt"]}
    assert certificate_ends(authority, keyless) == {}
    broken = {"ca.crt": authority["tls.crt"], "zone-0.crt": b"x", "zone-0.key": b"x"}
    assert certificate_ends(authority, broken) == {}


def test_unusable_authority(authority):
    assert fingerprint(authority) is not None
    for broken in (
        {},
        {**authority, "tls.key": b"x"},
        {**authority, "tls.key": create_authority(UUID)["tls.key"]},
    ):
        assert fingerprint(broken) is None
        assert certificate_ends(broken, {}) == {}
        with pytest.raises(OperatorError):
            issue(broken)


HOSTS = ("zone", "*.zone-servers.front.svc", "192.0.2.10", "2001:db8::1")


def test_certificate_of_the_api_names_hosts_and_no_server(authority):
    values = issue_api_certificate(authority, hosts=HOSTS)
    certificate = x509.load_pem_x509_certificate(values["tls.crt"])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == []
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    found = parse_api_certificate("zone-tls", values, authority)
    assert found.names == frozenset(HOSTS)
    assert found.is_of_authority
    assert found.trusted == (fingerprint(authority),)
    assert found.not_after == certificate.not_valid_after_utc


def test_one_authority_follows_another(authority):
    first = fingerprint(authority)
    announced = announce(authority, UUID)
    assert fingerprint(announced) == first
    (coming,) = set(fingerprints(trusted_pem(announced))) - {first}
    promoted = promote(announced)
    assert fingerprint(promoted) == coming
    assert fingerprints(trusted_pem(promoted)) == (coming, first)
    assert authority["tls.key"] not in promoted.values()
    assert set(certificate_ends(promoted, issue(authority))) == set()
    assert set(certificate_ends(promoted, issue(promoted))) == {"zone-0"}
    retired = retire(promoted)
    assert fingerprints(trusted_pem(retired)) == (coming,)
    with pytest.raises(OperatorError, match="no next authority"):
        promote(retired)


def test_facts_of_an_authority_that_changes(authority):
    annotations = {"onezone.dev/zone-uuid": UUID, "onezone.dev/announced": "2026-03-01T12:00:00Z"}
    found = parse_authority(announce(authority, UUID), annotations)
    assert found.trusted == (fingerprint(authority), found.next)
    assert found.announced == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert not found.is_rotation_wanted
    asked = parse_authority(authority, {"onezone.dev/rotate": "", "onezone.dev/announced": "soon"})
    assert asked.is_rotation_wanted
    assert asked.announced is None
    assert asked.trusted == (fingerprint(authority),)


def test_facts_of_the_peers_secret(authority):
    found = parse_peers({"ca.crt": authority["tls.crt"], **issue(authority), "zone-7.key": b"x"})
    assert found.servers == {"zone-0", "zone-7"}
    assert set(found.fingerprints) == {"zone-0"}
    assert found.trusted == (fingerprint(authority),)
    assert parse_peers({}).servers == frozenset()


def test_certificate_of_the_api_that_is_none(authority):
    values = issue_api_certificate(authority, hosts=HOSTS)
    other = issue_api_certificate(create_authority(UUID), hosts=HOSTS)
    for broken, problem in (
        (None, "there is no Secret s"),
        ({**values, "ca.crt": b""}, "no key ca.crt"),
        ({**values, "tls.crt": b"x"}, "no PEM"),
        ({**values, "tls.key": b"x"}, "do not fit"),
        ({**values, "tls.key": other["tls.key"]}, "do not fit"),
    ):
        assert problem in parse_api_certificate("s", broken, authority).problem
    assert not parse_api_certificate("s", other, authority).is_of_authority
