"""One operator and hundreds of zones: how soon it sees a change, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generator import percentile
from benchmarks.processes import BenchmarkError, cpu_seconds, wait_until
from benchmarks.scale.lab import Lab, Operator, is_steady
from benchmarks.tables import Table
from onezone_operator import naming
from onezone_operator.kube import Informers, KubeReader, Store

__all__ = ["Plan", "Results", "measure", "tables"]

NAMESPACES = 10
"""Zones are spread over so many."""
NETWORK = "198.19.0.0/16"
WRITING = frozenset({"create", "update", "patch", "delete"})
PICKED_UP_SECONDS = 60.0
MAKE_SECONDS = 1800.0
RESTART_SECONDS = 300.0

CHANGES_MAX = 32
"""Changes that are under way at once: more connections than the API server accepts in time would be
the benchmark's own trouble."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    zones: int = 300
    replicas: int = 3
    changes: int = 100
    idle_seconds: float = 120.0
    pause_seconds: float = 0.25
    """Between two changes."""


@dataclass(slots=True)
class Results:
    """What was measured; seconds, bytes and calls a minute."""

    plan: Plan
    made: float = 0.0
    picked_up: list[float] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)
    idle_calls: dict[str, float] = field(default_factory=dict)
    idle_cpu: float = 0.0
    resident: int = 0
    peak: int = 0
    restarts: list[float] = field(default_factory=list)
    objects: int = 0


class Watcher:
    """Sees every OneZone as soon as the API server tells of it."""

    def __init__(self) -> None:
        self.store = Store((naming.KIND,), (), self._look)
        self._pending: dict[tuple[str, str], tuple[int, float]] = {}
        self.took: list[float] = []

    def expect(self, namespace: str, name: str, generation: int, since: float) -> None:
        """A spec was changed just now."""
        self._pending[namespace, name] = (generation, since)
        self._look(namespace, name)

    def example(self) -> str:
        """One that is not picked up, and what its zone says."""
        (namespace, name), (generation, _) = next(iter(self._pending.items()))
        live = self.store.get(naming.KIND, namespace, name) or {}
        status = live.get("status") or {}
        seen = (status.get("observedGeneration"), status.get("plan"))
        return f"{namespace}/{name} generation {generation} version {live['metadata']}: {seen}"

    @property
    def missing(self) -> int:
        return len(self._pending)

    def steady(self) -> int:
        """How many zones are as desired."""
        return sum(is_steady(live) for live in self.store.all_of(naming.KIND))

    def _look(self, namespace: str, name: str) -> None:
        expected = self._pending.get((namespace, name))
        live = self.store.get(naming.KIND, namespace, name)
        if expected is None or live is None:
            return
        if (live.get("status") or {}).get("observedGeneration", 0) >= expected[0]:
            self.took.append(time.monotonic() - expected[1])
            del self._pending[namespace, name]


@contextlib.asynccontextmanager
async def watching(lab: Lab) -> AsyncIterator[tuple[KubeReader, Watcher]]:
    """A client of the API server that sees what happens."""
    kubeconfig = lab.api.kubeconfig("bench", groups=("system:masters",))
    async with KubeReader(request_seconds=30, kubeconfig=kubeconfig) as client:
        watcher = Watcher()
        async with Informers(client, watcher.store):
            await watcher.store.wait_until_listed()
            yield client, watcher


async def measure(plan: Plan) -> Results:
    """All of it."""
    with Lab(NETWORK) as lab:
        for number in range(NAMESPACES):
            lab.api.make_namespace(f"bench-{number}")
        lab.api.make_namespace("onezone-system")
        results = Results(plan)
        operator = _start(lab)
        async with watching(lab) as (client, watcher):
            await _make(client, watcher, results)
            _say(f"{plan.zones} zones of {plan.replicas} servers in {results.made:.0f} s")
            await _idle(lab, operator, results)
            await _change(client, watcher, results)
            results.peak = _peak(operator)
            for _ in range(3):
                operator = await _restart(lab, operator, results)
            results.peak = max(results.peak, _peak(operator))
    return results


def _start(lab: Lab) -> Operator:
    return lab.operator(lease_namespace="onezone-system", log_level="WARNING")


def _names(plan: Plan) -> list[tuple[str, str]]:
    return [(f"bench-{each % NAMESPACES}", f"zone-{each}") for each in range(plan.zones)]


async def _make(client: KubeReader, watcher: Watcher, results: Results) -> None:
    started = time.monotonic()
    for namespace, name in _names(results.plan):
        manifest = {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": results.plan.replicas},
        }
        await client.create(manifest, manager="bench")
    told = 0.0
    while (steady := watcher.steady()) < results.plan.zones:
        await asyncio.sleep(1)
        if time.monotonic() - started > MAKE_SECONDS:
            raise BenchmarkError(f"only {steady} zones are steady")
        if time.monotonic() - told > 20:  # noqa: PLR2004 - now and then
            told = time.monotonic()
            _say(f"{steady} of {results.plan.zones} zones are steady")
    results.made = time.monotonic() - started


async def _idle(lab: Lab, operator: Operator, results: Results) -> None:
    """Nothing changes: what does the operator do?"""
    await asyncio.sleep(15)
    mark, cpu = lab.api.mark(), cpu_seconds([operator.pid])
    started = time.monotonic()
    await asyncio.sleep(results.plan.idle_seconds)
    minutes = (time.monotonic() - started) / 60
    results.idle_cpu = (cpu_seconds([operator.pid]) - cpu) / (minutes * 60)
    counted: Counter[str] = Counter()
    for event in lab.api.requests("operator", since=mark):
        resource = (event.get("objectRef") or {}).get("resource", "none")
        kind = "writes" if event["verb"] in WRITING else "reads"
        kind = "watches" if event["verb"] == "watch" else kind
        counted["writes of the Lease" if resource == "leases" else kind] += 1
    for kind in ("reads", "watches", "writes", "writes of the Lease"):
        results.idle_calls[kind] = counted[kind] / minutes
    metrics = operator.metrics()
    results.objects = int(metrics.get("onezone_operator_cached_objects", 0))
    results.resident = _memory(operator, "VmRSS")


async def _change(client: KubeReader, watcher: Watcher, results: Results) -> None:
    """Change specs one after the other, then all at once."""
    rng = random.Random(1)
    names = _names(results.plan)
    for number in range(results.plan.changes):
        namespace, name = names[rng.randrange(len(names))]
        if any(key == (namespace, name) for key in watcher._pending):  # noqa: SLF001 - its own
            continue
        await _touch(client, watcher, namespace, name, f"one-{number}")
        await asyncio.sleep(results.plan.pause_seconds * rng.uniform(0.5, 1.5))
    await _until_seen(watcher)
    results.picked_up, watcher.took = sorted(watcher.took), []
    await asyncio.sleep(10)
    slots = asyncio.Semaphore(CHANGES_MAX)

    async def touch(namespace: str, name: str) -> None:
        async with slots:
            await _touch(client, watcher, namespace, name, "all")

    await asyncio.gather(*(touch(*each) for each in names))
    await _until_seen(watcher)
    results.burst, watcher.took = sorted(watcher.took), []


async def _touch(
    client: KubeReader, watcher: Watcher, namespace: str, name: str, text: str
) -> None:
    change = {"spec": {"endpoint": {"annotations": {"example.org/bench": text}}}}
    since = time.monotonic()
    live = await client.patch(naming.KIND, namespace, name, change, manager="bench")
    watcher.expect(namespace, name, live["metadata"]["generation"], since)


async def _until_seen(watcher: Watcher) -> None:
    deadline = time.monotonic() + PICKED_UP_SECONDS
    while watcher.missing:
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"{watcher.missing} changes were not picked up, {len(watcher.took)} were; "
                f"one of them: {watcher.example()}"
            )
        await asyncio.sleep(0.05)


async def _restart(lab: Lab, operator: Operator, results: Results) -> Operator:
    """From the old one's end to a pass over every zone that succeeded."""
    results.peak = max(results.peak, _peak(operator))
    await asyncio.to_thread(lab.end, operator, signal.SIGTERM)
    started = time.monotonic()
    fresh = _start(lab)

    def is_done() -> bool:
        try:
            found = fresh.metrics()
        except OSError:
            return False
        names = [each for each in found if each.startswith("onezone_operator_last_success")]
        return len(names) == results.plan.zones

    await asyncio.to_thread(wait_until, is_done, "steady again", RESTART_SECONDS)
    results.restarts.append(time.monotonic() - started)
    _say(f"restarted in {results.restarts[-1]:.1f} s")
    return fresh


def _memory(operator: Operator, name: str) -> int:
    for line in Path(f"/proc/{operator.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _peak(operator: Operator) -> int:
    return _memory(operator, "VmHWM")


def _say(text: str) -> None:
    print(f"bench-operator: {text}", flush=True)


def tables(results: Results) -> tuple[Table, list[str]]:
    """The table, and which goals are missed."""
    plan = results.plan
    table = Table(
        f"{plan.zones} zones of {plan.replicas} servers, one operator",
        ("what", "goal", "measured", ""),
    )
    missed: list[str] = []

    def row(what: str, goal: float | None, shown: str, value: float, unit: float = 1.0) -> None:
        verdict = ""
        if goal is not None:
            verdict = "met" if value / unit <= goal else "**missed**"
            if value / unit > goal:
                missed.append(what)
        wanted = "" if goal is None else "≤ " + shown.format(goal)
        table.add(what, wanted, shown.format(value / unit), verdict)

    row("spec change picked up, p50 s", None, "{:.2f}", percentile(results.picked_up, 0.5))
    row("spec change picked up, p95 s", 5, "{:.2f}", percentile(results.picked_up, 0.95))
    row("all specs changed at once, p95 s", None, "{:.2f}", percentile(results.burst, 0.95))
    row("memory at rest (RSS), MiB", 250, "{:.0f}", results.resident, 1 << 20)
    row("memory at its peak (RSS), MiB", 250, "{:.0f}", results.peak, 1 << 20)
    row("restart to steady, longest of three, s", 60, "{:.1f}", max(results.restarts))
    row("CPU at rest, % of a core", None, "{:.0f}", 100 * results.idle_cpu)
    row("reads of the API server at rest, a minute", None, "{:.1f}", results.idle_calls["reads"])
    row("watches begun at rest, a minute", None, "{:.1f}", results.idle_calls["watches"])
    row("writes at rest, a minute", 0, "{:.1f}", results.idle_calls["writes"])
    row(
        "renewals of the Lease, a minute",
        None,
        "{:.1f}",
        results.idle_calls["writes of the Lease"],
    )
    row("objects held in memory", None, "{:,.0f}", results.objects)
    row("from nothing to all zones ready, s", None, "{:.0f}", results.made)
    return table, missed
