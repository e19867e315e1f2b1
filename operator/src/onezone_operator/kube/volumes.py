"""What a change of volumes writes: a larger claim, and a StatefulSet that lets its pods go.

Both name the version that was seen: a call of an operator that was killed may arrive when the next
one has gone further.
"""

from __future__ import annotations

from onezone_operator import naming
from onezone_operator.errors import (
    Conflict,
    FactsChanged,
    Forbidden,
    Invalid,
    NotFound,
    VolumeRefused,
)
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.onezone import OneZone

__all__ = ["delete_stateful_set", "expand_volume"]


async def expand_volume(
    kube: KubeApi, zone: OneZone, name: str, *, uid: str, version: str, size: str
) -> None:
    """Let exactly this claim ask for so much.

    Raises:
        FactsChanged: it is gone, or changed meanwhile.
        VolumeRefused: its storage class, a quota or a rule does not allow it.
    """
    change = {
        "metadata": {"uid": uid, "resourceVersion": version},
        "spec": {"resources": {"requests": {"storage": size}}},
    }
    try:
        await kube.patch(
            "PersistentVolumeClaim", zone.namespace, name, change, manager=naming.FIELD_MANAGER
        )
    except (Conflict, NotFound) as error:
        raise FactsChanged(f"the claim {name} changed meanwhile") from error
    except (Forbidden, Invalid) as error:
        raise VolumeRefused(error.said) from error


async def delete_stateful_set(kube: KubeApi, zone: OneZone, *, uid: str, version: str) -> None:
    """Delete exactly this StatefulSet and nothing of what it made: pods run on.

    Raises:
        FactsChanged: it changed meanwhile.
    """
    try:
        await kube.delete(
            "StatefulSet", zone.namespace, zone.name, uid=uid, version=version, orphans=True
        )
    except NotFound:
        return
    except Conflict as error:
        raise FactsChanged("the StatefulSet changed meanwhile") from error
