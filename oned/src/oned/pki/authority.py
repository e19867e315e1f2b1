"""A zone's certificate authority: made once, and read back by whoever issues."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oned.errors import PeerError
from oned.pki.files import (
    AUTHORITY_CERTIFICATE,
    AUTHORITY_KEY,
    PRIVATE,
    PUBLIC,
    key_pem,
    load_certificate,
    load_key,
    write,
)
from oned.pki.peer import SCHEME, identities

AUTHORITY_DAYS = 3650
"""Ten years: replacing an authority means touching every server of the zone."""

BACKDATED = timedelta(hours=1)
"""Certificates begin in the past, so that a server whose clock is behind accepts a new one."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A zone's certificate authority with its private key: whoever holds it can join the zone."""

    zone_uuid: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def create_authority(directory: Path, zone_uuid: str | None = None) -> Authority:
    """Make the authority of a zone: ``ca.crt`` and ``ca.key`` (mode 0600) in ``directory``.

    Args:
        directory: made when absent.
        zone_uuid: the zone it speaks for; a new one when None.

    Raises:
        PeerError: there is an authority already (it is left alone), the uuid is none, or the
            files cannot be written.
    """
    zone_uuid = _zone_uuid(zone_uuid) if zone_uuid is not None else str(uuid.uuid4())
    for name in (AUTHORITY_CERTIFICATE, AUTHORITY_KEY):
        if (directory / name).exists():
            raise PeerError(
                f"{directory / name} exists: an authority is never overwritten. "
                "Use it, or choose an empty directory"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"zone {zone_uuid}"[:64])])
    start, end = validity(AUTHORITY_DAYS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"{SCHEME}://{zone_uuid}/")]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    authority = Authority(zone_uuid, certificate, key)
    write(directory / AUTHORITY_KEY, key_pem(key), PRIVATE)
    write(directory / AUTHORITY_CERTIFICATE, authority.certificate_pem, PUBLIC)
    return authority


def load_authority(directory: Path) -> Authority:
    """Read back what ``create_authority`` made.

    Raises:
        PeerError: a file is missing or unreadable, or the two do not belong together.
    """
    certificate = load_certificate(directory / AUTHORITY_CERTIFICATE)
    path = directory / AUTHORITY_KEY
    key = load_key(path)
    if key.public_key() != certificate.public_key():
        raise PeerError(f"{path} is not the key of {directory / AUTHORITY_CERTIFICATE}")
    for zone_uuid, name in identities(certificate):
        if not name:
            return Authority(zone_uuid, certificate, key)
    raise PeerError(
        f"{directory / AUTHORITY_CERTIFICATE} names no zone (URI:{SCHEME}://<zone uuid>/): "
        "it was not made by oned pki"
    )


def _zone_uuid(text: str) -> str:
    try:
        uuid.UUID(text)
    except (ValueError, AttributeError) as error:
        raise PeerError(f"{text!r} is no uuid of a zone") from error
    return text


def validity(days: int) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    return now - BACKDATED, now + timedelta(days=days)


def key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
