"""What a server holds, before it shows it to anybody: certificate, key and authorities."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from oned.errors import PeerError
from oned.pki.files import load_certificate, load_certificates, load_key
from oned.pki.peer import PeerIdentity, identity


def read_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """The authorities in a PEM file: one, or an old and a new one while they change.

    Raises:
        PeerError: the file is missing, or holds none.
    """
    return load_certificates(path)


def read_server(
    certificate_path: Path, key_path: Path, authority_path: Path, name: str
) -> tuple[x509.Certificate, PeerIdentity]:
    """A server's own certificate, and whom it speaks for, once all of its files fit each other.

    What is wrong is told here, where a handshake would only send a short alert to the other end.

    Raises:
        PeerError: a file is missing, expired or does not fit the others.
    """
    authorities = load_certificates(authority_path)
    certificate = load_certificate(certificate_path)
    peer = identity(certificate_path)
    if peer.name != name:
        raise PeerError(f"{certificate_path} is of server {peer.name}, not of {name}")
    issuer = next((each for each in authorities if _has_issued(each, certificate)), None)
    if issuer is None:
        raise PeerError(
            f"{certificate_path} was not issued by {authority_path}: both must be of one zone"
        )
    for path, each in ((authority_path, issuer), (certificate_path, certificate)):
        if each.not_valid_after_utc <= datetime.now(UTC):
            raise PeerError(f"{path} expired at {each.not_valid_after_utc}: issue a new one")
    if load_key(key_path).public_key() != certificate.public_key():
        raise PeerError(f"{key_path} is not the key of {certificate_path}")
    return certificate, peer


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
