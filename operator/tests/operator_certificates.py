"""What the servers of the model do with certificates: each loads them when the kubelet brings them.

At every moment any two servers that run must accept each other, and clients every server: whoever
rotates certificates may not count on files arriving everywhere at once.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from operator_cluster import ZONE, Cluster, ViolationError

from onezone_operator import naming
from onezone_operator.kube.authority import fingerprints
from onezone_operator.models.observed import ReportedCertificate

DELAY = 2
"""Ticks by which each server is later than the one before with what a Secret holds."""


class Certificates:
    """What one server has loaded: of its peers' port, and of the API's if that is https."""

    def __init__(self) -> None:
        self.trusted: dict[str, bytes] = {}
        self.shown: dict[str, bytes] = {}
        self.version: tuple[str, ...] | None = None
        self.due_in: int | None = None

    def load(self, which: str, authority: bytes, certificate: bytes) -> None:
        """Take these, if they fit each other; else those before stay."""
        if _is_issued(certificate, authority):
            self.trusted[which], self.shown[which] = authority, certificate

    def report(self) -> dict[str, ReportedCertificate]:
        return {
            which: ReportedCertificate(
                fingerprints(self.shown[which])[0], frozenset(fingerprints(self.trusted[which]))
            )
            for which in self.shown
        }


def run_kubelet(cluster: Cluster, name: str, loaded: Certificates) -> None:
    """Bring files at once to a server that starts, and late to others: what is there by then."""
    secrets = (naming.peers_secret_name(ZONE), naming.tls_secret_name(ZONE))
    version = tuple(
        cluster.objects[("Secret", secret)]["metadata"]["resourceVersion"]
        for secret in secrets
        if ("Secret", secret) in cluster.objects
    )
    if version == loaded.version:
        return
    if loaded.due_in is None and loaded.version is not None:
        loaded.due_in = DELAY * (naming.server_ordinal(ZONE, name) or 0)
    if loaded.due_in:
        loaded.due_in -= 1
        return
    loaded.version, loaded.due_in = version, None
    _load(cluster, name, loaded)


def _load(cluster: Cluster, name: str, loaded: Certificates) -> None:
    peers = _data(cluster, naming.peers_secret_name(ZONE))
    if {naming.AUTHORITY_KEY, f"{name}.crt", f"{name}.key"} <= set(peers):
        loaded.load("peer", peers[naming.AUTHORITY_KEY], peers[f"{name}.crt"])
    tls = _data(cluster, naming.tls_secret_name(ZONE))
    if tls:
        loaded.load("api", tls[naming.AUTHORITY_KEY], tls[naming.TLS_CERTIFICATE_KEY])


def check_acceptance(servers: dict[str, Certificates]) -> None:
    """Raise unless each accepts each, at both ports."""
    for one, mine in servers.items():
        for other, theirs in servers.items():
            for which in mine.trusted.keys() & theirs.shown.keys():
                if not _is_issued(theirs.shown[which], mine.trusted[which]):
                    raise ViolationError(f"{one} does not accept {other} ({which})")


def _data(cluster: Cluster, name: str) -> dict[str, bytes]:
    secret: dict[str, Any] = cluster.objects.get(("Secret", name), {})
    return {key: base64.b64decode(value) for key, value in secret.get("data", {}).items()}


@functools.lru_cache(maxsize=4096)
def _is_issued(certificate: bytes, authorities: bytes) -> bool:
    leaf = x509.load_pem_x509_certificate(certificate)
    for authority in x509.load_pem_x509_certificates(authorities):
        try:
            leaf.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
