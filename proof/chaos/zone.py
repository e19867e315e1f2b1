"""A zone of real processes whose peers meet through the network of ``proof.chaos.network``."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oned.cli.local_server import ADDRESS, LocalServer, stop
from oned.cli.local_zone import GRACE_SECONDS, LocalZone
from oned.storage import tables
from proof.chaos.network import Network
from proof.chaos.trouble import Machine, Trouble, build

POLL_SECONDS = 0.05
CONVERGE_SECONDS = 90.0
ELECTION_TIMEOUT_MS = 1000
NEARLY_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class ProxiedServer(LocalServer):
    """A server that others reach through a proxy, on a machine that can be troubled."""

    proxy_port: int = 0
    machine: Machine | None = None

    @property
    def peer_endpoint(self) -> str:
        return f"{ADDRESS}:{self.proxy_port}"

    def environment(self, *, auth_file: Path, zone_endpoint: str, bootstrap: str) -> dict[str, str]:
        # A dataclass with slots is made anew, so that super() without arguments has no class.
        own = LocalServer.environment(
            self, auth_file=auth_file, zone_endpoint=zone_endpoint, bootstrap=bootstrap
        )
        return own | (self.machine.environment if self.machine else {})


class NotConverged(Exception):
    """The healed zone did not become one again in time."""


class Zone:
    """The servers, and what can be done to them."""

    def __init__(self, directory: Path) -> None:
        self.local = LocalZone(directory)
        self.network = Network(self.processes)
        self.machines: dict[str, Machine] = {}

    @property
    def names(self) -> list[str]:
        return list(self.local.servers)

    @property
    def session(self) -> str:
        return self.local.auth_file.read_text(encoding="utf-8").strip()

    def endpoints(self) -> dict[str, str]:
        return {name: server.endpoint for name, server in self.local.servers.items()}

    def processes(self) -> dict[str, int]:
        return {name: entry.pid for name, entry in self.local.entries.items()}

    async def found(self, servers: int) -> None:
        """Make a zone of so many voters.

        Raises:
            ServerFailed: a server did not come up.
        """
        self.local.directory.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(
            self.local.prepare, servers, base_port=None, election_timeout_ms=ELECTION_TIMEOUT_MS
        )
        library = await asyncio.to_thread(build, self.local.directory)
        for name, server in self.local.servers.items():
            if library is not None:
                self.machines[name] = Machine(server.directory, library)
            port = await self.network.open(name, server.config.peer.port)
            self.local.servers[name] = ProxiedServer(
                name,
                server.directory,
                server.config,
                proxy_port=port,
                machine=self.machines.get(name),
            )
        with contextlib.redirect_stdout(io.StringIO()):
            await asyncio.to_thread(self._found)

    def _found(self) -> None:
        seed, *others = self.names
        self.local.start(seed, bootstrap=True)
        self.local.wait(seed, "serving as leader", leads)
        for name in others:
            self.local.register(name)
            self.local.start(name)
            self.local.wait_until_voter(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.local.servers[name].signal(self.local.entries[name].pid, number)

    async def kill(self, name: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.signal(name, signal.SIGKILL)
        pid = self.processes()[name]
        while self.local.servers[name].is_running(pid):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 (does not wait)
            await asyncio.sleep(POLL_SECONDS)

    def database(self, name: str) -> Path:
        return self.local.servers[name].directory / "var" / "one.db"

    async def is_whole(self, seconds: float) -> bool:
        """Whether all servers vote and hold nearly all there is, at once or within that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            leader = await self.leader()
            status = await self.status(leader) if leader else None
            if status is not None and all(
                member["voter"] and member["lag"] is not None and member["lag"] < NEARLY_ENTRIES
                for member in status["members"]
            ):
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    async def start(self, name: str) -> None:
        """Start a server unless it runs."""
        pid = self.processes()[name]
        if not self.local.servers[name].is_running(pid):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 (does not wait)
            with contextlib.redirect_stdout(io.StringIO()):
                self.local.start(name)

    async def stop(self, name: str) -> None:
        """Stop a server as an administrator does."""
        pair = (self.local.servers[name], self.processes()[name])
        await asyncio.to_thread(stop, [pair], grace_seconds=GRACE_SECONDS)

    async def status(self, name: str) -> dict[str, Any] | None:
        status = await asyncio.to_thread(self.local.servers[name].status)
        return status if status and status.get("name") == name else None

    async def statuses(self) -> dict[str, dict[str, Any] | None]:
        answers = await asyncio.gather(*(self.status(name) for name in self.names))
        return dict(zip(self.names, answers, strict=True))

    async def leader(self) -> str | None:
        """Who serves as leader in the highest term, if anybody does."""
        leading = [
            (s["term"], name) for name, s in (await self.statuses()).items() if s and leads(s)
        ]
        return max(leading)[1] if leading else None

    async def heal(self) -> None:
        """Take every fault away."""
        self.network.heal()
        for machine in self.machines.values():
            machine.suffer(Trouble())
        for name in self.names:
            self.signal(name, signal.SIGCONT)
            await self.start(name)

    async def converged(self) -> float:
        """Wait until one leads and all have applied all; how many seconds that took.

        Raises:
            NotConverged: not in time.
        """
        started = time.monotonic()
        while time.monotonic() < started + CONVERGE_SECONDS:
            statuses = await self.statuses()
            if _is_one({name: s for name, s in statuses.items() if s}, len(self.names)):
                return time.monotonic() - started
            await asyncio.sleep(POLL_SECONDS)
        raise NotConverged(f"after {CONVERGE_SECONDS:g} seconds: {statuses}")

    async def close(self) -> None:
        """Stop all servers, and the network between them."""
        pairs = [(self.local.servers[name], pid) for name, pid in self.processes().items()]
        for name in self.processes():
            self.signal(name, signal.SIGCONT)
        await asyncio.to_thread(stop, pairs, grace_seconds=GRACE_SECONDS)
        await self.network.close()

    def tables(self, name: str) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the replicated tables of a stopped server."""
        with contextlib.closing(sqlite3.connect(self.database(name))) as connection:
            return {
                table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
                for table in tables.REPLICATED
            }


def leads(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "leader" and status["serving"])


def _is_one(statuses: dict[str, dict[str, Any]], servers: int) -> bool:
    positions = {(s["term"], s["applied"], s["commit"], s["log_index"]) for s in statuses.values()}
    leaders = sum(leads(s) for s in statuses.values())
    return len(statuses) == servers and len(positions) == 1 and leaders == 1
