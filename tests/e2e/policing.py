"""Nodes that heed NetworkPolicies, and pods that try what they may."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from typing import Any

import lab
import timeouts

LISTENS = 8000
"""A visitor answers there."""

_SERVE = f"""
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b"here")
socketserver.TCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("", {LISTENS}), Handler).serve_forever()
"""
_CONNECT = """
import json, socket
found = {{}}
for host, port in {targets!r}:
    try:
        socket.create_connection((host, port), timeout={seconds}).close()
    except OSError:  # some networks refuse, some say nothing
        found[f"{{host}}:{{port}}"] = "cut off"
    else:
        found[f"{{host}}:{{port}}"] = "open"
print(json.dumps(found))
"""


def enforce(*, wanted: bool) -> None:
    """Have the nodes heed policies, or go back to how they were."""
    verb = "policies" if wanted else "no-policies"
    subprocess.run(
        [sys.executable, lab.ROOT / "tools" / "cluster", verb], check=True, timeout=timeouts.POLICED
    )


def probe(targets: list[tuple[str, int]]) -> str:
    """A program that tells which of these answer: open or cut off."""
    return _CONNECT.format(targets=targets, seconds=timeouts.CUT_OFF)


def own_address(target: str) -> str:
    """The address from which this machine calls a target: no packet is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((target, LISTENS))
        found: str = way.getsockname()[0]
        return found


def finds_from_here(host: str, port: int) -> str:
    """What this machine comes to: open or cut off."""
    found = subprocess.run(
        [sys.executable, "-c", probe([(host, port)])],
        check=True, capture_output=True, text=True, timeout=timeouts.CALL,
    )  # fmt: skip
    return str(*json.loads(found.stdout).values())


@dataclasses.dataclass(frozen=True)
class Visitor:
    """A pod with Python and nothing to do."""

    namespace: str
    name: str

    @classmethod
    def make(cls, namespace: str, name: str, image: str, labels: dict[str, str]) -> Visitor:
        """Run it, and wait until it answers."""
        container: dict[str, Any] = {
            "name": "visitor",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", _SERVE],
            "readinessProbe": {"tcpSocket": {"port": LISTENS}, "periodSeconds": 1},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        spec = {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        metadata = {"name": name, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        lab.apply(pod, "-n", namespace)
        lab.kubectl(
            "-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}",
            f"--timeout={timeouts.STEP}s", seconds=timeouts.STEP + 10,
        )  # fmt: skip
        return cls(namespace, name)

    def address(self) -> str:
        """Of the pod."""
        found = lab.kubectl_json("-n", self.namespace, "get", "pod", self.name)
        return str(found["status"]["podIP"])

    def tries(self, targets: list[tuple[str, int]]) -> list[str]:
        """What it comes to, one after the other."""
        text = lab.kubectl(
            "-n", self.namespace, "exec", "-i", self.name, "--", "python3", "-",
            stdin=probe(targets),
        )  # fmt: skip
        return list(json.loads(text).values())
