"""What must hold once the zone has healed: equal tables, and histories that can have happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proof.chaos.clients import Records
from proof.linearizability import (
    Allocation,
    Decision,
    GrowingSet,
    Model,
    Operation,
    Outcome,
    Register,
    check,
    told,
)

Tables = dict[str, list[tuple[Any, ...]]]


def judge(records: Records) -> list[str]:
    """What is wrong with the histories, each with the calls that show it."""
    judged: list[tuple[str, list[Operation], Model]] = [
        ("register", records.registers, Register()),
        ("set", records.sets, GrowingSet()),
        ("allocation", records.allocations, Allocation()),
    ]
    found = []
    for name, history, model in judged:
        verdict = check(history, model)
        if verdict.decision is Decision.UNDECIDED:
            found.append(f"{name} {verdict.key}: undecided after {verdict.steps} steps")
        elif verdict.decision is Decision.VIOLATION:
            offender = told([verdict.offender]) if verdict.offender else ""
            found.append(
                f"{name} {verdict.key} is not linearizable; no order explains\n{offender}\nafter\n"
                f"{told(verdict.prefix)}"
            )
    return found


def compare(tables: dict[str, Tables]) -> list[str]:
    """Every table in which a server differs from the first."""
    (first, expected), *others = tables.items()
    return [
        f"table {table} of {name} is not that of {first}: {_difference(rows, expected[table])}"
        for name, found in others
        for table, rows in found.items()
        if rows != expected[table]
    ]


def _difference(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> str:
    only = sorted(set(one) ^ set(other))
    return f"{len(only)} rows, the first {only[:1]}"


def allocated(allocations: Iterable[Operation], documents: dict[str, int]) -> list[str]:
    """Acknowledged allocations that are not there, and refused ones that are."""
    found = []
    for operation in allocations:
        there = documents.get(operation.argument)
        if operation.outcome is Outcome.OK and there != operation.result:
            found.append(f"lost: {told([operation])}, in the table {there}")
        if operation.outcome is Outcome.FAILED and there is not None:
            found.append(f"told failed, but done: {told([operation])}, in the table {there}")
    return found
