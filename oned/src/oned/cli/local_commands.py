"""``oned zone up``, ``down`` and ``status``: a whole zone of real servers on this machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click

from oned.cli.local_server import stop
from oned.cli.local_zone import GRACE_SECONDS, ZONE_ID, Entry, LocalZone, Status, leads, members
from oned.cli.resource import CommandError
from oned.cli.tables import Column, Table

DEFAULT_SERVERS = 3


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
        status = zone.wait(seed, "serving as leader", leads)
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
        f"The zone has {len(members(status))} servers; {leader} leads in term {status['term']}. "
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
