"""Certificates as the servers expect them (contract: ARCHITECTURE.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from onezone_operator.errors import OperatorError
from onezone_operator.kube.authority import (
    certificate_ends,
    create_authority,
    fingerprint,
    issue_certificate,
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
    stale = {"ca.crt": other["tls.crt"], **issue(authority)}
    assert certificate_ends(authority, stale) == {}
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
