"""A server whose disk was lost gets all of the zone's state, while the others go on.

Seen from both sides: how long until it has everything and votes again, and what the leader's
clients notice meanwhile.
"""

from __future__ import annotations

import random
import shutil
import signal
import string
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.generator import Outcome
from benchmarks.measure import Generator
from benchmarks.plan import Plan, Results
from benchmarks.processes import BenchmarkError, resident_bytes, wait_until
from benchmarks.systems.oned import Oned
from benchmarks.tables import Table, mib, ms, ratio

DOCUMENT_BYTES = 60_000
FILLERS = 8
FILLING_SECONDS = 1800.0
CLIENTS = (0, 1, 16)
RECOVERY_SECONDS = 600.0


@dataclass(slots=True)
class _Recovery:
    """One server's way back; memory in bytes is the most that was seen."""

    seconds: float
    leader_peak: int
    follower_peak: int


def run(system: Oned, plan: Plan) -> Results:
    """Fill the zone; then, idle and under load, take a follower's disk away and watch."""
    leader = system.leader()
    _fill(system, leader, plan.state_bytes)
    table = Table(
        f"Snapshot of {plan.state_bytes / (1 << 20):,.0f} MiB to a server that lost its disk",
        (
            "clients that write",
            "until it votes again s",
            "p99 ms before",
            "p99 ms meanwhile",
            "ratio",
            "leader's peak RSS MiB",
            "follower's",
        ),
        "From the start of its process: adopted as a learner, snapshot exported, sent, installed, "
        f"log caught up, promoted. Documents of {DOCUMENT_BYTES:,} random letters.",
    )
    results = Results([table])
    for clients in CLIENTS:
        before = meanwhile = None
        if clients:
            load = system.writes(leader, clients)
            before = Generator(load, seconds=plan.seconds, warm_up=plan.warm_up).outcome()
        recovery, meanwhile = _recover(system, leader, clients)
        table.add(
            str(clients),
            f"{recovery.seconds:.1f}",
            ms(before.p99) if before else "",
            ms(meanwhile.p99) if meanwhile else "",
            ratio(meanwhile.p99, before.p99) if before and meanwhile else "",
            mib(recovery.leader_peak),
            mib(recovery.follower_peak),
        )
        results.values[f"snapshot {plan.state_bytes} {clients}"] = recovery.seconds
        if before and meanwhile:
            results.values[f"snapshot p99 ratio {clients}"] = meanwhile.p99 / before.p99
    return results


def _fill(system: Oned, leader: str, size: int) -> None:
    """Make documents until the state has this size."""
    # Compresses as little as text can, and is the same in every run.
    letters = string.ascii_letters + string.digits
    payload = "".join(random.Random(DOCUMENT_BYTES).choices(letters, k=DOCUMENT_BYTES))
    documents = size // DOCUMENT_BYTES
    load = system.allocations(leader, FILLERS, payload)
    made = Generator(load, seconds=FILLING_SECONDS, most=documents).outcome().total
    if made < documents:
        raise BenchmarkError(f"only {made} of {documents} documents were made")


def _recover(system: Oned, leader: str, clients: int) -> tuple[_Recovery, Outcome | None]:
    """Take a follower's disk, start it, and wait until it votes again."""
    follower = next(name for name in system.listed() if name != leader)
    system.kill(follower, signal.SIGKILL)
    wait_until(lambda: system.has_ended(follower), "ended")
    disk = system.directory / follower / "var"
    shutil.rmtree(disk)
    disk.mkdir(mode=0o700)
    target = _status(system, leader)["applied"]
    generator = None
    if clients:
        generator = Generator(system.writes(leader, clients), seconds=RECOVERY_SECONDS)
    started = time.monotonic()
    system.start_one(follower)
    recovery = _Recovery(0.0, 0, 0)

    def votes() -> bool:
        pids = system.pids()
        recovery.leader_peak = max(recovery.leader_peak, resident_bytes(pids[leader]))
        recovery.follower_peak = max(recovery.follower_peak, resident_bytes(pids[follower]))
        own = system.status(follower)
        if own is None or not own["initialised"] or own["applied"] < target:
            return False
        members = {member["name"]: member for member in _status(system, leader)["members"]}
        return bool(members[follower]["voter"])

    wait_until(votes, "a voter again", RECOVERY_SECONDS)
    recovery.seconds = time.monotonic() - started
    if generator is None:
        return recovery, None
    generator.end()
    return recovery, generator.outcome()


def _status(system: Oned, server: str) -> dict[str, Any]:
    status = system.status(server)
    if status is None:
        raise BenchmarkError(f"{server} does not answer")
    return status
