"""TLS of a server's ports, with certificates that are read again when their files change.

Files are looked at every ``RELOAD_SECONDS``. A handshake takes what is current when it begins, and
connections that are open stay open: whoever rotates certificates restarts nothing. A pair that
is half written, expired or does not fit is refused; the one before stays in use.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from oned import pki
from oned.errors import PeerError

__all__ = ["Certificates", "Material", "load_api", "load_peer"]

RELOAD_SECONDS = 2.0
"""How late a new certificate is noticed. Looking costs a few calls of stat."""

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate that can be used, with what it is trusted with.

    Attributes:
        server: for the listening end.
        client: for the connecting end.
        fingerprint: SHA-256 of the certificate.
        not_before: when its life begins.
        not_after: its end.
        authorities: SHA-256 of each authority that is trusted; empty for those of the system.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    fingerprint: str
    not_before: datetime
    not_after: datetime
    authorities: tuple[str, ...]


class _Renewable(ssl.SSLContext):
    """Stands for whichever context is current when a handshake begins.

    An authority cannot be taken out of a context, and a listening port keeps the one that it was
    opened with.
    """

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*arguments, **options)


class Certificates:
    """One certificate of this server, as its files have it.

    Args:
        which: ``api`` or ``peer``, for logs and metrics.
        files: what is watched.
        load: reads them.

    Raises:
        PeerError: they cannot be used now; later that would leave the ones before in use.
    """

    def __init__(self, which: str, files: tuple[Path, ...], load: Callable[[], Material]) -> None:
        self.which = which
        self.server = _Renewable(ssl.PROTOCOL_TLS_SERVER)
        self.client = _Renewable(ssl.PROTOCOL_TLS_CLIENT)
        self._files = files
        self._load = load
        self._seen = self._signature()
        self._refused = ""
        self._material = load()
        self._use(self._material)
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch the files."""
        self._watcher = asyncio.create_task(self._watch(), name=f"certificates {self.which}")

    async def stop(self) -> None:
        """Stop watching; harmless when not started."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            # Not awaited itself: its being cancelled must not hide that whoever stops is, too.
            await asyncio.wait([watcher])

    def report(self) -> dict[str, Any]:
        """What ``/status`` tells of it: nothing secret."""
        return {
            "fingerprint": self._material.fingerprint,
            "not_before": self._material.not_before.strftime(_MOMENT),
            "not_after": self._material.not_after.strftime(_MOMENT),
            "authorities": list(self._material.authorities),
            "refused": bool(self._refused),
        }

    def look(self) -> None:
        """Take what the files have, if they have changed."""
        signature = self._signature()
        if signature == self._seen:
            return
        try:
            material = self._load()
        except (PeerError, ValueError) as error:  # ValueError: parts are parsed when looked at
            if self._signature() == signature:
                self._refuse(signature, str(error))
            return
        if self._signature() != signature:
            return  # they changed while they were read: what was read may be a mixture
        self._seen, self._refused, self._material = signature, "", material
        self._use(material)
        _log.info(
            "certificate loaded",
            which=self.which,
            fingerprint=material.fingerprint,
            not_after=material.not_after.isoformat(),
            authorities=len(material.authorities),
        )

    def _refuse(self, signature: tuple[object, ...], reason: str) -> None:
        self._seen, self._refused = signature, reason
        _log.error("certificate refused, the one before stays", which=self.which, error=reason)

    def _use(self, material: Material) -> None:
        self.server.current, self.client.current = material.server, material.client

    def _signature(self) -> tuple[object, ...]:
        """What differs when a file was written or replaced, or a link leads elsewhere."""
        found: list[object] = []
        for path in self._files:
            try:
                stat = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            # In a thread: the files may be on a disk that does not answer.
            await loop.run_in_executor(None, self.look)


def load_peer(directory: Path, name: str, zone_uuid: str | None = None) -> Material:
    """TLS 1.3 with ``ca.crt``, ``<name>.crt`` and ``<name>.key``, demanded of both ends.

    Args:
        directory: of the files.
        name: this server's name.
        zone_uuid: the zone that the certificate must be of; None for any.

    Raises:
        PeerError: a file is missing, expired or does not fit the others.
    """
    certificate_path, key_path = directory / f"{name}.crt", directory / f"{name}.key"
    authority_path = directory / pki.AUTHORITY_CERTIFICATE
    certificate, peer = pki.read_server(certificate_path, key_path, authority_path, name)
    if zone_uuid is not None and peer.zone_uuid != zone_uuid:
        raise PeerError(f"{certificate_path} is of zone {peer.zone_uuid}, this server of another")
    server, client = (
        _build_context(protocol, authority_path)
        for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the identity is the URI, see oned.pki
        context.verify_mode = ssl.CERT_REQUIRED
        _load_chain(context, certificate_path, key_path)
    # A resumed session skips the look at the certificate: none is offered.
    server.num_tickets = 0
    authorities = tuple(map(pki.fingerprint, pki.read_authorities(authority_path)))
    return _material(server, client, certificate, authorities)


def load_api(certificate_path: Path, key_path: Path, authority_path: Path | None) -> Material:
    """TLS 1.2 or 1.3 of the API's port, and of calls that are sent on to another server's.

    Args:
        certificate_path: the certificate, and what leads from it to an authority.
        key_path: its key, of any kind.
        authority_path: authorities of the other servers' certificates; None for the system's.

    Raises:
        PeerError: a file is missing, expired or does not fit the others.
    """
    certificate = pki.read_authorities(certificate_path)[0]
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise PeerError(f"{certificate_path} expired at {certificate.not_valid_after_utc}")
    server = _build_context(ssl.PROTOCOL_TLS_SERVER, None)
    _load_chain(server, certificate_path, key_path)
    client = _build_context(ssl.PROTOCOL_TLS_CLIENT, authority_path)
    # What is in the file is trusted, be it a root or not: an authority that follows another one may
    # be there with the certificate that the one before gave it.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    authorities: tuple[str, ...] = ()
    if authority_path is None:
        client.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        authorities = tuple(map(pki.fingerprint, pki.read_authorities(authority_path)))
    return _material(server, client, certificate, authorities)


def _material(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    certificate: x509.Certificate,
    authorities: tuple[str, ...],
) -> Material:
    return Material(
        server=server,
        client=client,
        fingerprint=pki.fingerprint(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        authorities=authorities,
    )


def _build_context(protocol: int, authority_path: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority_path is not None:
        try:
            context.load_verify_locations(cafile=str(authority_path))
        except FileNotFoundError as error:
            raise PeerError(f"{authority_path} is missing") from error
        except (OSError, ssl.SSLError) as error:
            raise PeerError(f"{authority_path} is unusable: {error}") from error
    return context


def _load_chain(context: ssl.SSLContext, certificate_path: Path, key_path: Path) -> None:
    try:
        context.load_cert_chain(str(certificate_path), str(key_path), password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise PeerError(f"{certificate_path} and {key_path} are unusable: {error}") from error


def _no_password() -> str:
    # Without a callback OpenSSL would ask on the terminal, and a daemon would hang there.
    raise PeerError("the private key is encrypted: store it unencrypted with mode 0600")
