"""Promises about every moment, not only about the end: all versions of an object are looked at."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import threading
import time
from typing import Any, Self

import lab
import timeouts
from onezones import Route, Zone


class Watch:
    """Collects every version of one object while it is open."""

    def __init__(self, namespace: str, kind: str, name: str) -> None:
        """Get ready to watch one object."""
        self.versions: list[dict[str, Any]] = []
        self.moments: list[float] = []
        """When each of them came."""
        # kubectl would end the watch of an API server that stands still for 45 seconds.
        environment = {**os.environ, "HTTP2_READ_IDLE_TIMEOUT_SECONDS": "0"}
        self._process = subprocess.Popen(
            ["kubectl", "-n", namespace, "get", kind, name, "--watch", "-o", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        text = ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line
            if line.startswith("}"):
                self.moments.append(time.time())
                self.versions.append(json.loads(text))
                text = ""

    def __enter__(self) -> Self:
        """Start watching; the first version is what stands now."""
        self._reader.start()
        lab.wait_until("the watch has begun", lambda: self.versions, timeouts.CALL)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching."""
        was_watching = self._process.poll() is None
        self._process.terminate()
        self._process.wait(timeout=10)
        self._reader.join(timeout=10)
        if self._process.stdout:
            self._process.stdout.close()
        if error[0] is None:
            assert was_watching, "the watch ended by itself: it may have missed something"


class RouteWatch(Watch):
    """The leader Service's slice."""

    def __init__(self, zone: Zone) -> None:
        """Get ready to watch a zone's route."""
        super().__init__(zone.namespace, "endpointslice", f"{zone.name}-leader")

    def first_named(self, leader: str) -> float | None:
        """The moment in which the route was first seen to name a leader."""
        seen = zip(self.moments, self.versions, strict=False)  # the last one may be on its way
        return next((at for at, each in seen if Route.parse(each).leader == leader), None)

    def assert_never_backwards(self) -> None:
        """Terms only grow, and within one term there is one leader."""
        routes = [Route.parse(version) for version in self.versions]
        for before, after in itertools.pairwise(routes):
            assert after.term >= before.term, f"the route went back: {before} -> {after}"
            if after.term == before.term and before.leader:
                assert after.leader == before.leader, f"two leaders: {before} -> {after}"
        terms = sorted({route.term for route in routes})
        lab.step(f"  routes seen: {len(routes)}, terms {terms}")


class SizeWatch(Watch):
    """The OneZone's own account of its servers."""

    def __init__(self, zone: Zone) -> None:
        """Get ready to watch a zone's size."""
        super().__init__(zone.namespace, "onezone", zone.name)

    def assert_one_at_a_time(self) -> None:
        """Members come and go singly, and none comes while another has no vote yet."""
        servers = [version["status"]["servers"] for version in self.versions]
        for before, after in itertools.pairwise(servers):
            names = [{server["name"] for server in each} for each in (before, after)]
            assert len(names[0] ^ names[1]) <= 1, f"two at once: {names}"
        for each in servers:
            learners = [server["name"] for server in each if not server.get("voter")]
            assert len(learners) <= 1, f"two learners at once: {learners}"
        sizes = [size for size, _ in itertools.groupby(len(each) for each in servers)]
        lab.step(f"  sizes seen: {sizes}")
