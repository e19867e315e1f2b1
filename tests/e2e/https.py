"""Zones whose XML-RPC is https: a client that trusts a Secret, and what servers say of their
certificates.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
import threading
import xmlrpc.client
from typing import Any, Self

import lab
import onezones
import timeouts
from clients import Refused

STAGE = 240
"""Until a Secret that was written is in use by all servers: the kubelet takes up to two minutes."""

CALLS_MIN = 50
"""Of a client in a stage, below which nothing is shown."""


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
        if not answer[0]:
            raise Refused(answer[1])
        return answer[1]

    def is_served(self) -> bool:
        """Whether a call is answered now: somebody leads, and shows a name that the URL has."""
        try:
            self.call("one.system.version")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, Refused):
            return False
        return True

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
