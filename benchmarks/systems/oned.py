"""`oned`: three real processes made by ``oned zone up``, called over XML-RPC."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
import xmlrpc.client
from pathlib import Path
from typing import Any

from benchmarks.generator import Load
from benchmarks.processes import BenchmarkError, has_ended, wait_until
from benchmarks.systems.system import CLIENTS_MAX, PAYLOAD, SERVERS, System, http_request
from oned import __version__
from oned.cli.local_zone import LocalZone

DOCUMENT_TYPE = 7
_UP_SECONDS = 300.0
_SERIAL = "########"
_SUCCESS = b"<boolean>1</boolean>"


class Oned(System):
    """A zone in a directory."""

    name = "oned"
    durability = "fdatasync on a majority (SQLite WAL)"
    interface = "XML-RPC one.document.update"

    def __init__(self) -> None:
        self.directory = Path()
        self._documents: list[int] = []

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return __version__

    def start(self, directory: Path) -> None:
        self.directory = directory
        self.up(SERVERS)
        with xmlrpc.client.ServerProxy(self.endpoint(self.leader())) as leader:
            self._documents = [self._allocate(leader, f"client-{n}") for n in range(CLIENTS_MAX)]

    def up(self, servers: int) -> None:
        """Start what is down, and wait until every server is a voter."""
        self._zone("up", "--servers", str(servers))

    def start_one(self, server: str) -> None:
        """Start one server that is down, and do not wait for it."""
        with contextlib.redirect_stdout(io.StringIO()):
            zone = LocalZone(self.directory)
            zone.load()
            zone.start(server)
            zone.save()

    def stop(self) -> None:
        if (self.directory / "zone.json").exists():
            self._zone("down")

    def _zone(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "oned", "zone", *arguments, "--dir", str(self.directory)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_UP_SECONDS, check=False
        )
        if done.returncode:
            raise BenchmarkError(done.stdout + done.stderr)

    def listed(self) -> dict[str, dict[str, Any]]:
        """The servers in zone.json by name."""
        servers = json.loads((self.directory / "zone.json").read_text())["servers"]
        return {server["name"]: server for server in servers}

    def pids(self) -> dict[str, int]:
        return {name: server["pid"] for name, server in self.listed().items()}

    def status(self, server: str) -> dict[str, Any] | None:
        """``/status`` of a server; None while it does not answer."""
        url = self.listed()[server]["admin_endpoint"].rstrip("/") + "/status"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return None

    def leader(self) -> str:
        found: list[tuple[int, str]] = []

        def leads() -> bool:
            for name in self.listed():
                status = self.status(name)
                if status and status["state"] == "leader" and status["serving"]:
                    found.append((status["term"], name))
            return bool(found)

        wait_until(leads, "led")
        return max(found)[1]

    @property
    def session(self) -> str:
        """Credentials of oneadmin."""
        return (self.directory / "one_auth").read_text().strip()

    def endpoint(self, server: str) -> str:
        """A server's XML-RPC URL."""
        return str(self.listed()[server]["endpoint"])

    def port(self, server: str) -> int:
        """A server's XML-RPC port."""
        return int(self.endpoint(server).rpartition(":")[2].partition("/")[0])

    def _allocate(self, leader: xmlrpc.client.ServerProxy, name: str) -> int:
        """Make a document and return its id."""
        answer: Any = leader.one.document.allocate(self.session, f'NAME="{name}"', DOCUMENT_TYPE)
        if not answer[0]:
            raise BenchmarkError(f"no document was made: {answer[1]}")
        return int(answer[1])

    def allocations(self, server: str, clients: int, payload: str) -> Load:
        """Each client makes documents with ``payload``."""
        template = f'NAME="document-{_SERIAL}"\nPAYLOAD="{payload}"'
        call = self.call(server, "one.document.allocate", template, DOCUMENT_TYPE)
        return Load(self.port(server), (call,) * clients, _SUCCESS, serial=_SERIAL.encode())

    def call(self, server: str, method: str, *parameters: Any) -> bytes:
        body = xmlrpc.client.dumps((self.session, *parameters), method).encode()
        return http_request(self.port(server), "POST", "/RPC2", body, "text/xml")

    def writes(self, server: str, clients: int) -> Load:
        template = f'PAYLOAD="{PAYLOAD}"'
        calls = tuple(
            self.call(server, "one.document.update", document, template, 0)
            for document in self._documents[:clients]
        )
        return Load(self.port(server), calls, _SUCCESS)

    def reads(self, server: str, clients: int) -> dict[str, Load]:
        call = self.call(server, "one.zone.info", 0, False)
        follower = next(name for name in self.listed() if name != server)
        other = self.call(follower, "one.zone.info", 0, False)
        return {
            "one.zone.info, leader, linearizable": Load(
                self.port(server), (call,) * clients, _SUCCESS
            ),
            "one.zone.info, follower, its own state": Load(
                self.port(follower), (other,) * clients, _SUCCESS
            ),
        }

    def kill(self, server: str, number: signal.Signals) -> None:
        os.kill(self.pids()[server], number)

    def has_ended(self, server: str) -> bool:
        return has_ended(self.pids()[server])

    def restart(self) -> None:
        self.up(len(self.listed()))
