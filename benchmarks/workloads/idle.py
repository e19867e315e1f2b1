"""What a zone costs that nobody uses."""

from __future__ import annotations

import time

from benchmarks.plan import Plan, Results, lacking
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.systems.system import System
from benchmarks.tables import Table, mib

SETTLE_SECONDS = 3.0


def run(system: System, plan: Plan) -> dict[str, tuple[int, float]]:
    """Memory in bytes and share of a core, of the leader and of the busiest follower."""
    time.sleep(SETTLE_SECONDS)
    pids = system.pids()
    leader = system.leader()
    before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
    started = time.monotonic()
    time.sleep(plan.idle)
    took = time.monotonic() - started
    found = {
        name: (resident_bytes(pid), (cpu_seconds([pid]) - before[name]) / took)
        for name, pid in pids.items()
    }
    followers = [cost for name, cost in found.items() if name != leader]
    return {"leader": found[leader], "follower": max(followers, key=lambda cost: cost[1])}


def tables(
    measured: dict[System, dict[str, tuple[int, float]]], absent: dict[System, str], plan: Plan
) -> Results:
    """Every system's."""
    results = Results()
    table = Table(
        f"Idle servers, over {plan.idle:g} seconds",
        ("system", "server", "RSS MiB", "% of a core"),
        "Freshly started and empty; of two followers the busier one.",
    )
    for system, servers in measured.items():
        for server, (resident, share) in servers.items():
            table.add(system.name, server, mib(resident), f"{100 * share:.2f}")
        results.values[f"idle rss {system.name}"] = max(r for r, _ in servers.values())
        results.values[f"idle cpu {system.name}"] = max(s for _, s in servers.values())
    for system, reason in lacking(absent, measured):
        table.add(system.name, reason)
    results.tables.append(table)
    return results
