"""Steps of all kinds at random under a client that writes all along. `make soak` takes 30 of them.

The seed is printed: the same seed takes the same steps.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import lab
import onezones
import pytest
import timeouts
from writer import Writer

pytestmark = timeouts.limit(4 * 3600)

SIZES = (1, 3, 5)
TABLES = """
import hashlib, sqlite3
base = sqlite3.connect("file:/var/lib/one/one.db?mode=ro", uri=True)
names = ("user_pool", "group_pool", "zone_pool", "document_pool", "acl", "pool_control",
         "system_attributes", "user_quotas", "group_quotas")
rows = {name: sorted(base.execute(f"SELECT * FROM {name}"), key=repr) for name in names}
print(hashlib.sha256(repr(rows).encode()).hexdigest())
"""


class Steps:
    """What is done to a zone."""

    def __init__(self, zone: onezones.Zone, seed: int) -> None:
        self.zone = zone
        self.size = 3
        self.taken: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._memory = 64

    def take(self) -> None:
        """One step at random, to its end."""
        chosen = self._random.choice(("size", "roll", "kill the leader", "kill a follower", "kill"))
        self.taken[chosen] += 1
        match chosen:
            case "size":
                before, self.size = (
                    self.size,
                    self._random.choice([size for size in SIZES if size != self.size]),
                )
                lab.step(f"{before} -> {self.size} servers")
                self.zone.patch(replicas=self.size)
            case "roll":
                self._memory += 1
                lab.step(f"a roll: memory request {self._memory}Mi")
                self.zone.patch(resources={"requests": {"memory": f"{self._memory}Mi"}})
                self.zone.wait_until_rolled(f"{self._memory}Mi", timeouts.STEP * 5)
            case _:
                self._kill(chosen)
        self.zone.wait_until_ready(self.size, timeouts.STEP * 5)

    def _kill(self, chosen: str) -> None:
        leader = self.zone.leader()
        others = [pod for pod in self.zone.pods() if pod != leader]
        pods = {"kill the leader": [leader], "kill a follower": others or [leader]}
        pod = self._random.choice(pods.get(chosen, self.zone.pods()))
        polite = self._random.random() < 0.3
        lab.step(f"{chosen}: {pod}{' is deleted' if polite else ''}")
        if not polite:
            lab.kill_process_of_pod(self.zone.namespace, pod)
        # The kubelet would start a container that dies often later and later; a new pod starts.
        lab.kubectl(
            "-n", self.zone.namespace, "delete", "pod", pod, f"--timeout={timeouts.STEP}s",
            seconds=timeouts.STEP + 10,
        )  # fmt: skip
        # The zone's status may be of the moment before: the next step is for servers that run.
        lab.wait_until(
            f"{pod} is ready again",
            lambda: lab.is_ready(lab.kubectl_json("-n", self.zone.namespace, "get", "pod", pod)),
            timeouts.SERVER_BACK,
        )


def assert_databases_equal(zone: onezones.Zone) -> None:
    """Row by row, on every server, once they have caught up."""

    def equal() -> bool:
        found: dict[str, Any] = {pod: zone.python(pod, TABLES).strip() for pod in zone.pods()}
        return len(set(found.values())) == 1

    lab.wait_until("all databases are equal", equal, timeouts.CATCH_UP)


def test_no_acknowledged_write_is_lost(namespace: str, request: pytest.FixtureRequest) -> None:
    """Sizes, rolls and kills; in the end all servers hold the same."""
    steps = request.config.getoption("--soak-steps", default=3)
    seed = request.config.getoption("--soak-seed", default=1)
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    taking = Steps(zone, seed)
    lab.step(f"soak: {steps} steps of seed {seed}")
    gaps = []
    with Writer(zone) as writer:
        for _ in range(steps):
            taking.take()
            writer.wait_for_writes(10, timeouts.FAILOVER)
            gaps.append(writer.longest_gap)
            writer.longest_gap = 0.0
        writer.assert_nothing_lost()
    assert_databases_equal(zone)
    lab.step(
        f"soak: {steps} steps of seed {seed} {dict(taking.taken)}, {len(writer.acknowledged)} "
        f"acknowledged writes, none lost, databases equal, longest pause {max(gaps):.2f} s"
    )
    assert max(gaps) <= timeouts.FAILOVER
