"""A zone's certificate authority, and the certificates of its servers.

``oned.tls`` reads certificates here, ``oned.transport`` asks here who is at the other end, and
``oned pki`` and a local zone issue certificates here. The operator issues the same certificates
with its own code: the contract is the URI in the certificate and the file names
(ARCHITECTURE.md).

Why no host names are checked: a server is reached at addresses that change (a pod's, a
forwarded port's) while it stays the same server. Its identity is
``URI:onezone://<zone uuid>/<server name>``, which only the zone's own authority can grant, and
which ``verify`` compares after the handshake. DNS names and addresses in the certificate are for
people and for tools that insist on them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from oned.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Authority",
    "PeerIdentity",
    "create_authority",
    "fingerprint",
    "identity",
    "issue_api",
    "issue_server",
    "load_authority",
    "read_authorities",
    "read_server",
    "verify",
]

AUTHORITY_CERTIFICATE = "ca.crt"
AUTHORITY_KEY = "ca.key"

AUTHORITY_DAYS = 3650
"""Ten years: replacing an authority means touching every server of the zone."""

SERVER_DAYS = 730
API_DAYS = 365

API_CERTIFICATE = "tls.crt"
API_KEY = "tls.key"

BACKDATED = timedelta(hours=1)
"""Certificates begin in the past, so that a server whose clock is behind accepts a new one."""

SCHEME = "onezone"
_COMMON_NAME_MAX = 64
_SERVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_PRIVATE = 0o600
_PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who a certificate speaks for."""

    zone_uuid: str
    name: str

    def __str__(self) -> str:
        return f"{SCHEME}://{self.zone_uuid}/{quote(self.name, safe='')}"


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
    start, end = _validity(AUTHORITY_DAYS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
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
    _write(directory / AUTHORITY_KEY, _key_pem(key), _PRIVATE)
    _write(directory / AUTHORITY_CERTIFICATE, authority.certificate_pem, _PUBLIC)
    return authority


def load_authority(directory: Path) -> Authority:
    """Read back what ``create_authority`` made.

    Raises:
        PeerError: a file is missing or unreadable, or the two do not belong together.
    """
    certificate = _load_certificate(directory / AUTHORITY_CERTIFICATE)
    path = directory / AUTHORITY_KEY
    key = _load_key(path)
    if key.public_key() != certificate.public_key():
        raise PeerError(f"{path} is not the key of {directory / AUTHORITY_CERTIFICATE}")
    for zone_uuid, name in _identities(certificate):
        if not name:
            return Authority(zone_uuid, certificate, key)
    raise PeerError(
        f"{directory / AUTHORITY_CERTIFICATE} names no zone (URI:{SCHEME}://<zone uuid>/): "
        "it was not made by oned pki"
    )


def issue_server(
    authority: Authority,
    name: str,
    *,
    hosts: Sequence[str],
    directory: Path,
    days: int = SERVER_DAYS,
) -> Path:
    """Make ``<name>.crt``, ``<name>.key`` (mode 0600) and a copy of ``ca.crt`` in ``directory``.

    An existing certificate of the server is replaced: that is how one is renewed. A server is
    both ends of its connections, so the certificate is good for both.

    Args:
        authority: of the server's zone.
        name: the server's name in the zone.
        hosts: DNS names and addresses it is reached at.
        directory: made when absent.
        days: validity; never beyond the authority's own.

    Returns:
        The path of the certificate.

    Raises:
        PeerError: a name, host or number is unusable, or the directory belongs to another
            authority; nothing was changed.
    """
    _server_name(name)
    if days < 1:
        raise PeerError(f"a certificate is valid for at least 1 day, not {days}")
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(str(PeerIdentity(authority.zone_uuid, name)))
    ]
    names.extend(_general_name(host) for host in dict.fromkeys(hosts))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issued = _issue(authority, name, names, usages, days)
    path = directory / f"{name}.crt"
    _place(authority, directory, issued, path, directory / f"{name}.key")
    return path


def issue_api(
    authority: Authority, *, hosts: Sequence[str], directory: Path, days: int = API_DAYS
) -> Path:
    """Make ``tls.crt``, ``tls.key`` (mode 0600) and a copy of ``ca.crt`` for the API's port.

    It names no server of the zone and is good for listening only: whoever holds its key can
    neither join the zone nor call a server's peer port.

    Args:
        authority: of the zone.
        hosts: DNS names and addresses in the URLs that clients use; at least one.
        directory: made when absent.
        days: validity; never beyond the authority's own.

    Returns:
        The path of the certificate.

    Raises:
        PeerError: a host or number is unusable, or the directory belongs to another authority;
            nothing was changed.
    """
    if not hosts:
        raise PeerError("a certificate of the API names at least one host")
    if days < 1:
        raise PeerError(f"a certificate is valid for at least 1 day, not {days}")
    names = [_general_name(host) for host in dict.fromkeys(hosts)]
    issued = _issue(authority, hosts[0], names, [ExtendedKeyUsageOID.SERVER_AUTH], days)
    path = directory / API_CERTIFICATE
    _place(authority, directory, issued, path, directory / API_KEY)
    return path


_Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _issue(
    authority: Authority,
    subject: str,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
    days: int,
) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    start, end = _validity(days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:_COMMON_NAME_MAX])])
        )
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(min(end, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate, key


def _place(
    authority: Authority, directory: Path, issued: _Issued, certificate_path: Path, key_path: Path
) -> None:
    """Put certificate and key in place; between the two a reader finds a pair that does not fit."""
    certificate, key = issued
    ours = directory / AUTHORITY_CERTIFICATE
    if ours.exists() and authority.certificate not in _load_certificates(ours):
        raise PeerError(f"{ours} is another authority's: choose another directory")
    if not ours.exists():
        _write(ours, authority.certificate_pem, _PUBLIC)
    _write(key_path, _key_pem(key), _PRIVATE)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), _PUBLIC)


def identity(certificate: Path | Mapping[str, Any]) -> PeerIdentity:
    """The zone and the server that a certificate speaks for.

    Args:
        certificate: a PEM file, or what ``getpeercert()`` returned after a handshake that
            verified the chain: this function believes the certificate.

    Raises:
        PeerError: it names none, or more than one.
    """
    if isinstance(certificate, Path):
        where = str(certificate)
        found = _identities(_load_certificate(certificate))
    else:
        where = "the peer's certificate"
        found = [
            parsed
            for kind, value in certificate.get("subjectAltName", ())
            if kind == "URI" and (parsed := _parse_uri(value)) is not None
        ]
    servers = [PeerIdentity(zone_uuid, name) for zone_uuid, name in found if name]
    if len(servers) != 1:
        raise PeerError(
            f"{where} names {len(servers)} servers, not one, as "
            f"URI:{SCHEME}://<zone uuid>/<server name>: issue it with oned pki"
        )
    return servers[0]


def verify(
    peercert: Mapping[str, Any] | None, *, zone_uuid: str, name: str | None = None
) -> PeerIdentity:
    """Who is at the other end, refused unless it is of our zone, and the server expected if any.

    To be called once a handshake is done, by both ends: the chain alone does not tell two zones
    apart that share an authority, nor one server from another.

    Raises:
        PeerError: no certificate, another zone's, or another server's.
    """
    if not peercert:
        raise PeerError("the peer showed no certificate")
    peer = identity(peercert)
    if peer.zone_uuid != zone_uuid:
        raise PeerError(f"the peer is {peer}, of another zone than ours, {zone_uuid}")
    if name is not None and peer.name != name:
        raise PeerError(f"the peer is server {peer.name}, where {name} was expected")
    return peer


def read_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """The authorities in a PEM file: one, or an old and a new one while they change.

    Raises:
        PeerError: the file is missing, or holds none.
    """
    return _load_certificates(path)


def read_server(
    certificate_path: Path, key_path: Path, authority_path: Path, name: str
) -> tuple[x509.Certificate, PeerIdentity]:
    """A server's own certificate, and whom it speaks for, once all of its files fit each other.

    What is wrong is told here, where a handshake would only send a short alert to the other end.

    Raises:
        PeerError: a file is missing, expired or does not fit the others.
    """
    authorities = _load_certificates(authority_path)
    certificate = _load_certificate(certificate_path)
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
    if _load_key(key_path).public_key() != certificate.public_key():
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


def _zone_uuid(text: str) -> str:
    try:
        uuid.UUID(text)
    except (ValueError, AttributeError) as error:
        raise PeerError(f"{text!r} is no uuid of a zone") from error
    return text


def _server_name(name: str) -> None:
    if not _SERVER_NAME.fullmatch(name):
        raise PeerError(
            f"{name!r} cannot be a server's name: letters, digits, '.', '_' and '-', at most "
            "128, beginning and ending with a letter or digit"
        )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    if not host or not re.fullmatch(r"[A-Za-z0-9_*.-]{1,253}", host):
        raise PeerError(f"{host!r} is neither an address nor a host name")
    return x509.DNSName(host)


def _validity(days: int) -> tuple[datetime, datetime]:
    now = datetime.now(UTC).replace(microsecond=0)
    return now - BACKDATED, now + timedelta(days=days)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
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


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _identities(certificate: x509.Certificate) -> list[tuple[str, str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [parsed for uri in uris if (parsed := _parse_uri(uri)) is not None]


def _parse_uri(uri: str) -> tuple[str, str] | None:
    parts = urlsplit(uri)
    if parts.scheme != SCHEME or not parts.netloc or parts.query or parts.fragment:
        return None
    return parts.netloc, unquote(parts.path.removeprefix("/"))


def _load_certificate(path: Path) -> x509.Certificate:
    return _load_certificates(path)[0]


def _load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except FileNotFoundError as error:
        raise PeerError(f"{path} is missing: make it with oned pki") from error
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PeerError(f"{path} holds no PEM certificate") from error


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as error:
        raise PeerError(f"{path} is missing: make it with oned pki") from error
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PeerError(f"{path} holds no unencrypted PEM private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PeerError(f"{path} is no elliptic curve key: issue a new one with oned pki")
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole: a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise PeerError(f"{path} cannot be written: {error.strerror}") from error
