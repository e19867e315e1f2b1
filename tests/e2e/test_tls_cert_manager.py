"""https with certificates of cert-manager: asked for, renewed, and signed by another issuing
authority, with no failed call.

The controllers are cert-manager's own, run by the test as a process. Two kinds of rotation that its
users know: the certificate is renewed, and the issuer signs with another intermediate authority of
the same root.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clusters
import lab
import onezones
import pytest
import timeouts
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from https import CALLS_MIN, STAGE, Client, all_use, condition, fingerprint, secret, state

sys.path.append(str(lab.ROOT / "tests" / "certmanager"))

import controllers

ISSUER = "internal"
MISSING = "ApiCertificateMissing"

pytestmark = timeouts.limit(timeouts.ZONE_READY + 4 * STAGE)

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make_authority(name: str, parent: Pair | None = None) -> Pair:
    """A certificate authority, signed by its parent or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (subject, key) if parent is None else (parent[0].subject, parent[1])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(above, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate, key


def write_issuer_secret(namespace: str, issuing: Pair, root: Pair) -> None:
    """What the Issuer signs with: the issuing authority's key, and the chain up to the root."""
    chain = b"".join(
        each.public_bytes(serialization.Encoding.PEM) for each in (issuing[0], root[0])
    )
    key = issuing[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    data = {"tls.crt": chain, "tls.key": key}
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": ISSUER, "namespace": namespace},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }
    )


@pytest.fixture(scope="module")
def cert_manager(cluster: clusters.Cluster, tmp_path_factory) -> Iterator[None]:
    """cert-manager's kinds and controllers, at work on the cluster."""
    if cluster.kubeconfig != str(clusters.LAB_KUBECONFIG):
        pytest.skip("cert-manager's controllers are run on clusters that were made from packages")
    lab.step("compiling cert-manager's controllers (the first time takes about 6 minutes)")
    controllers.binary()
    for path in controllers.crds():
        lab.kubectl("apply", "--server-side", "-f", str(path))
    log = tmp_path_factory.mktemp("cert-manager") / "log"
    with controllers.running(Path(cluster.kubeconfig), log):
        yield


@pytest.fixture
def root() -> Pair:
    """The authority that clients trust; it stays."""
    return make_authority("Root of the e2e tests")


@pytest.fixture
def issued_zone(cert_manager: None, namespace: str, root: Pair) -> onezones.Zone:
    """A zone whose certificate comes from an Issuer of its namespace, which is made later."""
    manifest = onezones.example("tls")
    address = lab.node_address(lab.entry_node())
    manifest["spec"]["tls"] |= {"issuerRef": {"name": ISSUER}, "ipAddresses": [address]}
    zone = onezones.declare(namespace, manifest, 3)
    lab.wait_until(
        "the zone waits for its certificate",
        lambda: zone.get().get("status", {}).get("plan", {}).get("waitingFor") == MISSING,
        timeouts.STEP,
    )
    assert condition(zone, "CertificatesReady")["reason"] == MISSING
    write_issuer_secret(namespace, make_authority("Issuing 1", root), root)
    lab.apply(
        {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": {"name": ISSUER, "namespace": namespace},
            "spec": {"ca": {"secretName": ISSUER}},
        }
    )
    zone.wait_until_ready(3)
    return zone


def renew(zone: onezones.Zone) -> None:
    """What `cmctl renew` does, until every server shows what came of it."""
    name = f"{zone.name}-tls"
    before = secret(zone, name)["tls.crt"]
    where = ("-n", zone.namespace)
    conditions = lab.kubectl_json(*where, "get", "certificate", name)["status"]["conditions"]
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Renewed by a test",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    others = [each for each in conditions if each["type"] != "Issuing"]
    change = {"status": {"conditions": [*others, issuing]}}
    lab.kubectl(
        *where, "patch", "certificate", name, "--subresource=status", "--type=merge",
        "-p", json.dumps(change),
    )  # fmt: skip
    lab.wait_until(
        "cert-manager has issued another certificate",
        lambda: secret(zone, name)["tls.crt"] != before,
        timeouts.STEP,
    )
    wanted = dict.fromkeys(zone.pods(), fingerprint(secret(zone, name)["tls.crt"]))
    lab.wait_until("all servers show it", lambda: all_use(zone, "api", wanted), STAGE)


def issuer_of(pem: bytes) -> str:
    """The common name of whoever signed the first certificate."""
    certificate = x509.load_pem_x509_certificate(pem)
    return str(certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_certificates_of_cert_manager_are_rotated_with_no_failed_call(
    issued_zone: onezones.Zone, root: Pair
) -> None:
    """Not one call fails, no pod is restarted, nobody stands for election."""
    zone, name = issued_zone, f"{issued_zone.name}-tls"
    assert condition(zone, "CertificatesReady")["status"] == "True"
    assert issuer_of(secret(zone, name)["tls.crt"]) == "Issuing 1"
    assert secret(zone, name)["ca.crt"].strip() == (
        root[0].public_bytes(serialization.Encoding.PEM).strip()
    )
    before = state(zone)
    with Client(zone, zone.url().replace("http://", "https://")) as client:
        lab.step("renewal under a client that writes")
        renew(zone)
        assert len(client.written) >= CALLS_MIN
        lab.step("another issuing authority under a client that writes")
        written = len(client.written)
        write_issuer_secret(zone.namespace, make_authority("Issuing 2", root), root)
        renew(zone)
        assert len(client.written) - written >= CALLS_MIN
    assert client.errors == []
    assert issuer_of(secret(zone, name)["tls.crt"]) == "Issuing 2"
    assert state(zone) == before
    pool = client.call("one.documentpool.info", -2, -1, -1, onezones.DOCUMENT_TYPE)
    assert all(f"<NAME>{each}</NAME>" in pool for each in client.written.values())
