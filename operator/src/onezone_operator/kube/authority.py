"""A zone's certificate authority and its servers' certificates, as Secrets hold them.

The contract with the servers is in ARCHITECTURE.md: the subject alternative name
``URI:onezone://<zone uuid>/<server name>`` is a server's identity. Keys are random, so this is
no builder: ``execute`` calls it once and stores the outcome.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from onezone_operator import naming
from onezone_operator.errors import OperatorError
from onezone_operator.resources.tls import is_address

__all__ = [
    "announce",
    "certificate_ends",
    "create_authority",
    "fingerprint",
    "fingerprints",
    "issue_api_certificate",
    "issue_certificate",
    "promote",
    "retire",
    "trusted_pem",
]

AUTHORITY_CERTIFICATE = "tls.crt"
AUTHORITY_PRIVATE_KEY = "tls.key"

NEXT_CERTIFICATE = "next.crt"
NEXT_PRIVATE_KEY = "next.key"
OLD_CERTIFICATE = "old.crt"

AUTHORITY_DAYS = 3650
SERVER_DAYS = 1095
API_DAYS = 180
"""Clients are told a name and get a certificate for it: a stolen key is worth less, soon."""

BACKDATED = timedelta(hours=1)
"""Certificates begin in the past, for nodes whose clock is behind."""

_SCHEME = "onezone"
_COMMON_NAME_MAX = 64


def create_authority(zone_uuid: str) -> dict[str, bytes]:
    """A new authority: the values of its Secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"zone {zone_uuid}")])
    identity = x509.UniformResourceIdentifier(f"{_SCHEME}://{zone_uuid}/")
    certificate = (
        _builder(subject, subject, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {
        AUTHORITY_CERTIFICATE: certificate.public_bytes(serialization.Encoding.PEM),
        AUTHORITY_PRIVATE_KEY: _key_pem(key),
    }


def issue_certificate(
    authority: Mapping[str, bytes], *, zone_uuid: str, server: str, hosts: tuple[str, ...]
) -> dict[str, bytes]:
    """A server's new certificate and key: values for the Secret of the peers.

    Args:
        authority: values of the authority's Secret.
        zone_uuid: the zone that the server belongs to.
        server: its name.
        hosts: DNS names it is reached at, for tools that look at them; the servers do not.

    Raises:
        OperatorError: the authority's Secret is unusable.
    """
    parent, parent_key = _load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    identity = x509.UniformResourceIdentifier(f"{_SCHEME}://{zone_uuid}/{server}")
    names = [identity, *(x509.DNSName(host) for host in hosts)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server)])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(subject, parent.subject, key, SERVER_DAYS, until=parent.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(parent_key, hashes.SHA256())
    )
    return {
        f"{server}.crt": certificate.public_bytes(serialization.Encoding.PEM),
        f"{server}.key": _key_pem(key),
    }


def issue_api_certificate(
    authority: Mapping[str, bytes], *, hosts: tuple[str, ...]
) -> dict[str, bytes]:
    """A new certificate of the API's port, its key, and what it is held against: a whole Secret.

    It names no server and is good for listening only, so that its key lets nobody join the zone.

    Raises:
        OperatorError: the authority's Secret is unusable.
    """
    parent, parent_key = _load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
        for host in hosts
    ]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:_COMMON_NAME_MAX])])
    certificate = (
        _builder(subject, parent.subject, key, API_DAYS, until=parent.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(parent_key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(parent_key, hashes.SHA256())
    )
    return {
        naming.TLS_CERTIFICATE_KEY: certificate.public_bytes(serialization.Encoding.PEM),
        naming.TLS_PRIVATE_KEY: _key_pem(key),
        naming.AUTHORITY_KEY: trusted_pem(authority),
    }


def announce(authority: Mapping[str, bytes], zone_uuid: str) -> dict[str, bytes]:
    """The values with another authority in them that is trusted, and issues nothing yet."""
    coming = create_authority(zone_uuid)
    return {
        **_present(authority),
        NEXT_CERTIFICATE: coming[AUTHORITY_CERTIFICATE],
        NEXT_PRIVATE_KEY: coming[AUTHORITY_PRIVATE_KEY],
    }


def promote(authority: Mapping[str, bytes]) -> dict[str, bytes]:
    """The values after which the next authority issues; the one before stays trusted, keyless.

    Raises:
        OperatorError: there is no next one that can be used.
    """
    try:
        coming = {
            AUTHORITY_CERTIFICATE: authority[NEXT_CERTIFICATE],
            AUTHORITY_PRIVATE_KEY: authority[NEXT_PRIVATE_KEY],
        }
    except KeyError as error:
        raise OperatorError("there is no next authority") from error
    _load(coming)
    return {**coming, OLD_CERTIFICATE: authority[AUTHORITY_CERTIFICATE]}


def retire(authority: Mapping[str, bytes]) -> dict[str, bytes]:
    """The values with the present authority alone."""
    return _present(authority)


def trusted_pem(authority: Mapping[str, bytes]) -> bytes:
    """All authorities that are trusted, the one that issues first."""
    names = (AUTHORITY_CERTIFICATE, NEXT_CERTIFICATE, OLD_CERTIFICATE)
    return b"".join(authority[name] for name in names if name in authority)


def _present(authority: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: authority[name] for name in (AUTHORITY_CERTIFICATE, AUTHORITY_PRIVATE_KEY)}


def fingerprints(pem: bytes | None) -> tuple[str, ...]:
    """SHA-256 of each certificate in a text; none when it cannot be read."""
    try:
        certificates = x509.load_pem_x509_certificates(pem or b"")
    except ValueError:
        return ()
    return tuple(each.fingerprint(hashes.SHA256()).hex() for each in certificates)


def fingerprint(authority: Mapping[str, bytes]) -> str | None:
    """What tells one authority from another; None when the values are no usable authority."""
    try:
        certificate, _ = _load(authority)
    except OperatorError:
        return None
    return certificate.fingerprint(hashes.SHA256()).hex()


def certificate_ends(
    authority: Mapping[str, bytes], peers: Mapping[str, bytes]
) -> dict[str, datetime]:
    """When each server's certificate ends. One without its key, or of another authority, is no
    certificate.
    """
    try:
        parent, _ = _load(authority)
    except OperatorError:
        return {}
    ends = {}
    for name, value in peers.items():
        server = name.removesuffix(".crt")
        if name in {naming.AUTHORITY_KEY, server} or f"{server}.key" not in peers:
            continue
        with contextlib.suppress(ValueError, TypeError, InvalidSignature):
            certificate = x509.load_pem_x509_certificate(value)
            certificate.verify_directly_issued_by(parent)
            ends[server] = certificate.not_valid_after_utc
    return ends


def _load(values: Mapping[str, bytes]) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(values[AUTHORITY_CERTIFICATE])
        key = serialization.load_pem_private_key(values[AUTHORITY_PRIVATE_KEY], password=None)
    except (KeyError, ValueError, TypeError) as error:
        raise OperatorError("the Secret of the zone's authority is unusable") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OperatorError("the key of the zone's authority is no elliptic curve key")
    if key.public_key() != certificate.public_key():
        raise OperatorError("key and certificate of the zone's authority do not fit")
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    until: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end if until is None else min(end, until))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
