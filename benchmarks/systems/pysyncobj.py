"""PySyncObj: three processes with its journal, each with a bare HTTP front in its own loop."""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from benchmarks.generator import Load
from benchmarks.machine import ROOT
from benchmarks.processes import Child, free_ports, wait_until
from benchmarks.systems.system import PAYLOAD, SERVERS, Children, http_request

NAME, NAME_TUNED = "PySyncObj", "PySyncObj, tuned, synced"


class PySyncObj(Children):
    """With its defaults, or ``tuned`` and with a journal that is synced; see the server."""

    interface = "HTTP PUT on its own poll loop"

    def __init__(self, *, tuned: bool) -> None:
        super().__init__()
        self._tuned = tuned
        self._ports: dict[str, int] = {}
        self.name = NAME_TUNED if tuned else NAME
        self.durability = (
            "msync on a majority (added by us)" if tuned else "none: journal in the page cache"
        )

    def missing(self) -> str:
        return "" if importlib.util.find_spec("pysyncobj") else "make deps"

    def version(self) -> str:
        return importlib.metadata.version("pysyncobj")

    def start(self, directory: Path) -> None:
        directory.mkdir()
        ports = free_ports(2 * SERVERS)
        peers = [f"127.0.0.1:{port}" for port in ports[SERVERS:]]
        for number, peer in enumerate(peers):
            name = f"pysyncobj-{number}"
            self._ports[name] = ports[number]
            command = [sys.executable, "-m", "benchmarks.systems.pysyncobj_server"]
            command += ["--http", str(ports[number]), "--journal", str(directory / f"{name}.bin")]
            command += ["--tuned"] if self._tuned else []
            command += [peer, *(other for other in peers if other != peer)]
            self.children[name] = Child(
                command, directory / f"{name}.log", {"PYTHONPATH": _with_root()}
            )
            self.children[name].start()
        self.leader()

    def _leads(self, server: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[server], timeout=2)
        try:
            connection.request("GET", "/leader")
            return connection.getresponse().read() == b"yes"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def leader(self) -> str:
        wait_until(lambda: any(map(self._leads, self._ports)), "led")
        return next(name for name in self._ports if self._leads(name))

    def restart(self) -> None:
        for child in self.children.values():
            if child.has_ended():
                child.start()
        self.leader()

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
        return {"dictionary, its own state": Load(port, (call,) * clients, PAYLOAD.encode())}


def _with_root() -> str:
    return ":".join([str(ROOT), *(entry for entry in sys.path if entry)])
