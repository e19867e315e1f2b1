"""One server of a local zone: its directory, its ports, its process.

D/<name>/oned.conf   written once; edit it and start the server again
D/<name>/peers/      its certificate and key
D/<name>/tls/        certificate and key of its API, if that speaks https
D/<name>/var/        its database
D/<name>/oned.log    what it says, over all its starts
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oned.cli.resource import CommandError
from oned.config import Config, load_config
from oned.errors import OnedError
from oned.pki import (
    API_CERTIFICATE,
    API_KEY,
    AUTHORITY_CERTIFICATE,
    Authority,
    issue_api,
    issue_server,
)
from oned.template import Template, Vector

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
STATUS_TIMEOUT_SECONDS = 2.0
MAXIMUM_STATUS = 2**20
LOG_LINES = 20
"""Lines of a server's log that are shown when it fails."""

PORTS_PER_SERVER = 10
_FREE_PORTS = (20_000, 32_000)
"""Below the range from which the kernel takes ports for outgoing connections, so that a server
that is down does not lose its port to one of them."""
_ATTEMPTS = 200
_ENDED = (b"Z", b"X")
"""States in /proc of a process that has ended, collected or not."""

_INHERITED_NOT = ("ONED_", "ONE_")


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of one server."""

    api: int
    peer: int
    admin: int


@dataclass(frozen=True, slots=True)
class LocalServer:
    """One server of a local zone.

    Attributes:
        name: its name in the zone and of its directory.
        directory: see the module.
        config: its oned.conf.
    """

    name: str
    directory: Path
    config: Config

    @property
    def endpoint(self) -> str:
        """Its XML-RPC URL."""
        return f"{self.config.api_scheme}://{ADDRESS}:{self.config.port}/RPC2"

    @property
    def peer_endpoint(self) -> str:
        """Its ``host:port`` for the other servers."""
        return f"{ADDRESS}:{self.config.peer.port}"

    @property
    def admin_endpoint(self) -> str:
        """Base URL of its admin port."""
        return f"http://{ADDRESS}:{self.config.admin.port}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "oned.log"

    def environment(self, *, auth_file: Path, zone_endpoint: str, bootstrap: str) -> dict[str, str]:
        """Variables of the process; nothing that is set for another front-end leaks in."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_INHERITED_NOT)}
        own = {
            "ONED_SERVER_NAME": self.name,
            "ONED_SERVER_ENDPOINT": self.endpoint,
            "ONED_SERVER_PEER": self.peer_endpoint,
            "ONED_ZONE_ENDPOINT": zone_endpoint,
            "ONED_VAR": str(self.directory / "var"),
            "ONE_AUTH": str(auth_file),
        }
        return inherited | own | ({"ONED_BOOTSTRAP": bootstrap} if bootstrap else {})

    def start(self, environment: Mapping[str, str]) -> int:
        """Start the process, detached from this one, and return its id."""
        command = [sys.executable, "-m", "oned", "serve", "-c", str(self.config.path)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=dict(environment),
                start_new_session=True,
            )
        # The process outlives this command on purpose; nobody here waits for it.
        process.returncode = 0
        return process.pid

    def is_running(self, pid: int) -> bool:
        """Whether process ``pid`` is this server, not dead, and not another one's by now."""
        if pid <= 0:
            return False
        process = Path(f"/proc/{pid}")
        try:
            state = (process / "stat").read_bytes().rpartition(b")")[2].split()[0]
            command = (process / "cmdline").read_bytes()
            # Killed, it has its ports and files until the last thread's sync has returned.
            threads = [*(process / "task").iterdir()]
        except OSError:
            return False
        if state in _ENDED and len(threads) <= 1:
            return False
        # Between exec and its first instruction a process has no command line yet, nor has one that
        # is about to end.
        return not command or os.fsencode(self.config.path) in command.split(b"\0")

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to the server, unless ``pid`` is no longer its own."""
        if self.is_running(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def status(self) -> dict[str, Any] | None:
        """``/status`` of its admin port; None when it does not answer."""
        return read_status(self.config.admin.port)

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            with self.log.open(encoding="utf-8", errors="replace") as log:
                return "".join(deque(log, LOG_LINES)).rstrip()
        except OSError:
            return ""


def read_status(port: int) -> dict[str, Any] | None:
    """``/status`` of a local admin port; None when nobody answers or the answer is no status."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=STATUS_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        body = response.read(MAXIMUM_STATUS)
        status = json.loads(body) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return status if isinstance(status, dict) else None


def load_server(directory: Path) -> LocalServer:
    """A server whose directory is there.

    Raises:
        ConfigError: its oned.conf is missing or wrong.
    """
    return LocalServer(directory.name, directory, load_config(directory / "oned.conf"))


def create_server(
    directory: Path,
    authority: Authority,
    ports: Ports,
    *,
    election_timeout_ms: int | None,
    tls: bool = False,
) -> LocalServer:
    """Make a server's directory, configuration and certificate; what is there is kept.

    Raises:
        CommandError: the directory cannot be made.
        OnedError: the configuration or the certificates are unusable.
    """
    peers = directory / "peers"
    try:
        (directory / "var").mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "oned.conf"
        if not path.exists():
            template = _configuration(ports, peers, election_timeout_ms)
            if tls:
                template.set("API_TLS", _api_tls(directory / "tls"))
            text = template.to_text()
            path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory} cannot be made: {error.strerror}") from None
    if not (peers / f"{directory.name}.crt").exists():
        issue_server(authority, directory.name, hosts=HOSTS, directory=peers)
    if tls and not (directory / "tls" / API_CERTIFICATE).exists():
        issue_api(authority, hosts=HOSTS, directory=directory / "tls")
    return load_server(directory)


def _api_tls(directory: Path) -> Vector:
    names = {"CERTIFICATE": API_CERTIFICATE, "KEY": API_KEY, "CA": AUTHORITY_CERTIFICATE}
    return Vector({item: str(directory / name) for item, name in names.items()})


def _configuration(ports: Ports, peers: Path, election_timeout_ms: int | None) -> Template:
    template = Template()
    template.set("PORT", str(ports.api))
    template.set("LISTEN_ADDRESS", ADDRESS)
    template.set("FEDERATION", Vector({"MODE": "STANDALONE", "SERVER_ID": "AUTO"}))
    template.set(
        "PEER",
        Vector({"LISTEN_ADDRESS": ADDRESS, "PORT": str(ports.peer), "DIRECTORY": str(peers)}),
    )
    template.set("ADMIN", Vector({"LISTEN_ADDRESS": ADDRESS, "PORT": str(ports.admin)}))
    if election_timeout_ms is not None:
        default = Config().raft
        # The same proportion as the defaults have, so that a lost heartbeat is no election.
        broadcast = (
            election_timeout_ms * default.broadcast_timeout_ms // default.election_timeout_ms
        )
        raft = {
            "ELECTION_TIMEOUT_MS": str(election_timeout_ms),
            "BROADCAST_TIMEOUT_MS": str(max(1, broadcast)),
        }
        template.set("RAFT", Vector(raft))
    return template


def choose_ports(number: int, *, base: int | None, taken: Iterable[int]) -> Ports:
    """Ports for server ``number``: derived from ``base``, else free ones of this machine.

    Raises:
        CommandError: a derived port is in use, or no free one was found.
    """
    if base is not None:
        api = base + number * PORTS_PER_SERVER
        ports = Ports(api, api + 2, api + 3)
        for port in (ports.api, ports.peer, ports.admin):
            if not _is_free(port):
                raise CommandError(f"Port {port} is in use or out of range; give --base-port")
        return ports
    used = set(taken)
    found: list[int] = []
    chooser = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = chooser.randrange(*_FREE_PORTS)
        if port not in used and _is_free(port):
            used.add(port)
            found.append(port)
        if len(found) == len(Ports.__slots__):
            return Ports(*found)
    raise CommandError("No free ports were found; give --base-port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except (OSError, OverflowError):
            return False
    return True


def stop(servers: Iterable[tuple[LocalServer, int]], *, grace_seconds: float) -> list[str]:
    """Stop processes with SIGTERM, and after ``grace_seconds`` with SIGKILL.

    Returns:
        Names of the servers that had to be killed.
    """
    left = list(servers)
    for server, pid in left:
        server.signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while left and time.monotonic() < deadline:
        left = [(server, pid) for server, pid in left if server.is_running(pid)]
        time.sleep(0.05)
    for server, pid in left:
        server.signal(pid, signal.SIGKILL)
    return [server.name for server, _ in left]


class ServerFailed(OnedError):
    """A server of the local zone did not come up; the text ends with its log."""

    def __init__(self, server: LocalServer, reason: str) -> None:
        super().__init__(f"{server.name}: {reason}. The end of {server.log}:\n{server.log_tail()}")
