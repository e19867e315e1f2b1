"""Who a certificate speaks for, and who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from cryptography import x509

from oned.errors import PeerError
from oned.pki.files import load_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "onezone"


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who a certificate speaks for."""

    zone_uuid: str
    name: str

    def __str__(self) -> str:
        return f"{SCHEME}://{self.zone_uuid}/{quote(self.name, safe='')}"


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
        found = identities(load_certificate(certificate))
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


def identities(certificate: x509.Certificate) -> list[tuple[str, str]]:
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
