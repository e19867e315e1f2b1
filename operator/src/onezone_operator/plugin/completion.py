"""What Tab completes: names of zones and of their servers, as the cluster has them.

A shell waits for this, so a cluster that does not answer at once completes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click
from click.shell_completion import CompletionItem
from pydantic import ValidationError

from onezone_operator import naming
from onezone_operator.errors import OperatorError
from onezone_operator.kube import KubeReader
from onezone_operator.models.onezone import OneZone
from onezone_operator.plugin.session import login_from

__all__ = ["servers", "zones"]

SECONDS = 2.0

_Reader = Callable[[KubeReader, str], Awaitable[list[CompletionItem]]]


def zones(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """OneZones of the namespace, each with its health."""

    async def read(kube: KubeReader, namespace: str) -> list[CompletionItem]:
        return [_item(OneZone.model_validate(raw)) for raw in await kube.list_zones(namespace)]

    return _starting_with(incomplete, _read(context, read))


def servers(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Servers of the zone that was typed before, each with its role."""
    name = context.params.get("zone") or context.params.get("name")
    if not name:
        return []

    async def read(kube: KubeReader, namespace: str) -> list[CompletionItem]:
        zone = OneZone.model_validate(await kube.get(naming.KIND, namespace, name))
        return [CompletionItem(each.name, help=each.role) for each in zone.status.servers]

    return _starting_with(incomplete, _read(context, read))


def _item(zone: OneZone) -> CompletionItem:
    return CompletionItem(zone.name, help=zone.status.diagnosis.health)


def _starting_with(incomplete: str, items: list[CompletionItem]) -> list[CompletionItem]:
    return [each for each in items if each.value.startswith(incomplete)]


def _read(context: click.Context, read: _Reader) -> list[CompletionItem]:
    given = {
        key: context.params.get(key) for key in ("kubeconfig", "context", "namespace")
    }  # fmt: skip
    login = login_from({**given, "request_timeout": SECONDS})

    async def call() -> list[CompletionItem]:
        async with asyncio.timeout(SECONDS), login.open() as (kube, namespace):
            return await read(kube, namespace)

    try:
        return asyncio.run(call())
    except (OperatorError, ValidationError, TimeoutError):
        return []
