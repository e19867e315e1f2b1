"""Certificates that an authority issues: of its zone's servers, and of the API's port."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from oned.errors import PeerError
from oned.pki.authority import Authority, key_usage, validity
from oned.pki.files import (
    API_CERTIFICATE,
    API_KEY,
    AUTHORITY_CERTIFICATE,
    PRIVATE,
    PUBLIC,
    key_pem,
    load_certificates,
    write,
)
from oned.pki.peer import PeerIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVER_DAYS = 730
API_DAYS = 365
_COMMON_NAME_MAX = 64
_SERVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")

_Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


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


def _issue(
    authority: Authority,
    subject: str,
    names: Sequence[x509.GeneralName],
    usages: Sequence[x509.ObjectIdentifier],
    days: int,
) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    start, end = validity(days)
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
        .add_extension(key_usage(authority=False), critical=True)
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
    if ours.exists() and authority.certificate not in load_certificates(ours):
        raise PeerError(f"{ours} is another authority's: choose another directory")
    if not ours.exists():
        write(ours, authority.certificate_pem, PUBLIC)
    write(key_path, key_pem(key), PRIVATE)
    write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)


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
