"""dqlite: Debian's ``dqlite-demo``, an HTTP key-value store on the replicated SQLite."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from pathlib import Path

from benchmarks.generator import Load
from benchmarks.processes import Child, free_ports, wait_until
from benchmarks.systems.system import PAYLOAD, SERVERS, Children, http_request

NAME = "dqlite"
SHELL_SECONDS = 3.0


class Dqlite(Children):
    """Three nodes; each sends its clients' statements to the leader."""

    name = NAME
    durability = "synchronous write on a majority (O_DSYNC)"
    interface = "HTTP PUT of dqlite-demo: INSERT OR REPLACE"

    def __init__(self) -> None:
        super().__init__()
        self._ports: dict[str, int] = {}
        self._databases: dict[str, str] = {}

    def missing(self) -> str:
        there = shutil.which("dqlite-demo") and shutil.which("dqlite")
        return "" if there else "apt-get install go-dqlite"

    def version(self) -> str:
        done = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Version}", "libdqlite0"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout or "unknown"

    def start(self, directory: Path) -> None:
        directory.mkdir()
        ports = free_ports(2 * SERVERS)
        names = [f"dqlite-{number}" for number in range(SERVERS)]
        self._ports = dict(zip(names, ports, strict=False))
        for name, port in zip(names, ports[SERVERS:], strict=True):
            first = next(iter(self._databases.values()), "")
            self._databases[name] = f"127.0.0.1:{port}"
            command = ["dqlite-demo", "--api", f"127.0.0.1:{self._ports[name]}"]
            command += ["--db", self._databases[name], "--dir", str(directory)]
            command += ["--join", first] if first else []
            self.children[name] = Child(command, directory / f"{name}.log")
            self.children[name].start()
            self._wait_for(name)

    def _wait_for(self, name: str) -> None:
        wait_until(lambda: self._answers(name), f"answering: {name}")

    def _answers(self, server: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[server], timeout=2)
        try:
            connection.request("GET", "/nothing")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def leader(self) -> str:
        found: list[str] = []

        def leads() -> bool:
            for address in self._databases.values():
                said = _shell(address, ".leader").strip()
                found.extend(name for name, own in self._databases.items() if own == said)
            return bool(found)

        wait_until(leads, "led")
        return found[-1]

    def restart(self) -> None:
        for name, child in self.children.items():
            if child.has_ended():
                child.start()
                self._wait_for(name)

    def writes(self, server: str, clients: int) -> Load:
        port = self._ports[server]
        calls = tuple(
            http_request(port, "PUT", f"/client-{number}", PAYLOAD.encode(), "text/plain")
            for number in range(clients)
        )
        return Load(port, calls, b"done")

    def reads(self, server: str, clients: int) -> dict[str, Load]:
        port = self._ports[server]
        call = http_request(port, "GET", "/client-0", b"", "text/plain")
        return {"SELECT, leader": Load(port, (call,) * clients, PAYLOAD.encode())}


def _shell(address: str, command: str) -> str:
    """What dqlite's shell prints; nothing when the node does not answer."""
    try:
        done = subprocess.run(
            ["dqlite", "-s", address, "demo", command],
            capture_output=True,
            text=True,
            timeout=SHELL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout
