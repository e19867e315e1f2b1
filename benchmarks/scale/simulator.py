"""What a node would do: pods get an address and become ready, and their servers answer.

``python -m benchmarks.scale.simulator KUBECONFIG NETWORK``; the StatefulSet's controller is
Kubernetes' own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from benchmarks.scale.servers import Servers
from onezone_operator import naming
from onezone_operator.errors import KubeError, NotFound
from onezone_operator.kube import Informers, KubeReader, Store
from onezone_operator.models.observed import Manifest

WORKERS = 8
SOON_SECONDS = 0.2


class Simulator:
    """Watches pods and makes them run."""

    def __init__(self, client: KubeReader, servers: Servers) -> None:
        self._client = client
        self._servers = servers
        self._due: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._waiting: set[tuple[str, str]] = set()
        self._running: dict[tuple[str, str], dict[str, str]] = {}
        """By namespace and zone: the uid of each pod that was started."""
        self.store = Store(("Pod",), (), self._wake)

    def _wake(self, namespace: str, zone: str) -> None:
        key = (namespace, zone)
        if key not in self._waiting:
            self._waiting.add(key)
            self._due.put_nowait(key)

    async def work(self) -> None:
        """Look at the zones that changed."""
        while True:
            key = await self._due.get()
            self._waiting.discard(key)
            try:
                await self._look_at(*key)
            except KubeError:
                # A claim that is not there yet, or a pod that is gone.
                asyncio.get_running_loop().call_later(SOON_SECONDS, self._wake, *key)

    async def _look_at(self, namespace: str, zone: str) -> None:
        pods = {
            live["metadata"]["name"]: live
            for live in self.store.of_zone("Pod", namespace, zone)
            if "deletionTimestamp" not in live["metadata"]
        }
        running = self._running.setdefault((namespace, zone), {})
        for name in running.keys() - pods.keys():
            del running[name]
            self._servers.end(namespace, zone, name)
        for name, live in pods.items():
            if running.get(name) != live["metadata"]["uid"]:
                await self._start(namespace, zone, live)
                running[name] = live["metadata"]["uid"]

    async def _start(self, namespace: str, zone: str, live: Manifest) -> None:
        name = live["metadata"]["name"]
        claim = await self._client.get(
            "PersistentVolumeClaim", namespace, f"{naming.DATA_VOLUME}-{name}"
        )
        uuid = (claim["metadata"].get("annotations") or {}).get(naming.UUID_ANNOTATION, "")
        address = await self._servers.run(namespace, zone, name, uuid)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": moment}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        change = {"status": {**status, "startTime": moment, "conditions": conditions}}
        with contextlib.suppress(NotFound):
            await self._client.patch(
                "Pod", namespace, name, change, manager="simulator", subresource="status"
            )


async def main(kubeconfig: Path, network: ipaddress.IPv4Network) -> None:
    """Until a signal says to stop."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    servers = Servers(network)
    await servers.start()
    async with KubeReader(request_seconds=30, kubeconfig=kubeconfig) as client:
        simulator = Simulator(client, servers)
        tasks = [asyncio.create_task(simulator.work()) for _ in range(WORKERS)]
        async with Informers(client, simulator.store):
            await stopped.wait()
        for task in tasks:
            task.cancel()
    await servers.stop()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), ipaddress.IPv4Network(sys.argv[2])))
