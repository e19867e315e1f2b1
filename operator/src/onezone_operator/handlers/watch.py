"""Events of what people write: each is only a reason to look at the zone again. Those of a zone's
objects come from the operator's own watches (``kube.informer``).
"""

from __future__ import annotations

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


async def wake_zone(*, namespace: str | None, name: str, memo: Runtime, **_: Any) -> None:
    """A OneZone appeared, changed or went."""
    if namespace is not None:
        memo.wake(namespace, name)
