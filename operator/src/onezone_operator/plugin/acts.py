"""The commands that change a zone: by a OneZoneTask that the operator carries out, or in its spec.

Each prints what becomes of it until it is over, and ends with 1 when it failed and with 4 when it
was not over in time; it goes on all the same then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from onezone_operator import naming
from onezone_operator.errors import Invalid, NotFound, OperatorError
from onezone_operator.kube import KubeReader
from onezone_operator.models.observed import Manifest
from onezone_operator.plugin import completion, direct, gather
from onezone_operator.plugin.follow import EXIT_FAILED, MANAGER, create, follow, preview_first
from onezone_operator.plugin.session import (
    Login,
    login_from,
    login_options,
    output_option,
    rendered,
    run,
)

__all__ = ["COMMANDS"]


def _task_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        output_option,
        click.option(
            "--timeout",
            "seconds",
            type=click.FloatRange(1, 86_400),
            default=600.0,
            show_default=True,
            help="Seconds to wait until it is over.",
        ),
        click.option(
            "--wait/--no-wait", default=True, show_default=True, help="Wait until it is over."
        ),
        login_options,
    ):
        command = option(command)
    return command


def _server(zone: str, text: str | None) -> str | None:
    """A server's name, given as name or number."""
    if text is None or not text.isdecimal():
        return text
    return naming.server_name(zone, int(text))


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.argument("server", required=False, shell_complete=completion.servers)
@click.option(
    "--direct",
    is_flag=True,
    help="Ask the zone itself, through the API server: needs no operator, but the zone's Secret.",
)
@_task_options
def promote(
    zone: str, server: str | None, *, direct: bool, wait: bool, seconds: float, output: str,
    **options: Any,
) -> None:  # fmt: skip
    """Hand leadership over to SERVER (name or number), or to the best one."""
    login, wanted = login_from(options), _server(zone, server)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            if direct:
                return await _promote_directly(kube, raw, wanted, output)
            task = await create(
                kube, raw, naming.TASK_KIND, "handover", type="HandOver", server=wanted
            )
            return await follow(kube, task, wait=wait, seconds=seconds, output=output)

    run(call)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.argument("server", shell_complete=completion.servers)
@_task_options
def replace(
    zone: str, server: str, *, wait: bool, seconds: float, output: str, **options: Any
) -> None:
    """Replace SERVER (name or number): it begins anew with an empty volume, under its name."""
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            task = await create(
                kube, raw, naming.TASK_KIND, "replaceserver", type="ReplaceServer",
                server=_server(zone, server),
            )  # fmt: skip
            return await follow(kube, task, wait=wait, seconds=seconds, output=output)

    run(call)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.option(
    "--server",
    help="Go on with this server; else with the one of the longest log.",
)
@click.option("--confirm", is_flag=True, help="Do it. Without, only what would be done is shown.")
@_task_options
def recover(
    zone: str, *, server: str | None, confirm: bool, wait: bool, seconds: float, output: str,
    **options: Any,
) -> None:  # fmt: skip
    """Show what is lost if the zone goes on with one of the servers that are left; do it.

    For a zone that lost its quorum for good: most servers are gone and will not come back.
    """
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            return await preview_first(
                kube, raw, "RecoverQuorum", {"server": _server(zone, server)},
                confirm=confirm, wait=wait, seconds=seconds, output=output,
            )  # fmt: skip

    run(call)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.option(
    "--verify/--no-verify", default=True, help="Start a server on it to see that it is good."
)
@_task_options
def backup(
    zone: str, *, verify: bool, wait: bool, seconds: float, output: str, **options: Any
) -> None:
    """Take a backup, and store it where the zone's spec.backup.storage says."""
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            if not (raw["spec"].get("backup") or {}).get("storage"):
                raise Invalid(f"zone {zone} has no spec.backup.storage to store a backup in")
            asked = await create(kube, raw, naming.BACKUP_KIND, "backup", verify=verify)
            return await follow(kube, asked, wait=wait, seconds=seconds, output=output)

    run(call)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.option("--backup", help="Name of a OneZoneBackup.")
@click.option("--location", help="URL of a backup's file, s3://… or file:///….")
@click.option(
    "--server",
    help="Unpack it on this server; else on the first.",
)
@click.option("--confirm", is_flag=True, help="Do it. Without, only what would be done is shown.")
@click.option("--as", "new_name", metavar="NAME", help="Print a new OneZone made of it instead.")
@_task_options
def restore(
    zone: str, *, backup: str | None, location: str | None, server: str | None, confirm: bool,
    new_name: str | None, wait: bool, seconds: float, output: str, **options: Any,
) -> None:  # fmt: skip
    """Show what is lost if the zone becomes what a backup holds; do it, or print a new zone."""
    if (backup is None) == (location is None):
        raise click.UsageError("give --backup or --location, one of them")
    login = login_from(options)
    source: dict[str, Any] = {"location": location} if location else {"backupRef": {"name": backup}}

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            if new_name is not None:
                form = "yaml" if output == "table" else output
                click.echo(rendered(_restored_zone(raw, new_name, source), form))
                return 0
            return await preview_first(
                kube, raw, "Restore", {**source, "server": _server(zone, server)},
                confirm=confirm, wait=wait, seconds=seconds, output=output,
            )  # fmt: skip

    run(call)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.argument("server", shell_complete=completion.servers)
@login_options
def fence(zone: str, server: str, **options: Any) -> None:
    """Keep SERVER (name or number) from running: it is stopped, and its volume is left alone."""
    _fence(zone, server, login_from(options), is_fenced=True)


@click.command()
@click.argument("zone", shell_complete=completion.zones)
@click.argument("server", shell_complete=completion.servers)
@login_options
def unfence(zone: str, server: str, **options: Any) -> None:
    """Let a fenced SERVER (name or number) run again."""
    _fence(zone, server, login_from(options), is_fenced=False)


def _fence(zone: str, server: str, login: Login, *, is_fenced: bool) -> None:
    name = str(_server(zone, server))

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            known = {each.name for each in gather.parse_zone(raw).status.servers}
            fenced = raw["spec"].get("fencedServers") or []
            if is_fenced and name not in known:
                have = ", ".join(sorted(known)) or "none"
                raise NotFound(f"zone {zone} has no server {name}; it has: {have}")
            if (name in fenced) == is_fenced:
                click.echo(f"{name} is {'' if is_fenced else 'not '}fenced already")
                return 0
            wanted = [*fenced, name] if is_fenced else [each for each in fenced if each != name]
            change = {
                "metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]},
                "spec": {"fencedServers": sorted(wanted)},
            }
            await kube.patch(naming.KIND, namespace, zone, change, manager=MANAGER)
        click.echo(f"{name} is {'fenced' if is_fenced else 'fenced no longer'}")
        return 0

    run(call)


COMMANDS = (promote, replace, recover, backup, restore, fence, unfence)


def _restored_zone(zone: Manifest, name: str, source: dict[str, Any]) -> Manifest:
    """The OneZone as it is, under another name, made of a backup.

    Raises:
        Invalid: nobody says where the location is.
    """
    if "location" in source:
        storage = (zone["spec"].get("backup") or {}).get("storage")
        if storage is None:
            raise Invalid(
                f"zone {zone['metadata']['name']} has no spec.backup.storage to find the location"
                " in: name a OneZoneBackup with --backup"
            )
        source = {**source, "storage": storage}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name, "namespace": zone["metadata"]["namespace"]},
        "spec": {**zone["spec"], "bootstrap": {"restore": source}},
    }


async def _promote_directly(
    kube: KubeReader, zone: Manifest, server: str | None, output: str
) -> int:
    facts = await gather.gather(kube, zone)
    try:
        leader = await direct.hand_over(kube, facts, server)
    except OperatorError as error:
        click.echo(f"error: {error}", err=True)
        click.echo(f"try:   kubectl onezone status {facts.zone.name}", err=True)
        return EXIT_FAILED
    text = f"{leader} leads"
    click.echo(text if output == "table" else rendered({"leader": leader}, output))
    return 0
