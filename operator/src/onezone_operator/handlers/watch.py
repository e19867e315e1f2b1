"""Events of a OneZone or of its objects: each is only a reason to look at the zone again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kopf

from onezone_operator import naming
from onezone_operator.handlers.startup import Runtime

__all__ = ["register"]


def register(registry: kopf.OperatorRegistry) -> None:
    """Put the handlers of this module into kopf's registry."""
    kopf.on.event(naming.GROUP, naming.VERSION, naming.PLURAL, registry=registry, id="onezone")(
        wake_zone
    )
    kopf.on.event(naming.GROUP, naming.VERSION, naming.TASK_PLURAL, registry=registry, id="task")(
        wake_zone_of
    )
    kopf.on.event(
        naming.GROUP, naming.VERSION, naming.BACKUP_PLURAL, registry=registry, id="backup"
    )(wake_zone_of)
    labels: Mapping[str, Any] = {
        naming.MANAGED_BY_LABEL: naming.OPERATOR,
        naming.ZONE_LABEL: kopf.PRESENT,
    }
    for group, version, plural in (
        ("apps", "v1", "statefulsets"),
        ("", "v1", "pods"),
        ("discovery.k8s.io", "v1", "endpointslices"),
        ("batch", "v1", "jobs"),
    ):
        kopf.on.event(group, version, plural, labels=labels, registry=registry, id=plural)(
            wake_owner
        )


async def wake_zone(*, namespace: str | None, name: str, memo: Runtime, **_: Any) -> None:
    """A OneZone appeared, changed or went."""
    if memo.wakeups is not None and namespace is not None:
        memo.wakeups.wake(namespace, name)


async def wake_owner(
    *, namespace: str | None, labels: Mapping[str, str], memo: Runtime, **_: Any
) -> None:
    """An object of a zone changed."""
    if memo.wakeups is not None and namespace is not None:
        memo.wakeups.wake(namespace, labels[naming.ZONE_LABEL])


async def wake_zone_of(
    *, namespace: str | None, spec: Mapping[str, Any], memo: Runtime, **_: Any
) -> None:
    """A task or a backup appeared, changed or went."""
    zone = (spec.get("zoneRef") or {}).get("name")
    if memo.wakeups is not None and namespace is not None and zone:
        memo.wakeups.wake(namespace, zone)
