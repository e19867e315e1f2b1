"""An operator that is killed at any moment goes on where it was: nothing is left over, and nobody
loses a write.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Self

import lab
import onezones
import timeouts
from writer import Writer

pytestmark = timeouts.limit(900)

MEMORY = "72Mi"
KILLS = 2
"""Of the operator in each change."""
MOMENTS = (0.3, 5.0)
"""Seconds into a change, and between a new operator's start and its end."""


class Killer:
    """Kills the operator at moments that a seed decides, and its successors likewise."""

    def __init__(self, seed: int) -> None:
        self._moments = random.Random(seed)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.killed: list[float] = []
        self._started = time.monotonic()

    def _work(self) -> None:
        for _ in range(KILLS):
            time.sleep(self._moments.uniform(*MOMENTS))
            for uid, node, name in lab.operator_pods():
                lab.kill_operator(uid, node, name)
            self.killed.append(round(time.monotonic() - self._started, 1))
            lab.scale_operator(1)
        self._done.set()

    def __enter__(self) -> Self:
        """Begin."""
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """See all kills done."""
        if error[0] is None:
            came_back = self._done.wait(KILLS * timeouts.OPERATOR_READY)
            assert came_back, "the operator did not come back"
            lab.step(f"  the operator was killed after {self.killed} s")


def assert_nothing_left_over(zone: onezones.Zone, servers: int) -> None:
    """Pods, volumes and slices of so many servers, and members by the zone's own word."""
    names = [f"{zone.name}-{number}" for number in range(servers)]
    assert zone.pods() == names
    members = zone.server_status(zone.leader())["members"]
    assert sorted(each["name"] for each in members) == names
    assert all(each["voter"] for each in members)

    def listed(kind: str, selector: str) -> list[str]:
        items = lab.kubectl_json("-n", zone.namespace, "get", kind, "-l", selector)["items"]
        return sorted(each["metadata"]["name"] for each in items)

    own = f"onezone.dev/zone={zone.name}"
    lab.wait_until(
        "volumes of the servers alone",
        lambda: listed("pvc", own) == [f"data-{name}" for name in names],
        timeouts.STEP,
    )
    assert listed("statefulset", own) == [zone.name]
    leads = f"kubernetes.io/service-name={zone.name}"
    assert listed("endpointslice", leads) == [f"{zone.name}-leader"]


def test_every_change_is_finished(namespace: str) -> None:
    """Growing, a roll of all servers, and shrinking, each with the operator killed meanwhile."""
    manifest: dict[str, Any] = onezones.example("one-server")
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    manifest["spec"]["storage"]["persistentVolumeClaimRetentionPolicy"] = policy
    zone = onezones.make(namespace, manifest, 1)
    resources = manifest["spec"].get("resources", {})
    rolled = {**resources, "requests": {**resources.get("requests", {}), "memory": MEMORY}}
    changes: list[tuple[str, dict[str, Any], int]] = [
        ("1 -> 3 servers", {"replicas": 3}, 3),
        ("a roll", {"resources": rolled}, 3),
        ("3 -> 1 servers", {"replicas": 1}, 1),
    ]
    with Writer(zone) as writer:
        for seed, (what, spec, servers) in enumerate(changes):
            lab.step(what)
            with Killer(seed):
                zone.patch(**spec)
            if "resources" in spec:
                zone.wait_until_rolled(MEMORY, timeouts.STEP * 3)
            zone.wait_until_ready(servers, timeouts.STEP * 3)
            assert_nothing_left_over(zone, servers)
            writer.wait_for_writes(10, timeouts.FAILOVER)
    assert writer.longest_gap <= timeouts.FAILOVER
    writer.assert_nothing_lost()
