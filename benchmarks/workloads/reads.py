"""Reads by 64 clients of one server."""

from __future__ import annotations

from benchmarks.measure import Cost, measure
from benchmarks.plan import Plan, Results, lacking
from benchmarks.processes import BenchmarkError
from benchmarks.systems.system import System
from benchmarks.tables import Table, ms

CLIENTS = 64


def run(system: System, plan: Plan) -> dict[str, Cost | str]:
    """What each kind of read comes to."""
    found: dict[str, Cost | str] = {}
    leader = system.leader()
    for kind, load in system.reads(leader, CLIENTS).items():
        try:
            found[kind] = measure(system, leader, load, plan)
        except BenchmarkError as error:
            found[kind] = str(error)
    return found


def tables(measured: dict[System, dict[str, Cost | str]], absent: dict[System, str]) -> Results:
    """All kinds of reads of all systems."""
    results = Results()
    table = Table(
        f"Reads, {CLIENTS} clients on one server",
        ("system", "read", "reads/s", "p50 ms", "p99 ms", "CPU s per 1,000: servers", "generator"),
        "`one.zone.info` answers with the zone as an XML document; the peers answer with one value "
        "of 256 bytes.",
    )
    for system, kinds in measured.items():
        for kind, cost in kinds.items():
            if isinstance(cost, str):
                table.add(system.name, kind, f"failed: {cost}")
                continue
            table.add(
                system.name,
                kind,
                f"{cost.outcome.rate:,.0f}",
                ms(cost.outcome.p50),
                ms(cost.outcome.p99),
                f"{cost.leader_cpu + cost.others_cpu:.3f}",
                f"{cost.generator_cpu:.3f}",
            )
            key = f"reads {system.name}"
            results.values[key] = max(results.values.get(key, 0.0), cost.outcome.rate)
    for system, reason in lacking(absent, measured):
        table.add(system.name, "", reason)
    results.tables.append(table)
    return results
