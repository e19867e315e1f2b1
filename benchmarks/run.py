"""The order of a run: every system alone on the machine, one after the other."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Cost
from benchmarks.plan import Plan, Results
from benchmarks.processes import BenchmarkError
from benchmarks.systems.dqlite import Dqlite
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.oned import Oned
from benchmarks.systems.pysyncobj import PySyncObj
from benchmarks.systems.system import System
from benchmarks.tables import Table
from benchmarks.workloads import (
    apply,
    catch_up,
    failover,
    idle,
    profile,
    reads,
    snapshot,
    writes,
)

SIDE_BY_SIDE = ("idle", "writes", "reads", "failover")
"""Done to every system."""

ALONE = ("profile", "apply", "catch-up", "snapshot")
"""Done to oned."""

WORKLOADS = (*SIDE_BY_SIDE, *ALONE)


def all_systems() -> list[System]:
    """What is measured, oned first."""
    return [
        Oned(),
        Etcd(grpc=True),
        Etcd(grpc=False),
        Dqlite(),
        PySyncObj(tuned=False),
        PySyncObj(tuned=True),
    ]


def say(text: str) -> None:
    """Progress, beside the tables."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Measured:
    """What was measured of each system; ``absent`` says why one could not be."""

    absent: dict[System, str] = field(default_factory=dict)
    idle: dict[System, dict[str, tuple[int, float]]] = field(default_factory=dict)
    writes: dict[System, dict[int, Cost | str]] = field(default_factory=dict)
    reads: dict[System, dict[str, Cost | str]] = field(default_factory=dict)
    failover: dict[System, tuple[failover.Gaps, failover.Gaps]] = field(default_factory=dict)


def run(systems: Sequence[System], plan: Plan, only: set[str], directory: Path) -> Results:
    """All workloads in ``only``.

    Raises:
        BenchmarkError: oned itself could not be measured.
    """
    measured = Measured()
    for number, system in enumerate(systems):
        if hint := system.missing():
            measured.absent[system] = f"not installed: {hint}"
            continue
        try:
            _one(system, measured, plan, only, directory / str(number))
        except BenchmarkError as error:
            if isinstance(system, Oned):
                raise
            say(f"{system.name}: {error}")
            measured.absent[system] = f"failed: {error}"
        finally:
            system.stop()
    results = Results([_systems(systems)])
    if "writes" in only:
        results += writes.tables(measured.writes, measured.absent, plan)
    if "reads" in only:
        results += reads.tables(measured.reads, measured.absent)
    if "failover" in only:
        results += failover.tables(measured.failover, measured.absent)
    if "idle" in only:
        results += idle.tables(measured.idle, measured.absent, plan)
    for name in ALONE:
        if name in only:
            say(f"oned: {name}")
            results += _alone(name, plan, directory)
    return results


def _one(system: System, measured: Measured, plan: Plan, only: set[str], directory: Path) -> None:
    """The workloads that are done to every system, on one zone of it."""
    if not only & set(SIDE_BY_SIDE):
        return
    say(f"{system.name}: three servers start")
    system.start(directory)
    if "idle" in only:
        say(f"{system.name}: idle")
        measured.idle[system] = idle.run(system, plan)
    if "writes" in only:
        say(f"{system.name}: writes")
        measured.writes[system] = writes.run(system, plan)
    if "reads" in only:
        say(f"{system.name}: reads")
        measured.reads[system] = reads.run(system, plan)
    if "failover" in only and not system.writes(system.leader(), 1).grpc_path:
        say(f"{system.name}: failover")
        peer = not isinstance(system, Oned)
        measured.failover[system] = failover.run(
            system, kill=plan.kills[peer], stop=plan.stops[peer]
        )


def _alone(name: str, plan: Plan, directory: Path) -> Results:
    """One of the workloads that are done to oned only."""
    if name == "apply":
        return apply.run(plan, directory / name)
    workloads: dict[str, Callable[[Oned], Results]] = {
        "profile": lambda zone: profile.run(zone, plan, directory),
        "catch-up": lambda zone: catch_up.run(zone, plan),
        "snapshot": lambda zone: snapshot.run(zone, plan),
    }
    zone = Oned()
    try:
        zone.start(directory / name)
        return workloads[name](zone)
    finally:
        zone.stop()


def _systems(systems: Sequence[System]) -> Table:
    table = Table(
        "Systems, three servers each on loopback",
        ("system", "version", "a write of 256 bytes is", "what an acknowledged write has had"),
    )
    for system in systems:
        hint = system.missing()
        version = f"not installed: {hint}" if hint else system.version()
        table.add(system.name, version, system.interface, system.durability)
    return table
