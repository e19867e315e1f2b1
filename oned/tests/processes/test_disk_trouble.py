"""Real processes on disks that are full, broken or stuck, or that lost something.

The trouble is made inside a server's process by the library of ``proof.chaos``: what the
system answers is what a bad disk makes it answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyone
import pytest

from proof.chaos import damage
from proof.chaos.trouble import Trouble
from proof.chaos.zone import Zone

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)"),
]

TROUBLES = {
    "full": Trouble(full=True),
    "failed": Trouble(broken=True),
    "stuck": Trouble(stuck=True),
}
RESIGN_SECONDS = 1.0
ELECT_SECONDS = 5.0
BACK_SECONDS = 10.0
POLL_SECONDS = 0.01


@asynccontextmanager
async def running(directory: Path, servers: int) -> AsyncIterator[Zone]:
    zone = Zone(directory)
    try:
        await zone.found(servers)
        yield zone
    finally:
        await zone.heal()
        await zone.close()


def _probe(zone: Zone, name: str, path: str) -> tuple[int, dict]:
    port = zone.local.servers[name].config.admin.port
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def probe(zone: Zone, name: str, path: str) -> tuple[int, dict]:
    return await asyncio.to_thread(_probe, zone, name, path)


async def within(seconds: float, condition):
    """Wait until ``condition`` gives something; how long that took, and what it was.

    A look takes time itself: it is too late when one that began after the time was up saw nothing.
    """
    started = looked = time.monotonic()
    while not (found := await condition()):
        assert looked < started + seconds, f"not within {seconds} s"
        await asyncio.sleep(POLL_SECONDS)
        looked = time.monotonic()
    return time.monotonic() - started, found


def _allocate(zone: Zone, name: str, document: str) -> str:
    """``ok``, ``unknown`` or ``failed``."""
    client = pyone.OneServer(zone.endpoints()[name], session=zone.session)
    try:
        client.document.allocate(f'NAME="{document}"', 7)
    except pyone.OneException as error:
        return "unknown" if "Outcome unknown" in str(error) else "failed"
    except (OSError, xmlrpc.client.Error):
        return "unknown"
    return "ok"


class Writer:
    """Allocates documents at all servers, all the time."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.outcomes: dict[str, str] = {}
        self._count = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        ended = asyncio.Event()
        tasks = [asyncio.create_task(self._work(name, ended)) for name in self.zone.names]
        try:
            yield
        finally:
            # A call cannot be called back: one that is under way may change the tables later.
            ended.set()
            await asyncio.gather(*tasks)

    async def _work(self, server: str, ended: asyncio.Event) -> None:
        while not ended.is_set():
            self._count += 1
            name = f"document-{self._count}"
            self.outcomes[name] = await asyncio.to_thread(_allocate, self.zone, server, name)
            await asyncio.sleep(POLL_SECONDS)

    def judge(self, tables: dict[str, list[tuple]]) -> None:
        """What was acknowledged is there; what was refused is not."""
        found = {row[1] for row in tables["document_pool"]}
        wrong = {
            name: outcome
            for name, outcome in self.outcomes.items()
            if outcome != "unknown" and (name in found) is not (outcome == "ok")
        }
        assert not wrong
        assert "ok" in self.outcomes.values()


@pytest.mark.parametrize("database", TROUBLES)
async def test_leader_on_a_bad_disk_resigns_within_a_second_and_comes_back(
    tmp_path, capsys, database
):
    async with running(tmp_path, 3) as zone:
        writer = Writer(zone)
        async with writer.working():
            await asyncio.sleep(0.5)
            old = await zone.leader()
            pid = zone.processes()[old]

            async def resigned():
                _, status = await probe(zone, old, "status")
                return status if status["state"] != "leader" else None

            async def succeeded():
                leader = await zone.leader()
                return leader if leader not in (None, old) else None

            zone.machines[old].suffer(TROUBLES[database])
            resigned_in, status = await within(RESIGN_SECONDS, resigned)
            assert not status["serving"]
            ready, reason = await probe(zone, old, "readyz")
            assert ready == 503
            assert "the database cannot be written" in reason["reason"]
            assert (await probe(zone, old, "healthz"))[0] == 503
            assert (await probe(zone, old, "livez"))[0] == 200
            assert (await probe(zone, old, "leader"))[0] == 503
            assert status["database"] == database
            elected_in, new = await within(ELECT_SECONDS, succeeded)
            await within(ELECT_SECONDS, lambda: asyncio.to_thread(_acknowledged, zone, new))
            await asyncio.sleep(2.5)  # for several attempts to open it, which must all fail
            _, status = await probe(zone, old, "status")
            assert status["database"] == database
            assert (await probe(zone, old, "readyz"))[0] == 503

            zone.machines[old].suffer(Trouble())

            async def ready_again():
                return (await probe(zone, old, "readyz"))[0] == 200

            back_in, _ = await within(BACK_SECONDS, ready_again)
        await zone.converged()
        assert zone.processes()[old] == pid
        assert zone.local.servers[old].is_running(pid)
    with capsys.disabled():
        print(
            f"\n{database}: resigned in {resigned_in:.2f} s, another one led after"
            f" {elected_in:.2f} s more, ready again {back_in:.2f} s after the trouble"
        )
    tables = [zone.tables(name) for name in zone.names]
    assert tables[0] == tables[1] == tables[2]
    writer.judge(tables[0])


def _acknowledged(zone: Zone, name: str) -> bool:
    return _allocate(zone, name, f"after-{time.monotonic_ns()}") == "ok"


@pytest.mark.parametrize("database", TROUBLES)
async def test_the_only_server_on_a_bad_disk_tells_the_truth_and_comes_back(tmp_path, database):
    async with running(tmp_path, 1) as zone:
        writer = Writer(zone)
        (name,) = zone.names
        pid = zone.processes()[name]

        async def not_ready():
            return (await probe(zone, name, "readyz"))[0] == 503

        async def leads():
            return await zone.leader() == name

        async with writer.working():
            await asyncio.sleep(0.5)
            zone.machines[name].suffer(TROUBLES[database])
            await within(RESIGN_SECONDS, not_ready)
            await asyncio.sleep(2)
            assert await not_ready()
            zone.machines[name].suffer(Trouble())
            await within(BACK_SECONDS, leads)
            await within(BACK_SECONDS, lambda: asyncio.to_thread(_acknowledged, zone, name))
        assert zone.processes()[name] == pid
        assert zone.local.servers[name].is_running(pid)
    writer.judge(zone.tables(name))


async def test_a_server_that_is_started_on_a_full_disk_waits_for_space(tmp_path):
    async with running(tmp_path, 1) as zone:
        (name,) = zone.names
        await zone.stop(name)
        zone.machines[name].suffer(Trouble(full=True))
        await zone.start(name)
        await asyncio.sleep(3)
        assert zone.local.servers[name].is_running(zone.processes()[name])
        zone.machines[name].suffer(Trouble())

        async def leads():
            return await zone.leader() == name

        await within(BACK_SECONDS, leads)


DAMAGES = {
    "database cut": damage.cut,
    "database overwritten": damage.overwrite,
    "log cut": damage.cut_log,
    "log removed": damage.remove_log,
}


def harm(zone: Zone, name: str, how: str) -> None:
    """Damage the database of a server that is down."""
    database = zone.database(name)
    log = database.with_name("one.db-wal")
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(log, database.with_name("log-before"))
    DAMAGES[how](database, log, random.Random(1))


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_damaged_database_is_sent_anew_and_never_votes_in_between(tmp_path, how):
    async with running(tmp_path, 3) as zone:
        writer = Writer(zone)
        async with writer.working():
            await asyncio.sleep(0.5)
        await zone.converged()
        leader = await zone.leader()
        victim = next(name for name in zone.names if name != leader)
        await zone.stop(victim)  # what it has written so far is in the database file now
        await zone.start(victim)
        await zone.converged()
        async with writer.working():  # and what it writes from here on is not
            await asyncio.sleep(0.5)
        await zone.converged()
        assert await asyncio.to_thread(_acknowledged, zone, leader)
        disk = (await zone.status(victim))["disk"]
        await zone.kill(victim)
        await zone.kill(leader)
        harm(zone, victim, how)
        await zone.start(victim)

        async def asks_for_a_copy():
            status = await zone.status(victim)
            return status if status and not status["initialised"] else None

        _, status = await within(BACK_SECONDS, asks_for_a_copy)
        assert status["disk"] != disk
        # Two of three run. With the victim's vote the other one would lead in two seconds.
        await asyncio.sleep(5)
        assert await zone.leader() is None
        assert (await zone.status(victim))["voted_for"] == -1
        await zone.start(leader)
        await zone.converged()
        assert await zone.is_whole(BACK_SECONDS)
        status = await zone.status(victim)
        assert status["disk"] != disk
    tables = [zone.tables(name) for name in zone.names]
    assert tables[0] == tables[1] == tables[2]
    writer.judge(tables[0])


@pytest.mark.parametrize("how", ["database cut", "log cut"])
async def test_the_only_server_does_not_start_on_a_damaged_database(tmp_path, how):
    async with running(tmp_path, 1) as zone:
        (name,) = zone.names
        await zone.stop(name)  # what it has written so far is in the database file now
        await zone.start(name)

        async def leads():
            return await zone.leader() == name

        await within(BACK_SECONDS, leads)
        for _ in range(20):
            assert await asyncio.to_thread(_acknowledged, zone, name)
        await zone.kill(name)
        database = zone.database(name)
        for file in database.parent.glob("one.db*"):
            shutil.copy(file, tmp_path / file.name)
        harm(zone, name, how)
        kept = {
            p.name: p.read_bytes() for p in database.parent.glob("one.db*") if "-shm" not in p.name
        }
        refused = await asyncio.to_thread(_serve, zone, name)
        assert refused.returncode != 0
        assert "No other server is known to have its content" in refused.stderr + refused.stdout
        assert not list(database.parent.glob("one.db.damaged-*"))
        assert database.read_bytes() == kept["one.db"]
        for file in tmp_path.glob("one.db*"):
            shutil.copy(file, database.with_name(file.name))


def _serve(zone: Zone, name: str) -> subprocess.CompletedProcess[str]:
    """The server, started by hand."""
    server = zone.local.servers[name]
    environment = server.environment(
        auth_file=zone.local.auth_file, zone_endpoint="http://localhost:1/RPC2", bootstrap=""
    )
    return subprocess.run(
        [sys.executable, "-m", "oned", "serve", "-c", str(server.directory / "oned.conf")],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
