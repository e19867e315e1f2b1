"""Authorities that certify each other, and handshakes in memory."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROUNDS_MAX = 10


class Authority:
    """A key with the certificate that it gave itself."""

    def __init__(self, name: str) -> None:
        """Make both."""
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.certify(self)

    def certify(self, other: Authority) -> bytes:
        """A certificate of this authority for another one, or for itself."""
        now = datetime.now(UTC)
        theirs, mine = other.key.public_key(), self.key.public_key()
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder(self.name, other.name, theirs)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(theirs), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(mine), critical=False)
        )
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def keys(self, *chain: bytes) -> dict[str, str]:
        """What the issuer's Secret holds: this key, and the certificates that lead from it."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {"tls.key": key.decode(), "tls.crt": b"".join(chain).decode()}


def trusting(authorities: bytes) -> ssl.SSLContext:
    """A client as any program is one, which trusts these roots."""
    return ssl.create_default_context(cadata=authorities.decode())


def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "zone") -> None:
    """A whole handshake in memory.

    Raises:
        ssl.SSLError: one of them does not accept the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(ROUNDS_MAX):
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            return
    raise AssertionError("no handshake")
