"""Files of authorities, certificates and keys: their names, how they are read and written."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oned.errors import PeerError

AUTHORITY_CERTIFICATE = "ca.crt"
AUTHORITY_KEY = "ca.key"
API_CERTIFICATE = "tls.crt"
API_KEY = "tls.key"
PRIVATE = 0o600
PUBLIC = 0o644


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except FileNotFoundError as error:
        raise PeerError(f"{path} is missing: make it with oned pki") from error
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PeerError(f"{path} holds no PEM certificate") from error


def load_certificate(path: Path) -> x509.Certificate:
    return load_certificates(path)[0]


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
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


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write(path: Path, content: bytes, mode: int) -> None:
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
