"""A whole zone of real servers on this machine: ``oned zone up``, ``down`` and ``status``.

    D/zone.json    the zone: uuid and servers (name, id, endpoint, admin endpoint, process id)
    D/one_auth     oneadmin's credentials
    D/authority/   certificate and key of the zone's authority
    D/trusted/     ca.crt, for clients of a zone that speaks https
    D/<name>/      one server, see ``local_server``

The first server makes the zone's database, once; the others are registered with it one at a
time, and each is waited for until it is a voter. A second ``up`` starts what is down.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from oned import pki
from oned.cli.client import ApiError, Client, load_authorities
from oned.cli.local_server import (
    LocalServer,
    ServerFailed,
    choose_ports,
    create_server,
    load_server,
    stop,
)
from oned.cli.resource import CommandError
from oned.cli.tables import Column, Table
from oned.template import Template, Vector

WAIT_SECONDS = 60.0
"""For each step of a server: to answer, to find a leader, to become a voter."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
DEFAULT_SERVERS = 3
ZONE_ID = 0

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One server in zone.json; ``id`` and ``pid`` are -1 while unknown."""

    name: str
    id: int
    endpoint: str
    admin_endpoint: str
    pid: int


class LocalZone:
    """The zone in one directory; holds the directory's lock while it is used."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.zone_uuid = ""
        self.servers: dict[str, LocalServer] = {}
        self.entries: dict[str, Entry] = {}
        self.founded = False

    @property
    def auth_file(self) -> Path:
        """Credentials of oneadmin."""
        return self.directory / "one_auth"

    @property
    def trusted(self) -> Path:
        """What clients hold certificates against, where the zone speaks https."""
        return self.directory / "trusted"

    def client(self, endpoint: str) -> Client:
        """A client of one of the servers, as oneadmin."""
        context = None
        if endpoint.startswith("https:"):
            context = ssl.create_default_context()
            load_authorities(context, self.trusted)
        session = self.auth_file.read_text(encoding="utf-8").strip()
        return Client(endpoint, session, WAIT_SECONDS, context)

    def load(self) -> bool:
        """Read zone.json and the servers; False when there is no zone yet.

        Raises:
            CommandError: zone.json is not what this command writes.
        """
        path = self.directory / "zone.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            self.zone_uuid = str(content["zone_uuid"])
            self.entries = {item["name"]: Entry(**item) for item in content["servers"]}
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{path} is not readable as a zone: {error}") from None
        self.servers = {name: load_server(self.directory / name) for name in self.entries}
        self.founded = True
        return True

    def save(self) -> None:
        """Write zone.json, in one step."""
        content = {
            "zone_uuid": self.zone_uuid,
            "servers": [asdict(entry) for entry in self.entries.values()],
        }
        temporary = self.directory / ".zone.json"
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.directory / "zone.json")

    # Files

    def prepare(
        self,
        count: int,
        *,
        base_port: int | None,
        election_timeout_ms: int | None,
        tls: bool = False,
    ) -> None:
        """Make what is missing: authority, credentials, and directories of ``count`` servers."""
        authority_directory = self.directory / "authority"
        if (authority_directory / pki.AUTHORITY_KEY).exists():
            authority = pki.load_authority(authority_directory)
        else:
            authority = pki.create_authority(authority_directory)
        self.zone_uuid = authority.zone_uuid
        if not self.auth_file.exists():
            descriptor = os.open(self.auth_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"oneadmin:{secrets.token_urlsafe(18)}\n")
        for number in range(count):
            name = f"server-{number}"
            if name in self.servers:
                continue
            directory = self.directory / name
            if (directory / "oned.conf").exists():
                self.servers[name] = load_server(directory)
                continue
            taken = {
                port
                for server in self.servers.values()
                for port in (server.config.port, server.config.peer.port, server.config.admin.port)
            }
            self.servers[name] = create_server(
                directory,
                authority,
                choose_ports(number, base=base_port, taken=taken),
                election_timeout_ms=election_timeout_ms,
                tls=tls,
            )
        if any(server.config.api_tls for server in self.servers.values()):
            self.trusted.mkdir(exist_ok=True)
            certificate = self.trusted / pki.AUTHORITY_CERTIFICATE
            if not certificate.exists():
                certificate.write_bytes(authority.certificate_pem)

    # Processes

    def start(self, name: str, *, bootstrap: bool = False) -> None:
        """Start a server that is down; zone.json knows its process at once."""
        server, entry = self.servers[name], self.entries.get(name)
        if entry and server.is_running(entry.pid):
            return
        seed = next(iter(self.servers.values()))
        pid = server.start(
            server.environment(
                auth_file=self.auth_file,
                zone_endpoint=seed.endpoint,
                bootstrap=name if bootstrap else "",
            )
        )
        known = entry.id if entry else -1
        self.entries[name] = Entry(name, known, server.endpoint, server.admin_endpoint, pid)
        click.echo(f"{name}: started, process {pid}, {server.endpoint}")

    def wait(self, name: str, awaited: str, condition: Callable[[Status], bool]) -> Status:
        """Poll a server's ``/status`` until ``condition`` holds.

        Raises:
            ServerFailed: its process ended, or the time is up.
        """
        server, pid = self.servers[name], self.entries[name].pid
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            status = server.status()
            if status is not None and status.get("name") == name and condition(status):
                self.entries[name] = replace(self.entries[name], id=status["server_id"])
                return status
            if not server.is_running(pid):
                raise ServerFailed(server, "its process ended")
            if time.monotonic() > deadline:
                raise ServerFailed(server, f"not {awaited} after {WAIT_SECONDS:g} seconds")
            time.sleep(POLL_SECONDS)

    def leader(self) -> tuple[str, Status] | None:
        """The server that serves as leader, with its status."""
        for name, server in self.servers.items():
            status = server.status()
            if status and status.get("name") == name and _leads(status):
                return name, status
        return None

    def wait_for_leader(self) -> tuple[str, Status]:
        """Name and status of the leader.

        Raises:
            ServerFailed: nobody leads in time; the log is that of the first server.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = self.leader()
            if found:
                return found
            for name, entry in self.entries.items():
                if not self.servers[name].is_running(entry.pid):
                    raise ServerFailed(self.servers[name], "its process ended")
            time.sleep(POLL_SECONDS)
        first = next(iter(self.servers.values()))
        raise ServerFailed(first, f"no leader after {WAIT_SECONDS:g} seconds")

    # Membership

    def register(self, name: str) -> None:
        """Add a server to the zone, unless it is in it already.

        Raises:
            ClientError: the zone refuses it for good.
            ServerFailed: the zone could not do it in time.
        """
        server = self.servers[name]
        template = Template()
        template.set(
            "SERVER",
            Vector(
                {
                    "NAME": name,
                    "ENDPOINT": server.endpoint,
                    "ENDPOINT_PEER": server.peer_endpoint,
                }
            ),
        )
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            leader, status = self.wait_for_leader()
            if name in _members(status):
                return
            client = self.client(self.servers[leader].endpoint)
            try:
                client.call("one.zone.addserver", ZONE_ID, template.to_text())
            except ApiError:
                # Another change may be under way, or the leader just left; the member list
                # above tells whether it was done after all.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def wait_until_voter(self, name: str) -> None:
        """Wait until the zone counts a server in its quorum and the server knows a leader.

        Raises:
            ServerFailed: not in time.
        """
        server, pid = self.servers[name], self.entries[name].pid
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            _, status = self.wait_for_leader()
            if _members(status).get(name, {}).get("voter"):
                break
            if not server.is_running(pid):
                raise ServerFailed(server, "its process ended")
            if time.monotonic() > deadline:
                raise ServerFailed(server, f"no voter after {WAIT_SECONDS:g} seconds")
            time.sleep(POLL_SECONDS)
        self.wait(name, "ready", _follows)


def up(
    directory: Path,
    *,
    servers: int | None,
    base_port: int | None,
    election_timeout_ms: int | None,
    tls: bool = False,
) -> None:
    """Make or complete a local zone, and start what is down.

    Raises:
        CommandError: what is asked for cannot be done.
        ServerFailed: a server did not come up.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory):
        zone = LocalZone(directory)
        zone.load()
        count = servers or len(zone.servers) or DEFAULT_SERVERS
        if count < len(zone.servers):
            raise CommandError(
                f"The zone in {directory} has {len(zone.servers)} servers; one is taken away "
                "with onezone server-del"
            )
        zone.prepare(count, base_port=base_port, election_timeout_ms=election_timeout_ms, tls=tls)
        try:
            if zone.founded:
                for name in list(zone.entries):
                    zone.start(name)
            else:
                _found(zone)
            _join_all(zone)
        finally:
            if zone.founded:
                zone.save()
        _report(zone)


def _found(zone: LocalZone) -> None:
    """Let the first server make the zone's database. Never twice: that would be another zone."""
    seed = next(iter(zone.servers))
    zone.start(seed, bootstrap=True)
    try:
        status = zone.wait(seed, "serving as leader", _leads)
    except BaseException:
        # zone.json is written once the zone is there, so that nobody would find the process.
        stop([(zone.servers[seed], zone.entries[seed].pid)], grace_seconds=GRACE_SECONDS)
        raise
    zone.founded = True
    zone.save()
    click.echo(f"{seed}: leads the zone in term {status['term']}")


def _join_all(zone: LocalZone) -> None:
    """Make every server a voter, one after the other."""
    for name in zone.servers:
        zone.register(name)
        zone.start(name)
        zone.wait_until_voter(name)
        zone.save()
        click.echo(f"{name}: voter, server id {zone.entries[name].id}")


def _report(zone: LocalZone) -> None:
    leader, status = zone.wait_for_leader()
    endpoint = zone.servers[leader].endpoint
    trust = f" ONE_CERT_DIR={zone.trusted}" if endpoint.startswith("https:") else ""
    click.echo(
        f"The zone has {len(_members(status))} servers; {leader} leads in term {status['term']}. "
        "To use it:\n"
        f"    export ONE_XMLRPC={endpoint} ONE_AUTH={zone.auth_file}{trust}\n"
        f"    onezone show {ZONE_ID}"
    )


def down(directory: Path) -> None:
    """Stop every server of a local zone; its data stays.

    Raises:
        CommandError: there is no zone.
    """
    with _locked(directory):
        zone = _existing(directory)
        running = [
            (zone.servers[name], entry.pid)
            for name, entry in zone.entries.items()
            if zone.servers[name].is_running(entry.pid)
        ]
        killed = stop(running, grace_seconds=GRACE_SECONDS)
        for server, _ in running:
            click.echo(f"{server.name}: {'killed' if server.name in killed else 'stopped'}")
        zone.entries = {name: replace(entry, pid=-1) for name, entry in zone.entries.items()}
        zone.save()


def show(directory: Path) -> bool:
    """Print what each server says of itself; False when no leader serves or one is down.

    Raises:
        CommandError: there is no zone.
    """
    zone = _existing(directory)
    rows = []
    for name, entry in zone.entries.items():
        running = zone.servers[name].is_running(entry.pid)
        status = (zone.servers[name].status() if running else None) or {}
        state = status.get("state", "starting" if running else "down")
        rows.append((entry, state, status))
    click.echo(_TABLE.render(rows))
    states = [state for _, state, _ in rows]
    return "leader" in states and not {"down", "starting"} & set(states)


_Row = tuple[Entry, str, Status]


def _said(name: str) -> Callable[[_Row], str]:
    return lambda row: str(row[2].get(name, "-"))


_TABLE = Table(
    [
        Column("ID", "Server id", 3, lambda row: str(row[0].id)),
        Column("NAME", "Server name", 12, lambda row: row[0].name, left=True),
        Column("STATE", "Raft state", 10, lambda row: row[1], left=True),
        Column("TERM", "Raft term", 8, _said("term"), left=True),
        Column("COMMIT", "Commit index", 10, _said("commit"), left=True),
        Column("APPLIED", "Applied index", 10, _said("applied"), left=True),
        Column("PID", "Process", 8, lambda row: str(row[0].pid), left=True),
        Column("ENDPOINT", "XML-RPC", 30, lambda row: row[0].endpoint, left=True, grows=True),
    ]
)


def _leads(status: Status) -> bool:
    return bool(status.get("serving")) and status.get("state") in {"leader", "solo"}


def _follows(status: Status) -> bool:
    return bool(status.get("initialised")) and int(status.get("leader_id", -1)) >= 0


def _members(status: Status) -> dict[str, Status]:
    return {member["name"]: member for member in status.get("members", ())}


def _existing(directory: Path) -> LocalZone:
    zone = LocalZone(directory)
    if not zone.load():
        raise CommandError(f"There is no zone in {directory}; make one with: oned zone up")
    return zone


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one command at a time change a zone's directory."""
    try:
        file = (directory / ".lock").open("w")
    except OSError as error:
        raise CommandError(f"{directory}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"Another oned zone command is at work in {directory}") from None
        yield
