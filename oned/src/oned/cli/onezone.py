"""``onezone``: zones and the servers that keep them available."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from lxml import etree

from oned.cli.client import Client, ClientError
from oned.cli.command import ResourceGroup, argument, run
from oned.cli.resource import (
    ZONE,
    CommandError,
    Session,
    connected,
    document_options,
    print_document,
    print_title,
    read_template,
    template_of,
)
from oned.cli.tables import Column, ListOptions, Table, list_options
from oned.cli.verbs import add_action, add_update
from oned.config import kinds
from oned.raft.types import Role
from oned.template import Template, Vector

STATUS_TIMEOUT_SECONDS = 5.0
STATUS_CALLS_AT_ONCE = 16
UNKNOWN = "-"

BEST_SERVER = -1
"""In ``one.zone.transferleader``: whoever would take over soonest."""

_STATES = {"0": ("ENABLED", "on"), "1": ("DISABLED", "off")}
_STATUS_FIELDS = ("STATE", "TERM", "VOTEDFOR", "COMMIT", "LOG_INDEX", "FEDLOG_INDEX")


@click.group(cls=ResourceGroup, name="onezone")
def onezone() -> None:
    """Manage OpenNebula zones and their servers."""


@onezone.command("create")
@argument("file", required=False)
@connected
def create(session: Session, file: str | None) -> None:
    """Create a zone from a template.

    Without a file the template is read from standard input.
    """
    click.echo(f"ID: {session.call('one.zone.allocate', read_template(file))}")


@onezone.command("rename")
@argument("zoneid")
@argument("name")
@connected
def rename(session: Session, zoneid: str, name: str) -> None:
    """Rename a zone."""
    session.act(
        ZONE,
        session.identify(ZONE, zoneid),
        "renamed",
        lambda number: session.call("one.zone.rename", number, name),
    )


add_update(onezone, ZONE)
add_action(onezone, ZONE, "delete", message="deleted", description="Delete zones.")
add_action(
    onezone,
    ZONE,
    "enable",
    True,
    message="enable zone",
    description="Enable zones: they can be changed again.",
)
add_action(
    onezone,
    ZONE,
    "disable",
    False,
    method="enable",
    message="disable zone",
    description="Disable zones: they can be read, and not changed.",
)


@onezone.command("list")
@connected
@list_options
@document_options
def list_zones(session: Session, options: ListOptions, form: str | None) -> None:
    """List the zones."""
    if form:
        print_document(session.pool(ZONE), form, lists=("ZONE", "SERVER"))
        return
    _zone_table(session).show(lambda: _with_federation_index(session), options)


@onezone.command("show")
@argument("zoneid")
@document_options
@connected
def show(session: Session, zoneid: str, form: str | None) -> None:
    """Show a zone, its servers and what each of them says of itself."""
    zone = session.document("one.zone.info", session.identify(ZONE, zoneid))
    servers = zone.findall("SERVER_POOL/SERVER")
    _add_status(session.client, servers)
    if form:
        print_document(zone, form, lists=("SERVER",))
    else:
        _print_zone(zone, servers)


@onezone.command("server-add")
@argument("zoneid")
@click.option("-n", "--name", metavar="server_name", help="Zone server name")
@click.option("-r", "--rpc", metavar="endpoint", help="Zone server RPC endpoint (a URL)")
@click.option("-g", "--grpc-endpoint", metavar="host:port", help="Zone server gRPC endpoint")
@click.option(
    "--peer",
    metavar="host:port",
    help="Where the other servers reach it (default: host of the RPC endpoint, port 2635)",
)
@connected
def server_add(
    session: Session,
    *,
    zoneid: str,
    name: str | None,
    rpc: str | None,
    grpc_endpoint: str | None,
    peer: str | None,
) -> None:
    """Add an OpenNebula server to this zone.

    It catches up with the leader first, and then takes part in elections by itself.
    valid options: name, rpc, grpc-endpoint, peer
    """
    if not name or not (rpc or grpc_endpoint):
        raise CommandError(
            "To add a server give its name and an endpoint:\n"
            "\t-n, --name: Zone server name\n"
            "\t-r, --rpc: Zone server RPC endpoint\n"
            "\t-g, --grpc-endpoint: Zone server gRPC endpoint"
        )
    server = {"NAME": name, "ENDPOINT": rpc or ""}
    if rpc:
        _check("--rpc", rpc, kinds.Endpoint())
    if grpc_endpoint:
        server["ENDPOINT_GRPC"] = grpc_endpoint
    if peer:
        _check("--peer", peer, kinds.HostPort())
        server["ENDPOINT_PEER"] = peer
    template = Template()
    template.set("SERVER", Vector(server))
    session.act(
        ZONE,
        session.identify(ZONE, zoneid),
        "server added",
        lambda number: session.call("one.zone.addserver", number, template.to_text()),
    )


@onezone.command("server-del")
@argument("zoneid")
@argument("serverid")
@connected
def server_del(session: Session, zoneid: str, serverid: str) -> None:
    """Delete an OpenNebula server from this zone."""
    zone = session.identify(ZONE, zoneid)
    server = _server_id(session, zone, serverid)
    session.act(
        ZONE,
        zone,
        "server deleted",
        lambda number: session.call("one.zone.delserver", number, server),
    )


@onezone.command("server-reset")
@argument("zoneid")
@argument("serverid")
@connected
def server_reset(session: Session, zoneid: str, serverid: str) -> None:
    """Reset a follower: the leader sends it a fresh snapshot of the database."""
    zone = session.identify(ZONE, zoneid)
    server = _server_id(session, zone, serverid)
    session.act(
        ZONE,
        zone,
        "server reset",
        lambda number: session.call("one.zone.resetserver", number, server),
    )


@onezone.command("server-promote")
@argument("zoneid")
@argument("serverid", required=False)
@connected
def server_promote(session: Session, zoneid: str, serverid: str | None) -> None:
    """Hand leadership over to a server, or to the best one if none is named.

    Changes that come meanwhile wait for the new leader; none is lost.
    """
    zone = session.identify(ZONE, zoneid)
    server = BEST_SERVER if serverid is None else _server_id(session, zone, serverid)

    leader = session.call("one.zone.transferleader", zone, server)
    click.echo(f"Server {leader} leads zone {zone}.")


@onezone.command("set")
@argument("zoneid")
@click.option("-k", "--keep", is_flag=True, help="Print a line for the shell, write no file")
@connected
def set_endpoint(session: Session, zoneid: str, keep: bool) -> None:
    """Make a zone the target of the commands: write ~/.one/one_endpoint."""
    zone = session.document("one.zone.info", session.identify(ZONE, zoneid))
    endpoint = template_of(zone).get("ENDPOINT")
    if not endpoint:
        raise CommandError(f"Zone {zone.findtext('NAME')} has no ENDPOINT.")
    if keep:
        click.echo(f'export ONE_XMLRPC="{endpoint}"')
        return
    path = Path(os.environ.get("HOME", "/")) / ".one" / "one_endpoint"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(f"{endpoint}\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f'Endpoint changed to "{endpoint}" in {path}')


def _check(option: str, text: str, kind: kinds.Kind) -> None:
    try:
        kind.parse(text)
    except ValueError as error:
        raise CommandError(f'{option} "{text}": must be {error}') from None


def _server_id(session: Session, zone: int, text: str) -> int:
    """Id of a server, given as id or by its name in the zone."""
    if text.isdecimal():
        return int(text)
    document = session.document("one.zone.info", zone)
    for server in document.iterfind("SERVER_POOL/SERVER"):
        if server.findtext("NAME") == text:
            return int(server.findtext("ID") or -1)
    raise CommandError(f"Server {text} not found in zone {zone}.")


def raft_status(client: Client, endpoint: str) -> dict[str, str]:
    """Elements of ``one.zone.raftstatus`` at one server; empty when it does not answer."""
    try:
        caller = client.at(endpoint, timeout_seconds=STATUS_TIMEOUT_SECONDS)
        answer = Session(lambda: caller).document("one.zone.raftstatus")
    except ClientError:
        return {}
    return {str(item.tag): item.text or "" for item in answer}


def _statuses(client: Client, endpoints: Sequence[str]) -> list[dict[str, str]]:
    """Raft status of several servers, asked at the same time."""
    if not endpoints:
        return []
    with ThreadPoolExecutor(min(len(endpoints), STATUS_CALLS_AT_ONCE)) as pool:
        return list(pool.map(lambda endpoint: raft_status(client, endpoint), endpoints))


def _add_status(client: Client, servers: Sequence[etree._Element]) -> None:
    """Put what each server says of itself into its SERVER element."""
    statuses = _statuses(client, [server.findtext("ENDPOINT") or "" for server in servers])
    for server, status in zip(servers, statuses, strict=True):
        for name in _STATUS_FIELDS:
            missing = "error" if name == "STATE" else UNKNOWN
            etree.SubElement(server, name).text = status.get(name, missing)


def _with_federation_index(session: Session) -> list[etree._Element]:
    """The zones, each with the federation index that its endpoint reports."""
    zones = session.pool(ZONE).findall("ZONE")
    endpoints = [zone.findtext("TEMPLATE/ENDPOINT") or "" for zone in zones]
    for zone, status in zip(zones, _statuses(session.client, endpoints), strict=True):
        etree.SubElement(zone, "FEDLOG_INDEX").text = status.get("FEDLOG_INDEX", UNKNOWN)
    return zones


def _zone_table(session: Session) -> Table:
    def current(zone: etree._Element) -> str:
        return "*" if zone.findtext("TEMPLATE/ENDPOINT") == session.client.endpoint else ""

    def state(zone: etree._Element) -> str:
        return _STATES.get(zone.findtext("STATE") or "", (UNKNOWN, UNKNOWN))[1]

    return Table(
        [
            Column("CURRENT", "Active zone", 1, current),
            Column("ID", "Zone id", 4, _text("ID"), grows=True),
            Column("NAME", "Name of the zone", 15, _text("NAME"), left=True, expands=True),
            Column("ENDPOINT", "Endpoint of the zone", 45, _text("TEMPLATE/ENDPOINT"), left=True),
            Column("FED_INDEX", "Federation log index", 10, _text("FEDLOG_INDEX"), left=True),
            Column("STAT", "State of the zone", 4, state, left=True, coloured=True),
        ]
    )


def _text(path: str) -> Callable[[etree._Element], str]:
    return lambda element: element.findtext(path) or ""


_SERVER_TABLE = Table(
    [
        Column("ID", "Server id", 2, _text("ID")),
        Column("NAME", "Server name", 15, _text("NAME"), left=True),
        Column("ENDPOINT", "Server endpoint", 63, _text("ENDPOINT"), left=True),
    ]
)


def _role(server: etree._Element) -> str:
    state = server.findtext("STATE") or ""
    known = {str(int(role)): role.name.lower() for role in Role}
    return known.get(state, "error")


_STATUS_TABLE = Table(
    [
        Column("ID", "Server id", 2, _text("ID")),
        Column("NAME", "Server name", 15, _text("NAME"), left=True),
        Column("STATE", "Raft state", 10, _role, left=True),
        Column("TERM", "Raft term", 10, _text("TERM"), left=True),
        Column("INDEX", "Last log index", 10, _text("LOG_INDEX"), left=True),
        Column("COMMIT", "Commit index", 10, _text("COMMIT"), left=True),
        Column("VOTE", "Server voted for in this term", 5, _text("VOTEDFOR"), left=True),
        Column("FED_INDEX", "Federation log index", 10, _text("FEDLOG_INDEX"), left=True),
    ]
)


def _print_zone(zone: etree._Element, servers: Sequence[etree._Element]) -> None:
    state = _STATES.get(zone.findtext("STATE") or "", (UNKNOWN, UNKNOWN))[0]
    print_title(f"ZONE {zone.findtext('ID')} INFORMATION")
    for key, value in (
        ("ID", zone.findtext("ID")),
        ("NAME", zone.findtext("NAME")),
        ("STATE", state),
    ):
        click.echo(f"{key:<18}: {value or '':<20}")
    click.echo()
    if servers:
        click.echo()
        print_title("ZONE SERVERS", underline=False)
        click.echo(_SERVER_TABLE.render(servers))
        click.echo()
        print_title("HA & FEDERATION SYNC STATUS", underline=False)
        click.echo(_STATUS_TABLE.render(servers))
        click.echo()
    print_title("ZONE TEMPLATE", underline=False)
    click.echo(template_of(zone).to_text())


def main() -> None:
    """Run ``onezone``."""
    run(onezone, "onezone")
