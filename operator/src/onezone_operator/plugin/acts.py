"""The commands that change a zone: by a OneZoneTask that the operator carries out, or in its spec.

Each prints what becomes of it until it is over, and ends with 1 when it failed and with 4 when it
was not over in time; it goes on all the same then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import click

from onezone_operator import naming
from onezone_operator.errors import NotFound, OperatorError
from onezone_operator.kube import KubeReader
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.plugin import direct, gather
from onezone_operator.plugin.session import (
    Login,
    login_from,
    login_options,
    now,
    output_option,
    rendered,
    run,
)

__all__ = ["COMMANDS", "MANAGER"]

EXIT_FAILED = 1
EXIT_LATE = 4
MANAGER = "kubectl-onezone"
POLL_SECONDS = 0.5
"""Between two looks at a task."""

UNSEEN_SECONDS = 15.0
"""A task that nobody has looked at for so long: the operator may be down."""


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
@click.argument("zone")
@click.argument("server", required=False)
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
            task = await _create(kube, raw, "HandOver", server=wanted)
            return await _follow(kube, task, wait=wait, seconds=seconds, output=output)

    run(call)


@click.command()
@click.argument("zone")
@click.argument("server")
@_task_options
def replace(
    zone: str, server: str, *, wait: bool, seconds: float, output: str, **options: Any
) -> None:
    """Replace SERVER (name or number): it begins anew with an empty volume, under its name."""
    login = login_from(options)

    async def call() -> int:
        async with login.open() as (kube, namespace):
            raw = await gather.read_one(kube, namespace, zone)
            task = await _create(kube, raw, "ReplaceServer", server=_server(zone, server))
            return await _follow(kube, task, wait=wait, seconds=seconds, output=output)

    run(call)


@click.command()
@click.argument("zone")
@click.option("--server", help="Go on with this server; else with the one of the longest log.")
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
            return await _previewed(
                kube, raw, "RecoverQuorum", {"server": _server(zone, server)},
                confirm=confirm, wait=wait, seconds=seconds, output=output,
            )  # fmt: skip

    run(call)


@click.command()
@click.argument("zone")
@click.option("--backup", help="Name of a OneZoneBackup.")
@click.option("--location", help="URL of a backup's file, s3://… or file:///….")
@click.option("--server", help="Unpack it on this server; else on the first.")
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
            return await _previewed(
                kube, raw, "Restore", {**source, "server": _server(zone, server)},
                confirm=confirm, wait=wait, seconds=seconds, output=output,
            )  # fmt: skip

    run(call)


@click.command()
@click.argument("zone")
@click.argument("server")
@login_options
def fence(zone: str, server: str, **options: Any) -> None:
    """Keep SERVER (name or number) from running: it is stopped, and its volume is left alone."""
    _fence(zone, server, login_from(options), is_fenced=True)


@click.command()
@click.argument("zone")
@click.argument("server")
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


COMMANDS = (promote, replace, recover, restore, fence, unfence)


# --- tasks ---------------------------------------------------------------------------------


async def _create(kube: KubeReader, zone: Manifest, kind: str, **spec: Any) -> OneZoneTask:
    name, namespace = zone["metadata"]["name"], zone["metadata"]["namespace"]
    moment = now()
    manifest = {
        "apiVersion": naming.API_VERSION,
        "kind": naming.TASK_KIND,
        "metadata": {
            "name": f"{name}-{kind.lower()}-{moment:%Y%m%d%H%M%S}",
            "namespace": namespace,
        },
        "spec": {
            "zoneRef": {"name": name},
            "type": kind,
            **{key: value for key, value in spec.items() if value is not None},
        },
    }
    return OneZoneTask.model_validate(await kube.create(manifest, manager=MANAGER))


async def _previewed(
    kube: KubeReader, zone: Manifest, kind: str, spec: dict[str, Any], *, confirm: bool,
    wait: bool, seconds: float, output: str,
) -> int:  # fmt: skip
    """Show what a task would do; carry it out only when that was seen or asked for."""
    task = await _unconfirmed(kube, zone, kind, spec) or await _create(kube, zone, kind, **spec)
    end = time.monotonic() + seconds
    task = await _until(kube, task, lambda each: bool(each.status.conditions), end)
    if not task.status.conditions:
        return _late(task)
    if output == "table":
        for number, sentence in enumerate(task.status.preview, 1):
            click.echo(f"{number}. {sentence}")
    if not task.status.preview:
        click.echo(f"error: {task.status.message}\ntry:   {_look(task)}", err=True)
        return EXIT_FAILED
    if not confirm:
        if output != "table":
            click.echo(rendered(_as_data(task), output))
        forget = f"-n {task.metadata.namespace} delete {naming.TASK_SINGULAR} {task.name}"
        click.echo("Nothing was done. To do it, type the same with --confirm", err=True)
        click.echo(f"to forget it: kubectl {forget}", err=True)
        return 0
    change = {"spec": {"confirm": True}}
    confirmed = await kube.patch(
        naming.TASK_KIND, task.metadata.namespace, task.name, change, manager=MANAGER
    )
    rest = max(1.0, end - time.monotonic())
    parsed = OneZoneTask.model_validate(confirmed)
    return await _follow(kube, parsed, wait=wait, seconds=rest, output=output)


async def _unconfirmed(
    kube: KubeReader, zone: Manifest, kind: str, spec: dict[str, Any]
) -> OneZoneTask | None:
    """The same task, made before and not confirmed yet."""
    name, namespace = zone["metadata"]["name"], zone["metadata"]["namespace"]
    wanted = {key: value for key, value in spec.items() if value is not None}
    wanted |= {"zoneRef": {"name": name}, "type": kind}
    for live in await kube.list_objects(naming.TASK_KIND, namespace, selector=""):
        told = {key: each for key, each in live["spec"].items() if key != "confirm"}
        task = OneZoneTask.model_validate(live)
        if told == wanted and not task.spec.confirm and not task.is_finished:
            return task
    return None


async def _follow(
    kube: KubeReader, task: OneZoneTask, *, wait: bool, seconds: float, output: str
) -> int:
    """Tell what becomes of a task until it is over; its exit code."""
    click.echo(f"task {task.name} ({task.spec.type})", err=True)
    if not wait:
        if output != "table":
            click.echo(rendered(_as_data(task), output))
        return 0
    end = time.monotonic() + seconds
    task = await _until(kube, task, lambda each: each.is_finished, end, tells=True)
    if output != "table":
        click.echo(rendered(_as_data(task), output))
    outcome = task.status.outcome
    if outcome is None or outcome.status == "Unknown":
        return _late(task)
    if outcome.status == "False":
        click.echo(f"error: {task.status.message}\ntry:   {_look(task)}", err=True)
        return EXIT_FAILED
    if output == "table":
        click.echo(task.status.message)
    return 0


async def _until(
    kube: KubeReader,
    task: OneZoneTask,
    holds: Callable[[OneZoneTask], bool],
    end: float,
    *,
    tells: bool = False,
) -> OneZoneTask:
    """The task once this holds of it, or as it was when the time was over."""
    begun, told, warned = time.monotonic(), "", False
    while True:
        try:
            live = await kube.get(naming.TASK_KIND, task.metadata.namespace, task.name)
        except NotFound as error:
            raise NotFound(f"task {task.name} was deleted") from error
        task = OneZoneTask.model_validate(live)
        message = await _progress(kube, task) if tells else ""
        if message not in {"", told} and not task.is_finished:
            click.echo(f"  {message}", err=True)
            told = message
        if holds(task) or time.monotonic() >= end:
            return task
        if not task.status.conditions and not warned and time.monotonic() > begun + UNSEEN_SECONDS:
            click.echo("  the operator has not looked at it yet: does it run?", err=True)
            warned = True
        await asyncio.sleep(POLL_SECONDS)


async def _progress(kube: KubeReader, task: OneZoneTask) -> str:
    """What the operator does for it: the zone's step, once the task was begun."""
    if not task.is_started:
        return task.status.message
    raw = await gather.read_one(kube, task.metadata.namespace, task.spec.zone_ref.name)
    return gather.parse_zone(raw).status.plan.message


def _late(task: OneZoneTask) -> int:
    message = task.status.message or "the operator has not looked at it yet"
    click.echo(
        f"error: not over in time, and goes on: {message}\ntry:   kubectl -n"
        f" {task.metadata.namespace} get {naming.TASK_SINGULAR} {task.name} -w",
        err=True,
    )
    return EXIT_LATE


def _look(task: OneZoneTask) -> str:
    return f"kubectl onezone status {task.spec.zone_ref.name} -n {task.metadata.namespace}"


def _as_data(task: OneZoneTask) -> dict[str, Any]:
    data = task.model_dump(by_alias=True, exclude_none=True)
    return {"apiVersion": naming.API_VERSION, "kind": naming.TASK_KIND, **data}


def _restored_zone(zone: Manifest, name: str, source: dict[str, Any]) -> Manifest:
    """The OneZone as it is, under another name, made of a backup."""
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
