"""A minute of real processes under every fault, and the judgement's own teeth."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proof.chaos import clients, judgement
from proof.chaos.__main__ import run
from proof.chaos.clients import ALLOCATIONS, Caller, Client, Records
from proof.chaos.nemesis import DEFAULT_FAULTS
from proof.chaos.network import LOOPBACK, UNKNOWN, Network, owner
from proof.chaos.trouble import Machine, Trouble, build
from proof.chaos.zone import Zone
from proof.linearizability import Operation, Outcome

SECONDS = 60.0


@pytest.mark.integration
@pytest.mark.timeout(300)
async def test_three_servers_under_every_fault_tell_their_clients_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    report = await run(tmp_path, servers=3, seconds=SECONDS, seed=seed, faults=DEFAULT_FAULTS)
    with capsys.disabled():
        print(f"\n{report.line()}")
    assert not report.wrong, "\n".join(report.wrong)


def allocation(outcome: Outcome, result: int | None = None) -> Operation:
    return Operation(0, ALLOCATIONS, "allocate", "name", result, 0, 1, outcome)


def test_an_acknowledged_allocation_that_is_not_in_the_table_is_told() -> None:
    assert judgement.allocated([allocation(Outcome.OK, 3)], {})
    assert judgement.allocated([allocation(Outcome.OK, 3)], {"name": 4})
    assert not judgement.allocated([allocation(Outcome.OK, 3)], {"name": 3})


def test_an_allocation_told_failed_must_not_have_been_done_and_an_unknown_one_may() -> None:
    assert judgement.allocated([allocation(Outcome.FAILED)], {"name": 3})
    assert not judgement.allocated([allocation(Outcome.UNKNOWN)], {"name": 3})
    assert not judgement.allocated([allocation(Outcome.UNKNOWN)], {})


def test_one_row_that_differs_between_two_servers_is_told() -> None:
    one: judgement.Tables = {"acl": [(1, "a")], "document_pool": [(1,)]}
    assert not judgement.compare({"server-0": one, "server-1": dict(one)})
    assert judgement.compare({"server-0": one, "server-1": one | {"acl": [(1, "b")]}})


def test_a_stale_read_among_the_records_is_told_with_its_calls() -> None:
    records = Records()
    ok = Outcome.OK
    records.registers += [
        Operation(0, 5, "write", "old", None, 0, 1, ok),
        Operation(0, 5, "write", "new", None, 2, 3, ok),
        Operation(1, 5, "read", None, "old", 4, 5, ok),
    ]
    (wrong,) = judgement.judge(records)
    assert "register 5 is not linearizable" in wrong
    assert "'old'" in wrong


@pytest.mark.integration
@pytest.mark.timeout(120)
@pytest.mark.parametrize("asks_for_the_truth", [True, False])
async def test_a_stale_read_of_a_follower_that_hears_no_leader_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, asks_for_the_truth: bool
) -> None:
    if not asks_for_the_truth:
        monkeypatch.setattr(clients, "HEADERS", {"Content-Type": "text/xml"})
    zone, records = Zone(tmp_path), Records()
    callers: list[Caller] = []
    try:
        await zone.found(3)
        leader = await zone.leader()
        assert leader is not None
        follower = next(name for name in zone.names if name != leader)
        callers += [
            Caller({name: zone.endpoints()[name]}, zone.session) for name in (leader, follower)
        ]
        at_leader, at_follower = (
            Client(number, caller, records, seed=0) for number, caller in enumerate(callers)
        )
        (endpoint,) = callers[0].endpoints
        document = await callers[0].call(endpoint, "one.document.allocate", 'NAME="x"', 7)
        await at_leader.write(document.value, "old")
        await zone.converged()
        for name in zone.names:
            zone.network.cut(name, follower)
        await at_leader.write(document.value, "new")
        await at_follower.read(document.value)
    finally:
        for caller in callers:
            await caller.close()
        await zone.close()
    *written, read = [o.outcome for o in records.registers]
    assert written == [Outcome.OK] * 2
    # Who asks for the truth may be told that there is none to be had: by then this server may have
    # missed its leader for so long that it stands for election itself.
    assert read is Outcome.OK or (asks_for_the_truth and read is Outcome.FAILED)
    assert bool(judgement.judge(records)) is not asks_for_the_truth


@pytest.mark.integration
async def test_a_cut_direction_holds_what_is_sent_and_healing_delivers_it() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    far = await asyncio.start_server(echo, LOOPBACK, 0)
    network = Network(lambda: {"near": os.getpid()})
    port = await network.open("far", far.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        network.cut("near", "far")
        writer.write(b"two\n")
        answer = asyncio.create_task(reader.readline())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(answer), 0.2)
        network.heal()
        assert await answer == b"two\n"
    finally:
        writer.close()
        await network.close()
        far.close()


@pytest.mark.integration
def test_an_ended_connection_from_the_same_port_hides_no_owner() -> None:
    """Ports are used again while the old connection is still in TIME_WAIT, owned by nobody."""

    def listener() -> socket.socket:
        return socket.create_server((LOOPBACK, 0))

    def connected(port: int, target: socket.socket) -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind((LOOPBACK, port))
        connection.connect(target.getsockname())
        return connection

    with listener() as old, listener() as new:
        ended = connected(0, old)
        port = ended.getsockname()[1]
        answer, _ = old.accept()
        ended.close()
        answer.close()
        with connected(port, new):
            assert owner(port, new.getsockname()[1], {"me": os.getpid()}) == "me"
            assert owner(port, old.getsockname()[1], {"me": os.getpid()}) == UNKNOWN


WRITE_A_ROW = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")
started = time.monotonic()
print("begins", flush=True)
try:
    connection.execute("CREATE TABLE t(x)")
except sqlite3.OperationalError as error:
    print(error)
else:
    print("slow" if time.monotonic() - started > 1.5 else "ok")
print(int(time.time()))
"""


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(
    ("trouble", "said", "ahead"),
    [
        (Trouble(), "ok", 0),
        (Trouble(slow_ms=1600), "slow", 0),
        (Trouble(full=True), "database or disk is full", 0),
        (Trouble(broken=True), "disk I/O error", 0),
        (Trouble(ahead_seconds=-3600), "ok", -3600),
    ],
)
def test_a_process_feels_the_trouble_of_its_machine(
    tmp_path: Path, trouble: Trouble, said: str, ahead: int
) -> None:
    library = build(tmp_path)
    assert library is not None
    machine = Machine(tmp_path, library)
    machine.suffer(trouble)
    (tmp_path / "var").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WRITE_A_ROW, str(tmp_path / "var" / "one.db")],
        env=os.environ | machine.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    _, heard, clock = done.stdout.splitlines()
    assert heard == said
    assert abs(int(clock) - ahead - time.time()) < 10


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_sync_on_a_stuck_disk_returns_when_that_is_over(tmp_path: Path) -> None:
    library = build(tmp_path)
    assert library is not None
    machine = Machine(tmp_path, library)
    machine.suffer(Trouble(stuck=True))
    (tmp_path / "var").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_A_ROW, str(tmp_path / "var" / "one.db")],
        env=os.environ | machine.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.0)
        machine.suffer(Trouble())
        assert process.communicate(timeout=30)[0].startswith("slow")
