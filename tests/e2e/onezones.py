"""A zone under test: what its OneZone says, what its servers say, and what each of them holds."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from typing import Any

import lab
import timeouts
import yaml

API_PORT = 2633
DOCUMENT_TYPE = 100
"""The writers' documents are of this type; OpenNebula leaves the number to applications."""

READ_DOCUMENTS = f"""
import json, sys, xml.etree.ElementTree as tree, xmlrpc.client
session = open("/etc/one/auth/one_auth").read().strip()
server = xmlrpc.client.ServerProxy("http://localhost:{API_PORT}/RPC2")
ok, pool, *_ = server.one.documentpool.info(session, -2, -1, -1, {DOCUMENT_TYPE})
assert ok, pool
documents = tree.fromstring(pool).iter("DOCUMENT")
print(json.dumps({{d.findtext("ID"): d.findtext("NAME") for d in documents}}))
"""
READ_STATUS = """
import urllib.request
print(urllib.request.urlopen("http://localhost:2636/status", timeout=5).read().decode())
"""


@dataclasses.dataclass(frozen=True)
class Zone:
    """One OneZone by name."""

    namespace: str
    name: str

    # --- declared and reported -------------------------------------------------

    def get(self) -> dict[str, Any]:
        """The OneZone."""
        found: dict[str, Any] = lab.kubectl_json("-n", self.namespace, "get", "onezone", self.name)
        return found

    def patch(self, **spec: Any) -> None:
        """Change the spec."""
        lab.kubectl(
            "-n", self.namespace, "patch", "onezone", self.name, "--type=merge",
            "-p", json.dumps({"spec": spec}),
        )  # fmt: skip

    def wait_until_ready(self, replicas: int, seconds: float = timeouts.ZONE_READY) -> None:
        """Wait until all of so many servers are voters, ready, caught up, and routed to, and the
        operator has nothing left to do.

        The status is written before a step is carried out: with one to come, a server that is
        Ready may be about to be replaced. And while the operator is away the status stays as it
        was: one of a term that is over does not count.
        """

        def is_ready() -> bool:
            zone = self.get()
            status = zone.get("status", {})
            servers = status.get("servers", [])
            ready = [c for c in status.get("conditions", []) if c["type"] == "Ready"]
            plan = status.get("plan", {})
            lab_line = f"{status.get('readyServers')} {plan.get('message')}"
            if lab_line not in seen:
                seen.add(lab_line)
                lab.step(f"  {self.name}: {lab_line}")
            return (
                status.get("observedGeneration") == zone["metadata"]["generation"]
                and len(servers) == replicas
                and all(server.get("voter") and server.get("ready") for server in servers)
                and bool(ready)
                and ready[0]["status"] == "True"
                and plan.get("step") == "Nothing"
                and status.get("term") == self.route().term
            )

        seen: set[str] = set()
        lab.wait_until(f"{self.name} is Ready with {replicas} servers", is_ready, seconds)

    def wait_until_rolled(self, memory: str, seconds: float) -> None:
        """Wait until every server runs in a pod with this memory request."""

        def is_rolled() -> bool:
            items = lab.kubectl_json(
                "-n", self.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={self.name}"
            )["items"]
            asked = {
                container["resources"].get("requests", {}).get("memory")
                for item in items
                for container in item["spec"]["containers"]
                if container["name"] == "oned"
            }
            return asked == {memory}

        lab.wait_until(f"every server has {memory}", is_rolled, seconds)

    # --- who leads ---------------------------------------------------------------

    def server_status(self, server: str) -> dict[str, Any]:
        """What one server says of itself, asked in its own pod."""
        found: dict[str, Any] = json.loads(self.python(server, READ_STATUS))
        return found

    def pods(self) -> list[str]:
        """Names of the servers' pods."""
        items = lab.kubectl_json(
            "-n", self.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={self.name}"
        )["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def leader(self) -> str:
        """The server that leads now, by the servers' own word (the OneZone's status may be
        late).
        """

        def serving() -> str:
            leaders = []
            for pod in self.pods():
                try:
                    status = self.server_status(pod)
                except lab.CommandFailed:
                    continue
                if status["serving"] and status["state"] in ("leader", "solo"):
                    leaders.append((status["term"], pod))
            return max(leaders)[1] if leaders else ""

        return lab.wait_until(f"{self.name} has a leader", serving, timeouts.FAILOVER * 2)

    def follower(self) -> str:
        """A server that does not lead, the last one."""
        leader = self.leader()
        return next(pod for pod in reversed(self.pods()) if pod != leader)

    def node_of(self, server: str) -> str:
        """The node of a server's pod."""
        pod = lab.kubectl_json("-n", self.namespace, "get", "pod", server)
        node: str = pod["spec"]["nodeName"]
        return node

    def route(self) -> Route:
        """Where the leader Service leads."""
        found = lab.kubectl_json(
            "-n", self.namespace, "get", "endpointslice", f"{self.name}-leader"
        )
        return Route.parse(found)

    def wait_until_routed_to(self, server: str) -> None:
        """Wait until the leader Service leads to one server's pod, and only there."""

        def is_routed() -> bool:
            pod = lab.kubectl_json("-n", self.namespace, "get", "pod", server)
            return self.route().addresses == (pod["status"]["podIP"],)

        lab.wait_until(f"the Service leads to {server}", is_routed, timeouts.ROUTE)

    # --- reaching it --------------------------------------------------------------

    def session(self) -> str:
        """Oneadmin's credentials."""
        secret = lab.kubectl_json("-n", self.namespace, "get", "secret", f"{self.name}-auth")
        return base64.b64decode(secret["data"]["one_auth"]).decode().strip()

    def url(self) -> str:
        """The leader Service from outside of the cluster: a port of a node that no test breaks."""
        service = lab.kubectl_json("-n", self.namespace, "get", "service", self.name)
        ports = {port["name"]: port for port in service["spec"]["ports"]}
        port = ports.get("api", service["spec"]["ports"][0])["nodePort"]
        return f"http://{lab.node_address(lab.entry_node())}:{port}/RPC2"

    def python(self, server: str, script: str) -> str:
        """Run a program in a server's pod."""
        return lab.kubectl(
            "-n", self.namespace, "exec", "-i", server, "-c", "oned", "--", "python3", "-",
            stdin=script, seconds=timeouts.CALL,
        )  # fmt: skip

    def documents(self, server: str) -> dict[int, str]:
        """Id -> name of every document, as one server has them in its own tables."""
        found = json.loads(self.python(server, READ_DOCUMENTS))
        return {int(number): name for number, name in found.items()}


@dataclasses.dataclass(frozen=True)
class Route:
    """Where the leader Service leads, and by whose word."""

    term: int
    leader: str
    addresses: tuple[str, ...]

    @classmethod
    def parse(cls, found: dict[str, Any]) -> Route:
        """From the EndpointSlice."""
        annotations = found["metadata"].get("annotations") or {}
        endpoints = found.get("endpoints") or []
        return cls(
            term=int(annotations.get("onezone.dev/term", 0)),
            leader=annotations.get("onezone.dev/leader", ""),
            addresses=tuple(a for each in endpoints for a in each["addresses"]),
        )


def example(name: str) -> dict[str, Any]:
    """A manifest of examples/, as documentation shows it."""
    loaded: dict[str, Any] = yaml.safe_load((lab.ROOT / "examples" / f"{name}.yaml").read_text())
    return loaded


def declare(namespace: str, manifest: dict[str, Any], replicas: int) -> Zone:
    """Declare a zone that this machine can write to."""
    manifest = copy.deepcopy(manifest)
    manifest["spec"]["replicas"] = replicas
    endpoint = manifest["spec"].setdefault("endpoint", {"type": "NodePort"})
    endpoint.pop("nodePort", None)  # zones beside each other cannot share the example's port
    lab.apply(manifest, "-n", namespace)
    return Zone(namespace, manifest["metadata"]["name"])


def make(namespace: str, manifest: dict[str, Any], replicas: int) -> Zone:
    """Declare a zone that this machine can write to, and wait until it is Ready."""
    zone = declare(namespace, manifest, replicas)
    zone.wait_until_ready(replicas)
    return zone
