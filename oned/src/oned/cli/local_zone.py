"""A whole zone of real servers on this machine, in one directory.

    D/zone.json    the zone: uuid and servers (name, id, endpoint, admin endpoint, process id)
    D/one_auth     oneadmin's credentials
    D/authority/   certificate and key of the zone's authority
    D/trusted/     ca.crt, for clients of a zone that speaks https
    D/<name>/      one server, see ``local_server``

The first server makes the zone's database, once; the others are registered with it one at a
time, and each is waited for until it is a voter. A second ``up`` starts what is down.
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
import time
from collections.abc import Callable
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
)
from oned.cli.resource import CommandError
from oned.template import Template, Vector

WAIT_SECONDS = 60.0
"""For each step of a server: to answer, to find a leader, to become a voter."""

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
ZONE_ID = 0

Status = dict[str, Any]


def leads(status: Status) -> bool:
    """Whether a server serves as leader, or solo."""
    return bool(status.get("serving")) and status.get("state") in {"leader", "solo"}


def follows(status: Status) -> bool:
    """Whether a server holds the zone and knows who leads."""
    return bool(status.get("initialised")) and int(status.get("leader_id", -1)) >= 0


def members(status: Status) -> dict[str, Status]:
    """What a server says of each member, by name."""
    return {member["name"]: member for member in status.get("members", ())}


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
            if status and status.get("name") == name and leads(status):
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
            if name in members(status):
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
            if members(status).get(name, {}).get("voter"):
                break
            if not server.is_running(pid):
                raise ServerFailed(server, "its process ended")
            if time.monotonic() > deadline:
                raise ServerFailed(server, f"no voter after {WAIT_SECONDS:g} seconds")
            time.sleep(POLL_SECONDS)
        self.wait(name, "ready", follows)
