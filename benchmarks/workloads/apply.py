"""The core and the database without XML and without a network: entries a second in one process.

``Node.propose`` is what a call's method ends in: queue, core, log, group commit with its fdatasync,
application to the tables, and the caller's future. One voter, so that all of it is this process.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from pathlib import Path

import structlog
import uvloop

from benchmarks.plan import Plan, Results
from benchmarks.systems.system import PAYLOAD
from benchmarks.tables import Table
from oned.node import Node, Settings
from oned.raft.timing import Options
from oned.raft.types import Configuration, Entry, Index, Member, ServerId
from oned.raft.writes import Write
from oned.state.bootstrap import bootstrap_change
from oned.state.entry import Change, Statement, encode
from oned.storage.store import Store

CALLERS = (64, 256)
BATCH = 128
LEADER_SECONDS = 30.0
_INSERT = "INSERT INTO system_attributes VALUES (?, ?)"
_UPDATE = "UPDATE system_attributes SET body=? WHERE name=?"


def _new_store(path: Path) -> Store:
    store = Store(path)
    member = Member(
        ServerId(0),
        "server-0",
        "http://127.0.0.1:1/RPC2",
        "127.0.0.1:1",
        voter=True,
        disk=store.facts.disk,
    )
    rows = Change(tuple(Statement(_INSERT, (_key(n), "")) for n in range(max(CALLERS))))
    store.bootstrap(
        bootstrap_change(
            oneadmin=("oneadmin", uuid.uuid4().hex),
            serveradmin_password=uuid.uuid4().hex,
            zone_endpoint="http://localhost:2633/RPC2",
            server=member,
            now=int(time.time()),
        )
        + rows,
        zone_uuid=str(uuid.uuid4()),
        server_id=ServerId(0),
        configuration=Configuration((member,)),
    )
    return store


def _key(number: int) -> str:
    return f"client-{number}"


def _change(number: int) -> Change:
    return Change((Statement(_UPDATE, (PAYLOAD, _key(number))),))


async def _propose(store: Store, callers: int, count: int, directory: Path) -> float:
    """Entries a second through a node with one voter."""
    settings = Settings(
        options=Options(),
        log_retention=250_000,
        limit_purge=100_000,
        purge_interval=60.0,
        solo=False,
        fixed_id=None,
        name="server-0",
    )
    node = Node(store, settings, directory / "snapshots")
    led = asyncio.Event()
    node.observers.leading = lambda _term: led.set()
    await node.start(None)
    try:
        async with asyncio.timeout(LEADER_SECONDS):
            await led.wait()
        each = count // callers

        async def caller(number: int) -> None:
            change, term = _change(number), node.core.term
            for _ in range(each):
                await node.propose(change, term=term)

        started = time.perf_counter()
        await asyncio.gather(*map(caller, range(callers)))
        return each * callers / (time.perf_counter() - started)
    finally:
        await node.stop()


def _apply(store: Store, count: int) -> float:
    """Entries a second through ``Store.write`` and ``Store.sync``, as a follower takes them."""
    last, term = store.last()
    data = encode(_change(0))
    started = time.perf_counter()
    for batch in range(count // BATCH):
        first = last + 1 + batch * BATCH
        entries = tuple(Entry(Index(first + n), term, data) for n in range(BATCH))
        store.write(
            Write(
                hard_state=None,
                truncate_from=None,
                entries=entries,
                apply_to=Index(first + BATCH - 1),
                messages=(),
            )
        )
        store.sync()
    return count // BATCH * BATCH / (time.perf_counter() - started)


def run(plan: Plan, directory: Path) -> Results:
    """Both ways."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    table = Table(
        "Core and SQL apply without XML, one process",
        ("what", "entries", "entries/s"),
        "An entry sets 256 bytes in one row of a replicated table; every batch is synced.",
    )
    results = Results([table])
    for callers in CALLERS:
        home = directory / f"node-{callers}"
        store = _new_store(home / "one.db")
        rate = uvloop.run(_propose(store, callers, plan.applied, home))
        store.close()
        table.add(f"Node.propose, {callers} callers", f"{plan.applied:,}", f"{rate:,.0f}")
        results.values[f"apply {callers}"] = rate
    store = _new_store(directory / "store" / "one.db")
    rate = _apply(store, plan.applied)
    store.close()
    table.add(f"Store.write and sync, {BATCH} a batch", f"{plan.applied:,}", f"{rate:,.0f}")
    results.values["apply store"] = rate
    return results
