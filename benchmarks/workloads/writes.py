"""Acknowledged writes of 256 bytes at the leader, by 1 to 256 clients."""

from __future__ import annotations

from benchmarks.measure import Cost, measure
from benchmarks.plan import Plan, Results, lacking
from benchmarks.processes import BenchmarkError
from benchmarks.systems.system import System
from benchmarks.tables import Table, mib, ms, ratio

TITLE = "Writes"


def run(system: System, plan: Plan) -> dict[int, Cost | str]:
    """What each number of clients comes to, or why it could not be measured."""
    leader = system.leader()
    found: dict[int, Cost | str] = {}
    for clients in plan.clients:
        try:
            found[clients] = measure(system, leader, system.writes(leader, clients), plan)
        except BenchmarkError as error:
            found[clients] = str(error)
    return found


def tables(
    measured: dict[System, dict[int, Cost | str]], absent: dict[System, str], plan: Plan
) -> Results:
    """One table for each number of clients, all systems side by side."""
    results = Results()
    ours = next((costs for system, costs in measured.items() if system.name == "oned"), {})
    for clients in plan.clients:
        table = Table(
            f"{TITLE}, {clients} client{'s' * (clients > 1)}",
            (
                "system",
                "writes/s",
                "oned ÷ it",
                "p50 ms",
                "p99 ms",
                "refused",
                "CPU s per 1,000: leader",
                "others",
                "generator",
                "RSS MiB",
                "what an acknowledged write has had",
            ),
        )
        own = ours.get(clients)
        for system, costs in measured.items():
            cost = costs[clients]
            if isinstance(cost, str):
                table.add(system.name, f"failed: {cost}")
                continue
            outcome = cost.outcome
            refused = outcome.failed / (outcome.failed + outcome.total)
            table.add(
                system.name,
                f"{outcome.rate:,.0f}",
                ratio(own.outcome.rate, outcome.rate) if isinstance(own, Cost) else "-",
                ms(outcome.p50),
                ms(outcome.p99),
                f"{100 * refused:.1f} %" if outcome.failed else "0",
                f"{cost.leader_cpu:.3f}",
                f"{cost.others_cpu:.3f}",
                f"{cost.generator_cpu:.3f}",
                mib(cost.resident),
                system.durability,
            )
            results.values[f"writes {system.name} {clients}"] = outcome.rate
            results.values[f"writes p50 {system.name} {clients}"] = outcome.p50
            results.values[f"writes p99 {system.name} {clients}"] = outcome.p99
        for system, reason in lacking(absent, measured):
            table.add(system.name, reason)
        results.tables.append(table)
    return results
