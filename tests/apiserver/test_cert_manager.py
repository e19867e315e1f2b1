"""cert-manager's own kinds and controllers: what the operator asks for is accepted and issued, and
where cert-manager is not installed, that is said and nothing else happens.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import controllers
import pytest
from authorities import Authority, shake, trusting
from chart_roles import SYSTEM, granted, install, render, used_by
from cryptography import x509

from benchmarks.processes import wait_until
from benchmarks.scale.lab import Lab
from oned import tls

NAMESPACE = "cert-manager-zone"
API = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
QUIET_SECONDS = 6
ABSENT_SECONDS = 20
ISSUED_SECONDS = 60


@pytest.fixture(scope="module")
def built() -> None:
    """Fails with CI=true, where a test that does not run is one that nobody has."""
    try:
        controllers.binary()
    except controllers.NotBuilt as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"NO CERT-MANAGER: {error}")


@contextlib.contextmanager
def operator(lab: Lab) -> Iterator[str]:
    """The operator with the chart's roles for one namespace; the name of its user."""
    objects = render("certs", [NAMESPACE])
    account = install(lab, objects)
    assert ("certificates", "create") in granted(objects)
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    login = lab.api.kubeconfig(user, token=lab.api.token(SYSTEM, account))
    process = lab.operator(
        "certs",
        kubeconfig=login,
        namespaces=NAMESPACE,
        lease_namespace=SYSTEM,
        lease_name=account,
    )
    try:
        yield user
    finally:
        lab.end(process)


def condition(lab: Lab, kind: str) -> dict[str, Any]:
    status = lab.zone(NAMESPACE, "zone").get("status") or {}
    found: dict[str, dict[str, Any]] = {each["type"]: each for each in status.get("conditions", ())}
    return found.get(kind, {})


def told_ends(lab: Lab) -> dict[str, str]:
    certificates = lab.zone(NAMESPACE, "zone")["status"].get("certificates") or []
    return {each["name"]: each["notAfter"] for each in certificates}


def wait_for_reason(lab: Lab, reason: str, seconds: float = ABSENT_SECONDS) -> dict[str, Any]:
    wait_until(
        lambda: condition(lab, "CertificatesReady").get("reason") == reason,
        f"told: {reason}",
        seconds,
    )
    return condition(lab, "CertificatesReady")


def make_issuers(lab: Lab) -> None:
    """An authority that signs itself, and an issuer of the kind CA with it."""
    meta = {"namespace": NAMESPACE}
    version = "cert-manager.io/v1"
    authority = {
        "isCA": True,
        "commonName": "internal",
        "secretName": "internal-ca",
        "privateKey": {"algorithm": "ECDSA", "size": 256},
        "issuerRef": {"name": "root", "kind": "Issuer"},
    }
    for plural, kind, name, spec in (
        ("issuers", "Issuer", "root", {"selfSigned": {}}),
        ("certificates", "Certificate", "internal-ca", authority),
        ("issuers", "Issuer", "internal", {"ca": {"secretName": "internal-ca"}}),
    ):
        body = {"apiVersion": version, "kind": kind, "metadata": {**meta, "name": name}}
        lab.api.apply(f"{API}/{plural}/{name}", {**body, "spec": spec})


def issued(lab: Lab) -> x509.Certificate:
    secret = lab.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/zone-tls")
    return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(found.get_values_for_type(x509.DNSName))


def is_issuing(lab: Lab) -> bool:
    """Whether cert-manager is at it: it writes the Secret first, and then that it is done."""
    conditions = lab.api.request("GET", f"{API}/certificates/zone-tls")["status"]["conditions"]
    return any(each["type"] == "Issuing" for each in conditions)


def renewed(lab: Lab) -> tuple[bytes, bytes, bytes]:
    """What is issued when asked as `cmctl renew` asks: certificates, key and authority."""
    wait_until(lambda: not is_issuing(lab), "done: what was issued before", ISSUED_SECONDS)
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/zone-tls"
    before = lab.api.request("GET", path)["data"]["tls.crt"]
    asked = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    lab.api.request(
        "PATCH",
        f"{API}/certificates/zone-tls/status",
        [{"op": "add", "path": "/status/conditions/-", "value": asked}],
        content_type="application/json-patch+json",
    )
    wait_until(
        lambda: lab.api.request("GET", path)["data"]["tls.crt"] != before, "renewed", ISSUED_SECONDS
    )
    data = lab.api.request("GET", path)["data"]
    chain, key, authority = (
        base64.b64decode(data[each]) for each in ("tls.crt", "tls.key", "ca.crt")
    )
    return chain, key, authority


def load(folder: Path, chain: bytes, key: bytes, authority: bytes) -> tls.Material:
    """A server's port with these files."""
    folder.mkdir()
    files = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
    for path, content in zip(files, (chain, key, authority), strict=True):
        path.write_bytes(content)
    return tls.load_api(*files)


def replace_authority(lab: Lab) -> None:
    """The three steps of docs/how-to/tls.md. Files reach servers at different times: whoever has
    those of one step accepts whoever has those of the next, and the other way round.
    """
    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/signing"
    first, second = Authority("first"), Authority("second")
    cross = first.certify(second)
    steps = (
        (first, (first.certificate,)),
        (second, (cross, first.certificate)),
        (second, (cross,)),
        (second, (second.certificate,)),
    )
    # Without a key ca.crt, which an issuer of the kind CA takes for the rest of its chain.
    issuer = lab.api.request("GET", f"{API}/issuers/internal")
    issuer["spec"] = {"ca": {"secretName": "signing"}}
    servers: list[tls.Material] = []
    for signer, chain in steps:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "signing"}}
        lab.api.apply(secret, {**body, "stringData": signer.keys(*chain)})
        if not servers:
            lab.api.request("PUT", f"{API}/issuers/internal", issuer)
        found = renewed(lab)
        assert x509.load_pem_x509_certificate(found[2]) == (
            x509.load_pem_x509_certificate(chain[-1])
        )
        servers.append(load(lab.api.directory / f"step-{len(servers)}", *found))
    for before, after in itertools.pairwise(servers):
        for one, other in itertools.product((before, after), repeat=2):
            shake(one.server, other.client)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(servers[-1].server, servers[0].client)
    # Clients that trust the first one alone have time until the last step.
    for server in servers[:-1]:
        shake(server.server, trusting(first.certificate))
    for server in servers[1:]:
        shake(server.server, trusting(first.certificate + second.certificate))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(servers[-1].server, trusting(first.certificate))


@pytest.mark.timeout(300, func_only=True)
def test_certificate_of_cert_manager(lab: Lab, built: None):
    lab.api.make_namespace(NAMESPACE)
    log = lab.api.directory / "certs.log"
    wanted: dict[str, Any] = {"enabled": True, "issuerRef": {"name": "internal"}}
    with operator(lab) as user:
        lab.declare(NAMESPACE, "zone", replicas=1, tls=wanted)

        # Not installed: told, with what to do, and looked at calmly.
        told = wait_for_reason(lab, "CertManagerMissing")
        assert "install cert-manager" in told["message"]
        wait_until(
            lambda: condition(lab, "Degraded")["reason"] == "CertManagerMissing",
            "waiting for nothing else",
            ABSENT_SECONDS,
        )
        mark, started = lab.api.mark(), time.monotonic()
        version = lab.zone(NAMESPACE, "zone")["metadata"]["resourceVersion"]
        time.sleep(QUIET_SECONDS)
        asked = [
            event["verb"]
            for event in lab.api.requests(user, since=mark)
            if "cert-manager.io" in event["requestURI"]
        ]
        assert asked
        # A look a second, the first of them at once: it is woken by what the pass before has told.
        assert len(asked) <= 1 + (time.monotonic() - started)
        assert set(asked) == {"get"}
        assert lab.zone(NAMESPACE, "zone")["metadata"]["resourceVersion"] == version
        assert "pass failed" not in log.read_text()

        # Installed, but there is no such issuer: the Certificate is taken, and waited for.
        for path in controllers.crds():
            lab.api.install_crds(path.parent, path.name)
        with controllers.running(
            lab.api.kubeconfig("cert-manager", groups=("system:masters",)),
            lab.api.directory / "cert-manager.log",
        ):
            told = wait_for_reason(lab, "ApiCertificateMissing")
            wait_until(
                lambda: "cert-manager:" in condition(lab, "CertificatesReady")["message"],
                "told: what cert-manager says",
                ABSENT_SECONDS,
            )
            statefulset = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/zone"
            assert lab.api.find(statefulset) is None

            # Issued: the zone is made with it.
            make_issuers(lab)
            wait_for_reason(lab, "AllValid", ISSUED_SECONDS)
            lab.wait_until_steady(NAMESPACE, "zone")
            first = issued(lab)
            assert {"zone", "*.zone-servers.cert-manager-zone.svc"} <= {*names(first)}

            # Another name is asked for, and issued.
            wanted["dnsNames"] = ["front.example.org"]
            lab.declare(NAMESPACE, "zone", replicas=1, tls=wanted)
            wait_until(
                lambda: "front.example.org" in names(issued(lab)), "named too", ISSUED_SECONDS
            )
            lab.wait_until_steady(NAMESPACE, "zone")
            replace_authority(lab)
            end = issued(lab).not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
            wait_until(lambda: told_ends(lab).get("api") == end, "told: the end", ABSENT_SECONDS)
            lab.wait_until_steady(NAMESPACE, "zone")

            # At rest, neither writes what the other takes back.
            mark = lab.api.mark()
            time.sleep(QUIET_SECONDS)
            written = [
                event["requestURI"]
                for event in lab.api.requests(user, since=mark)
                if event["verb"] in {"create", "update", "patch", "delete"}
                and event["objectRef"]["resource"] != "leases"
            ]
            assert not written
            used, refused = used_by(lab, user)
            assert not refused
            assert {("certificates", verb) for verb in ("get", "create", "patch")} <= used
            assert "pass failed" not in log.read_text()

            # Uninstalled from under a zone that runs: told, and the zone is left as it is. Between
            # the Certificate's end and that of its kind a pass may ask for it anew, and is refused.
            lab.api.request("DELETE", f"{CRDS}/certificates.cert-manager.io")
            wait_for_reason(lab, "CertManagerMissing")
            assert condition(lab, "Ready")["status"] == "True"
