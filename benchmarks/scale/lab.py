"""An API server, simulated servers, and operators as processes: for tests and the benchmark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.processes import Child, free_ports, wait_until
from benchmarks.scale.apiserver import ApiServer

__all__ = ["CONTROLLERS", "Lab", "Operator"]

CONTROLLERS = (
    "statefulset-controller",
    "garbage-collector-controller",
    "persistentvolumeclaim-protection-controller",
)
ZONES = "/apis/onezone.dev/v1alpha1"


class Operator(Child):
    """One process of the operator."""

    def __init__(self, log: Path, kubeconfig: Path, **settings: str) -> None:
        self.probe_port, self.metrics_port = free_ports(2)
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "ONEZONE_PROBE_PORT": str(self.probe_port),
            "ONEZONE_METRICS_PORT": str(self.metrics_port),
            **{f"ONEZONE_{name.upper()}": value for name, value in settings.items()},
        }
        self.log = log
        command = [sys.executable, "-m", "onezone_operator.cli", "run"]
        super().__init__(command, log, environment)

    def metrics(self) -> dict[str, float]:
        """What it tells Prometheus, by name and labels.

        Raises:
            OSError: it does not answer.
        """
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in pairs}


class Lab:
    """Use as a context manager.

    Args:
        network: of the servers' addresses, one for each lab at a time. It is of the range that is
            kept for benchmarks, and becomes this machine's own for as long as the lab runs: the
            API server takes no loopback address for an endpoint.
    """

    def __init__(self, network: str = "") -> None:
        self.api = ApiServer(controllers=CONTROLLERS)
        self._network = network or f"198.18.{os.getpid() % 256}.0/24"
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self._route("replace")
            self.api.__enter__()
            self.api.install_crds()
            kubeconfig = self.api.kubeconfig("simulator", groups=("system:masters",))
            self._simulator = Child(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.scale.simulator",
                    str(kubeconfig),
                    self._network,
                ],
                self.api.directory / "simulator.log",
                {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            self.children.append(self._simulator)
            self._simulator.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def simulator_pid(self) -> int:
        return self._simulator.pid

    def stop(self) -> None:
        """End everything."""
        for child in reversed(self.children):
            child.end()
        self.api.stop()
        self._route("del", check=False)

    def _route(self, verb: str, *, check: bool = True) -> None:
        command = ["ip", "route", verb, "local", self._network, "dev", "lo"]
        subprocess.run(command, check=check, capture_output=True)

    def operator(
        self, name: str = "operator", *, kubeconfig: Path | None = None, **settings: str
    ) -> Operator:
        """A new process of the operator, started, as the admin unless told otherwise."""
        login = kubeconfig or self.api.kubeconfig("operator", groups=("system:masters",))
        made = Operator(self.api.directory / f"{name}.log", login, **settings)
        self.children.append(made)
        made.start()
        return made

    def end(self, operator: Operator, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait until it has ended."""
        operator.kill(number)
        wait_until(operator.has_ended, "ended: the operator", 30)

    # Volumes

    def make_storage_class(self, name: str, *, expandable: bool, is_default: bool = False) -> None:
        """A class whose volumes ``run_disks`` provides."""
        mark = {"storageclass.kubernetes.io/is-default-class": str(is_default).lower()}
        manifest = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": mark},
            "provisioner": "example.org/simulated",
            "allowVolumeExpansion": expandable,
        }
        self.api.apply(f"/apis/storage.k8s.io/v1/storageclasses/{name}", manifest)

    def run_disks(self, namespace: str, *claims: str) -> None:
        """What a storage driver does: claims (all, unless named) have what they ask for."""
        place = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        for each in self.api.request("GET", place)["items"]:
            name, asked = each["metadata"]["name"], each["spec"]["resources"]["requests"]
            status = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": asked}
            if (claims and name not in claims) or each["status"].get("capacity") == asked:
                continue
            self.api.request(
                "PATCH",
                f"{place}/{name}/status",
                {"status": status},
                content_type="application/merge-patch+json",
            )

    # Zones

    def declare(self, namespace: str, name: str, **spec: Any) -> Any:
        """Create a OneZone, or change its spec."""
        manifest = {
            "apiVersion": "onezone.dev/v1alpha1",
            "kind": "OneZone",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        return self.api.apply(f"{ZONES}/namespaces/{namespace}/onezones/{name}", manifest)

    def zone(self, namespace: str, name: str) -> Any:
        """A OneZone."""
        return self.api.request("GET", f"{ZONES}/namespaces/{namespace}/onezones/{name}")

    def wait_until_steady(self, namespace: str, name: str, seconds: float = 60) -> Any:
        """Wait until a zone's status says that its present spec is carried out."""
        wait_until(lambda: is_steady(self.zone(namespace, name)), f"steady: {name}", seconds)
        return self.zone(namespace, name)

    def wait_until_at_rest(self, operator: Operator, namespace: str, name: str) -> None:
        """Wait until a zone is steady, and the pass that said so over: it still writes Events."""
        self.wait_until_steady(namespace, name)
        seen = time.time()
        labels = f'{{namespace="{namespace}",zone="{name}"}}'
        ended = f"onezone_operator_last_success_timestamp_seconds{labels}"
        wait_until(lambda: operator.metrics().get(ended, 0.0) > seen, f"at rest: {name}")


def is_steady(zone: Any) -> bool:
    """Whether a status says that the present spec is carried out."""
    status = zone.get("status") or {}
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or []}
    return bool(
        status.get("observedGeneration") == zone["metadata"]["generation"]
        and status.get("plan", {}).get("step") == "Nothing"
        and conditions.get("Ready") == "True"
        and conditions.get("RoutingInSync") == "True"
    )
