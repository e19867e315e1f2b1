"""The authority, the server's certificate and users' certificates of an API server for tests."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Identities"]

_BITS = 2048
_LIFE = timedelta(days=2)


class Identities:
    """Files of one API server, made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.authority = directory / "ca.crt"
        self.server_certificate = directory / "server.crt"
        self.server_key = directory / "server.key"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def make_server(self) -> None:
        """The authority's and the server's files."""
        basic = x509.BasicConstraints(ca=True, path_length=0)
        certificate = _builder(self._name, self._name, self._key, basic).sign(
            self._key, hashes.SHA256()
        )
        self.authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        self._issue(subject, self.server_certificate, self.server_key, names)

    def make_client(self, user: str, groups: tuple[str, ...]) -> tuple[Path, Path]:
        """Certificate and key of a user of these groups."""
        stem = user.replace(":", "-")
        certificate = self._directory / f"{stem}.crt"
        key = self._directory / f"{stem}.key"
        if not key.exists():
            parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
            name = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
            self._issue(name, certificate, key, [])
        return certificate, key

    def _issue(
        self, subject: x509.Name, certificate: Path, key: Path, names: list[x509.GeneralName]
    ) -> None:
        private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
        builder = _builder(
            subject, self._name, private, x509.BasicConstraints(ca=False, path_length=None)
        ).add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, basic: x509.BasicConstraints
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(basic, critical=True)
    )
