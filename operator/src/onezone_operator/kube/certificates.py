"""Secrets with certificates → facts. No key leaves this module."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from onezone_operator import naming
from onezone_operator.kube.authority import (
    AUTHORITY_CERTIFICATE,
    NEXT_CERTIFICATE,
    OLD_CERTIFICATE,
    fingerprint,
    fingerprints,
)
from onezone_operator.models.observed import (
    ObservedApiCertificate,
    ObservedAuthority,
    ObservedPeers,
)

__all__ = ["parse_api_certificate", "parse_authority", "parse_peers"]


def parse_authority(
    values: Mapping[str, bytes], annotations: Mapping[str, str]
) -> ObservedAuthority:
    """The zone's authority, and the one that is to come or was before."""
    certificate = _certificate(values.get(AUTHORITY_CERTIFICATE))
    return ObservedAuthority(
        zone_uuid=annotations.get(naming.UUID_ANNOTATION),
        bootstrapped=annotations.get(naming.BOOTSTRAPPED_ANNOTATION) == "true",
        fingerprint=fingerprint(values),
        not_after=None if certificate is None else certificate.not_valid_after_utc,
        next=_first(values.get(NEXT_CERTIFICATE)),
        announced=_moment(annotations.get(naming.ANNOUNCED_ANNOTATION)),
        old=_first(values.get(OLD_CERTIFICATE)),
        is_rotation_wanted=naming.ROTATE_ANNOTATION in annotations,
    )


def parse_peers(values: Mapping[str, bytes]) -> ObservedPeers:
    """What is in the servers' Secret."""
    suffixes = (".crt", ".key")
    files = [name for name in values if name.endswith(suffixes) and name != naming.AUTHORITY_KEY]
    found = {
        name.removesuffix(".crt"): _first(values[name]) for name in files if name.endswith(".crt")
    }
    return ObservedPeers(
        trusted=fingerprints(values.get(naming.AUTHORITY_KEY)),
        fingerprints={server: each for server, each in found.items() if each is not None},
        servers=frozenset(name[: -len(".crt")] for name in files),
    )


def parse_api_certificate(
    name: str, values: Mapping[str, bytes] | None, authority: Mapping[str, bytes]
) -> ObservedApiCertificate:
    """The API's certificate in Secret ``name``, or why it cannot be used.

    Args:
        name: of the Secret.
        values: of the Secret; None when there is none.
        authority: values of the zone's own authority.
    """
    if values is None:
        return ObservedApiCertificate(problem=f"there is no Secret {name}")
    for key in (naming.TLS_CERTIFICATE_KEY, naming.TLS_PRIVATE_KEY, naming.AUTHORITY_KEY):
        if not values.get(key):
            return ObservedApiCertificate(problem=f"Secret {name} has no key {key}")
    certificate = _certificate(values[naming.TLS_CERTIFICATE_KEY])
    trusted = fingerprints(values[naming.AUTHORITY_KEY])
    if certificate is None or not trusted:
        return ObservedApiCertificate(problem=f"Secret {name} holds no PEM certificates")
    if not _fits(certificate, values[naming.TLS_PRIVATE_KEY]):
        return ObservedApiCertificate(problem=f"key and certificate in Secret {name} do not fit")
    return ObservedApiCertificate(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=_names(certificate),
        trusted=trusted,
        is_of_authority=_is_issued_by(certificate, authority.get(AUTHORITY_CERTIFICATE)),
    )


def _certificate(pem: bytes | None) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem or b"")
    except ValueError:
        return None


def _first(pem: bytes | None) -> str | None:
    return next(iter(fingerprints(pem)), None)


def _fits(certificate: x509.Certificate, key: bytes) -> bool:
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return private.public_key() == certificate.public_key()


def _is_issued_by(certificate: x509.Certificate, authority: bytes | None) -> bool:
    parent = _certificate(authority)
    if parent is None:
        return False
    try:
        certificate.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return frozenset(names.get_values_for_type(x509.DNSName)) | frozenset(addresses)


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
