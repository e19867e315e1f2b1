"""https on request: clients trust ca.crt of the Secret, and rotation costs no call."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import xmlrpc.client
from typing import Any, Self

import lab
import onezones
import pytest
import timeouts

OVERLAP_SECONDS = 20
"""Shorter than users need: the client of this test looks for new authorities all the time."""

STAGE = 240
"""Until a Secret that was written is in use by all servers: the kubelet takes up to two minutes."""

CALLS_MIN = 50
"""Of the client in a stage, below which nothing is shown."""

pytestmark = timeouts.limit(timeouts.ZONE_READY + 8 * STAGE)


def secret(zone: onezones.Zone, name: str) -> dict[str, bytes]:
    """Values of a Secret."""
    found = lab.kubectl_json("-n", zone.namespace, "get", "secret", name)
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the first certificate in a text."""
    end = b"-----END CERTIFICATE-----"
    first = pem[: pem.index(end) + len(end)].decode()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


class Client:
    """Writes all along, each call on a new connection; nothing is tried again."""

    def __init__(self, zone: onezones.Zone, url: str) -> None:
        """Get ready to write to a zone by this URL."""
        self.zone, self.url = zone, url
        self.session = zone.session()
        self.trusted = b""
        self.written: dict[int, str] = {}
        self.errors: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.learn()

    def learn(self) -> None:
        """Trust what the Secret says now."""
        self.trusted = secret(self.zone, f"{self.zone.name}-tls")["ca.crt"]

    def call(self, method: str, *parameters: Any) -> Any:
        """The value of an answer."""
        context = ssl.create_default_context(cadata=self.trusted.decode())
        with xmlrpc.client.ServerProxy(self.url, context=context) as server:
            answer: Any = getattr(server, method)(self.session, *parameters)
        assert answer[0], answer
        return answer[1]

    def _write(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                name = f"tls-{number}"
                document = self.call(
                    "one.document.allocate", f'NAME="{name}"', onezones.DOCUMENT_TYPE
                )
                self.written[int(document)] = name
            except Exception as error:  # noqa: BLE001 - any failure is what must not be
                self.errors.append(f"call {number}: {type(error).__name__}: {error}")
            self._stopped.wait(0.05)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stopped.set()
        self._thread.join(timeouts.CALL)
        lab.step(f"  client: {len(self.written)} written, errors {self.errors[:3]}")


@pytest.fixture
def https_zone(namespace: str) -> tuple[onezones.Zone, str]:
    """examples/tls.yaml, reached by a node's port, and its URL."""
    manifest = onezones.example("tls")
    address = lab.node_address(lab.entry_node())
    manifest["spec"]["tls"] |= {
        "ipAddresses": [address],
        "authorityOverlapSeconds": OVERLAP_SECONDS,
    }
    zone = onezones.make(namespace, manifest, 3)
    return zone, zone.url().replace("http://", "https://")


def state(zone: onezones.Zone) -> dict[str, Any]:
    """What a rotation must leave alone: pods, their restarts, leader and term."""
    pods = lab.kubectl_json(
        "-n", zone.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={zone.name}"
    )["items"]
    found = {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            [each["restartCount"] for each in pod["status"]["containerStatuses"]],
        )
        for pod in pods
    }
    status = zone.server_status(zone.leader())
    return {"pods": found, "leader": status["name"], "term": status["term"]}


def all_use(zone: onezones.Zone, which: str, wanted: dict[str, str]) -> bool:
    """Whether each server shows the certificate of this fingerprint."""
    return all(
        zone.server_status(server)["certificates"][which]["fingerprint"] == wanted[server]
        for server in zone.pods()
    )


def condition(zone: onezones.Zone, kind: str) -> dict[str, Any]:
    """A condition of the OneZone."""
    found: list[dict[str, Any]] = zone.get()["status"]["conditions"]
    return next(each for each in found if each["type"] == kind)


def renew(zone: onezones.Zone, _client: Client) -> None:
    """A Secret that is gone is made anew; servers take what is in it."""
    before = secret(zone, f"{zone.name}-tls")["tls.crt"]
    lab.kubectl("-n", zone.namespace, "delete", "secret", f"{zone.name}-tls")
    lab.wait_until(
        "the operator has made another certificate",
        lambda: secret(zone, f"{zone.name}-tls")["tls.crt"] != before,
        timeouts.STEP,
    )
    shown = fingerprint(secret(zone, f"{zone.name}-tls")["tls.crt"])
    wanted = dict.fromkeys(zone.pods(), shown)
    lab.wait_until("all servers show it", lambda: all_use(zone, "api", wanted), STAGE)


def rotate_authority(zone: onezones.Zone, client: Client) -> None:
    """All three stages; the client learns what the Secret says."""
    authority = f"{zone.name}-ca"
    before = fingerprint(secret(zone, authority)["tls.crt"])
    lab.kubectl("-n", zone.namespace, "annotate", "secret", authority, "onezone.dev/rotate=now")

    def is_replaced() -> bool:
        client.learn()
        values = secret(zone, authority)
        alone = set(values) == {"tls.crt", "tls.key"}
        plan = zone.get()["status"]["plan"]
        if plan["message"] not in seen:
            seen.add(plan["message"])
            lab.step(f"  {plan['message']}")
        return alone and fingerprint(values["tls.crt"]) != before and plan["step"] == "Nothing"

    seen: set[str] = set()
    lab.wait_until("the authority is another one", is_replaced, 4 * STAGE)
    peers = secret(zone, f"{zone.name}-peers")
    wanted = {server: fingerprint(peers[f"{server}.crt"]) for server in zone.pods()}
    assert all_use(zone, "peer", wanted)
    new = fingerprint(secret(zone, authority)["tls.crt"])
    for server in zone.pods():
        certificates = zone.server_status(server)["certificates"]
        for which in ("api", "peer"):
            lab.wait_until(
                f"{server} trusts the new authority alone ({which})",
                lambda server=server, which=which: (
                    zone.server_status(server)["certificates"][which]["authorities"] == [new]
                ),
                STAGE,
            )
            assert not certificates[which]["refused"]


def test_certificates_are_rotated_with_no_failed_call(https_zone) -> None:
    """Not one call fails, no pod is restarted, nobody stands for election."""
    zone, url = https_zone
    assert zone.get()["status"]["endpoint"].startswith("https://")
    assert condition(zone, "CertificatesReady")["status"] == "True"
    stranger = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        xmlrpc.client.ServerProxy(url, context=stranger).one.system.version("nobody:nothing")
    before = state(zone)
    with Client(zone, url) as client:
        for stage in (renew, rotate_authority):
            lab.step(f"{stage.__name__} under a client that writes")
            written = len(client.written)
            stage(zone, client)
            assert len(client.written) - written >= CALLS_MIN
            assert client.errors == []
    assert client.errors == []
    assert state(zone) == before
    members = zone.server_status(before["leader"])["members"]
    assert all(member["endpoint"].startswith("https://") for member in members)
    pool = client.call("one.documentpool.info", -2, -1, -1, onezones.DOCUMENT_TYPE)
    assert all(f"<NAME>{name}</NAME>" in pool for name in client.written.values())
    lab.step(json.dumps(zone.get()["status"]["certificates"]))
