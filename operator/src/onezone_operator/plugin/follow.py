"""Objects that a user asks for, and what becomes of them: tasks and backups.

What is asked for is made, told step by step until it is over, and printed at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import click

from onezone_operator import naming
from onezone_operator.errors import NotFound
from onezone_operator.kube import KubeReader
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.plugin import gather
from onezone_operator.plugin.session import now, rendered

__all__ = ["EXIT_FAILED", "MANAGER", "create", "follow", "preview_first"]

EXIT_FAILED = 1
EXIT_LATE = 4
MANAGER = "kubectl-onezone"
POLL_SECONDS = 0.5
"""Between two looks."""

UNSEEN_SECONDS = 15.0
"""What nobody has looked at for so long: the operator may be down."""

Asked = OneZoneTask | OneZoneBackup
_KINDS: dict[str, type[Asked]] = {
    naming.TASK_KIND: OneZoneTask,
    naming.BACKUP_KIND: OneZoneBackup,
}


async def create(kube: KubeReader, zone: Manifest, kind: str, word: str, **spec: Any) -> Asked:
    """Ask the operator for something, under a name that tells what and when."""
    name, namespace = zone["metadata"]["name"], zone["metadata"]["namespace"]
    moment = f"{word}-{now():%Y%m%d%H%M%S}"
    manifest = {
        "apiVersion": naming.API_VERSION,
        "kind": kind,
        "metadata": {
            "name": f"{name[: naming.BACKUP_NAME_MAX - len(moment) - 1]}-{moment}",
            "namespace": namespace,
        },
        "spec": {
            "zoneRef": {"name": name},
            **{key: value for key, value in spec.items() if value is not None},
        },
    }
    return _parse(kind, await kube.create(manifest, manager=MANAGER))


async def preview_first(
    kube: KubeReader, zone: Manifest, kind: str, spec: dict[str, Any], *, confirm: bool,
    wait: bool, seconds: float, output: str,
) -> int:  # fmt: skip
    """Show what a task would do; carry it out only when that was asked for."""
    task: Asked | None = await _unconfirmed(kube, zone, kind, spec)
    if task is None:
        task = await create(kube, zone, naming.TASK_KIND, kind.lower(), type=kind, **spec)
    end = time.monotonic() + seconds
    task = await _until(kube, task, lambda each: bool(each.status.conditions), end)
    assert isinstance(task, OneZoneTask)
    if not task.status.conditions:
        return _late(task)
    if output == "table":
        for number, sentence in enumerate(task.status.preview, 1):
            click.echo(f"{number}. {sentence}")
    if not task.status.preview:
        return _failed(task)
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
    return await follow(kube, parsed, wait=wait, seconds=rest, output=output)


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


async def follow(kube: KubeReader, asked: Asked, *, wait: bool, seconds: float, output: str) -> int:
    """Tell what becomes of it until it is over; the exit code."""
    click.echo(f"{_singular(asked)} {asked.name}", err=True)
    if not wait:
        if output != "table":
            click.echo(rendered(_as_data(asked), output))
        return 0
    end = time.monotonic() + seconds
    asked = await _until(kube, asked, lambda each: each.is_finished, end, tells=True)
    if output != "table":
        click.echo(rendered(_as_data(asked), output))
    outcome = asked.status.outcome
    if outcome is None or outcome.status == "Unknown":
        return _late(asked)
    if outcome.status == "False":
        return _failed(asked)
    if output == "table":
        click.echo(asked.status.message)
    return 0


async def _until(
    kube: KubeReader,
    asked: Asked,
    holds: Callable[[Asked], bool],
    end: float,
    *,
    tells: bool = False,
) -> Asked:
    """It, once this holds of it, or as it was when the time was over."""
    begun, told, warned = time.monotonic(), "", False
    while True:
        try:
            live = await kube.get(_kind(asked), asked.metadata.namespace, asked.name)
        except NotFound as error:
            raise NotFound(f"{_singular(asked)} {asked.name} was deleted") from error
        asked = _parse(_kind(asked), live)
        message = await _progress(kube, asked) if tells else ""
        if message not in {"", told} and not asked.is_finished:
            click.echo(f"  {message}", err=True)
            told = message
        if holds(asked) or time.monotonic() >= end:
            return asked
        if not asked.status.conditions and not warned and time.monotonic() > begun + UNSEEN_SECONDS:
            click.echo("  the operator has not looked at it yet: does it run?", err=True)
            warned = True
        await asyncio.sleep(POLL_SECONDS)


async def _progress(kube: KubeReader, asked: Asked) -> str:
    """What the operator does for it: for a task the zone's step, once it was begun."""
    if not asked.is_started or isinstance(asked, OneZoneBackup):
        return asked.status.message
    raw = await gather.read_one(kube, asked.metadata.namespace, asked.spec.zone_ref.name)
    return gather.parse_zone(raw).status.plan.message


def _failed(asked: Asked) -> int:
    look = f"kubectl onezone status {asked.spec.zone_ref.name} -n {asked.metadata.namespace}"
    click.echo(f"error: {asked.status.message}\ntry:   {look}", err=True)
    return EXIT_FAILED


def _late(asked: Asked) -> int:
    message = asked.status.message or "the operator has not looked at it yet"
    click.echo(
        f"error: not over in time, and goes on: {message}\ntry:   kubectl -n"
        f" {asked.metadata.namespace} get {_singular(asked)} {asked.name} -w",
        err=True,
    )
    return EXIT_LATE


def _parse(kind: str, live: Manifest) -> Asked:
    return _KINDS[kind].model_validate(live)


def _kind(asked: Asked) -> str:
    return naming.BACKUP_KIND if isinstance(asked, OneZoneBackup) else naming.TASK_KIND


def _singular(asked: Asked) -> str:
    return _kind(asked).lower()


def _as_data(asked: Asked) -> dict[str, Any]:
    data = asked.model_dump(by_alias=True, exclude_none=True)
    return {"apiVersion": naming.API_VERSION, "kind": _kind(asked), **data}
