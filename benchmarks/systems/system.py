"""What a benchmark needs of a system: three servers on loopback, and the bytes of a call."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from pathlib import Path

from benchmarks.generator import Load
from benchmarks.processes import Child

PAYLOAD_BYTES = 256
PAYLOAD = "x" * PAYLOAD_BYTES
SERVERS = 3
CLIENTS_MAX = 256


class System(ABC):
    """A replicated store of three servers.

    Attributes:
        name: as it stands in the tables.
        durability: what has happened when a write is acknowledged.
        interface: how the load generator speaks to it.
    """

    name: str
    durability: str
    interface: str

    @abstractmethod
    def missing(self) -> str:
        """The command that installs it; empty when it is here."""

    @abstractmethod
    def version(self) -> str:
        """What is installed; called only when nothing is missing."""

    @abstractmethod
    def start(self, directory: Path) -> None:
        """Start three servers with empty databases in ``directory``, and wait for a leader."""

    @abstractmethod
    def stop(self) -> None:
        """End every process; safe to call at any time."""

    @abstractmethod
    def pids(self) -> dict[str, int]:
        """Process of each server."""

    @abstractmethod
    def leader(self) -> str:
        """Name of the server that leads.

        Raises:
            BenchmarkError: none does, for a long time.
        """

    @abstractmethod
    def writes(self, server: str, clients: int) -> Load:
        """Each client writes 256 bytes to a key of its own, over and over."""

    @abstractmethod
    def reads(self, server: str, clients: int) -> dict[str, Load]:
        """Kinds of reads, by what they promise."""

    @abstractmethod
    def kill(self, server: str, number: signal.Signals) -> None:
        """Send a signal to a server."""

    @abstractmethod
    def has_ended(self, server: str) -> bool:
        """Whether a server's process is gone."""

    @abstractmethod
    def restart(self) -> None:
        """Start the servers that have ended, on their databases, and wait until all take part."""


class Children(System):
    """A system whose servers are our own child processes."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}

    def stop(self) -> None:
        for child in self.children.values():
            child.end()

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.children.items()}

    def kill(self, server: str, number: signal.Signals) -> None:
        self.children[server].kill(number)

    def has_ended(self, server: str) -> bool:
        return self.children[server].has_ended()


def http_request(port: int, method: str, path: str, body: bytes, kind: str) -> bytes:
    """A whole HTTP/1.1 request."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
