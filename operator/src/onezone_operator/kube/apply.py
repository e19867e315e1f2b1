"""What a pass writes to Kubernetes: objects, secrets, the route, a status.

Objects are applied server-side by one field manager. Callers apply only what differs, so that a
zone at rest costs no write.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from onezone_operator import naming
from onezone_operator.errors import Conflict, FactsChanged, NotFound
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.observed import Manifest, ObjectKey
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonetask import OneZoneTask, OneZoneTaskStatus
from onezone_operator.models.status import OneZoneStatus
from onezone_operator.resources.metadata import build_metadata

__all__ = [
    "annotate_secret",
    "apply_objects",
    "create_secret",
    "delete_object",
    "delete_pod",
    "fence_pod",
    "read_secret",
    "replace_secret",
    "set_secret_owner",
    "write_route",
    "write_status",
    "write_task_status",
]

_CONDITIONAL = frozenset({"StatefulSet", "ConfigMap"})
"""Kinds whose content says another thing at another time."""

_NEVER = "1"
"""A version that no object has: etcd begins with it. The API server makes an object that is not
there whatever version its manifest names, and refuses to change one of another version."""


async def apply_objects(
    kube: KubeApi, manifests: tuple[Manifest, ...], *, seen: Mapping[ObjectKey, Manifest]
) -> None:
    """Apply in order: what comes later may need what comes before.

    A call of an operator that was killed may arrive late, when the next one has gone further. What
    was not seen is therefore made and never changed: it would be someone else's, or one's own of a
    later time. And a StatefulSet is changed only if it still is the one that was seen, as it was:
    late, its number of pods would take the pod of a server that became a member meanwhile. So is a
    ConfigMap: late, it would name a server that founds the zone once more. Everything else says
    the same at any time.

    Raises:
        FactsChanged: one of them changed meanwhile, came to be, or is gone.
    """
    for manifest in manifests:
        live = seen.get((manifest["kind"], manifest["metadata"]["name"]))
        if live is None:
            condition = {"resourceVersion": _NEVER}
        elif manifest["kind"] in _CONDITIONAL:
            condition = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
        else:
            condition = {}
        conditional = {**manifest, "metadata": {**manifest["metadata"], **condition}}
        try:
            await kube.apply(conditional, manager=naming.FIELD_MANAGER)
        except Conflict as error:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            raise FactsChanged(f"{name} is not what was seen any more") from error


async def read_secret(kube: KubeApi, zone: OneZone, name: str) -> Manifest | None:
    """A Secret, None when it does not exist."""
    try:
        return await kube.get("Secret", zone.namespace, name)
    except NotFound:
        return None


async def replace_secret(
    kube: KubeApi,
    zone: OneZone,
    name: str,
    values: Mapping[str, bytes],
    *,
    live: Manifest | None,
    annotations: Mapping[str, str | None] | None = None,
    kind: str = "Opaque",
) -> None:
    """Write a Secret whole, over the one that was read and no other.

    Args:
        kube: the API.
        zone: whose it is.
        name: of the Secret.
        values: all of them; what else is in it is removed.
        live: the Secret that the values were made from, None if there was none.
        annotations: to be set, or removed where None.
        kind: type of the Secret.

    Raises:
        FactsChanged: it was made or changed meanwhile.
    """
    if live is None:
        await create_secret(kube, zone, name, values, live=None, kind=kind)
        return
    metadata: dict[str, Any] = build_metadata(zone, name)
    metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
    if annotations:
        metadata["annotations"] = dict(annotations)
    gone: dict[str, str | None] = dict.fromkeys(live.get("data") or {})
    change = {"metadata": metadata, "data": {**gone, **_encoded(values)}}
    try:
        await kube.patch(
            "Secret", zone.namespace, name, change, manager=naming.SECRET_FIELD_MANAGER
        )
    except Conflict as error:
        raise FactsChanged(f"Secret {name} was changed meanwhile") from error


async def create_secret(
    kube: KubeApi,
    zone: OneZone,
    name: str,
    values: Mapping[str, bytes],
    *,
    live: Manifest | None,
    owned: bool = True,
    annotations: dict[str, str] | None = None,
    kind: str = "Opaque",
) -> None:
    """Write a Secret that is made once: never over one that was not seen.

    What is in it cannot be made a second time. A call of an operator that was killed may arrive
    when the next one has made the Secret already, and servers live by it.

    Args:
        kube: the API.
        zone: whose it is.
        name: of the Secret.
        values: all of them.
        live: the useless Secret of this name that was seen, None if there was none.
        owned: whether it goes when the OneZone goes.
        annotations: beside the usual metadata.
        kind: type of the Secret.

    Raises:
        FactsChanged: it was made or changed meanwhile.
    """
    manifest = _build_secret(zone, name, values, owned=owned, annotations=annotations, kind=kind)
    try:
        if live is None:
            await kube.create(manifest, manager=naming.SECRET_FIELD_MANAGER)
            return
        manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        await kube.apply(manifest, manager=naming.SECRET_FIELD_MANAGER)
    except Conflict as error:
        raise FactsChanged(f"Secret {name} was made meanwhile") from error


def _build_secret(
    zone: OneZone,
    name: str,
    values: Mapping[str, bytes],
    *,
    owned: bool,
    annotations: dict[str, str] | None,
    kind: str,
) -> Manifest:
    metadata = build_metadata(zone, name, annotations=annotations)
    if not owned:
        del metadata["ownerReferences"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": kind,
        "data": _encoded(values),
    }


def _encoded(values: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


async def annotate_secret(
    kube: KubeApi, zone: OneZone, name: str, annotations: dict[str, str]
) -> None:
    """Add annotations to a Secret, under the manager that made it."""
    await kube.patch(
        "Secret",
        zone.namespace,
        name,
        {"metadata": {"annotations": annotations}},
        manager=naming.SECRET_FIELD_MANAGER,
    )


async def set_secret_owner(kube: KubeApi, zone: OneZone, name: str, *, owned: bool) -> None:
    """Let a Secret go with the OneZone, or stay."""
    owners = build_metadata(zone, name)["ownerReferences"] if owned else []
    await kube.patch(
        "Secret",
        zone.namespace,
        name,
        {"metadata": {"ownerReferences": owners}},
        manager=naming.SECRET_FIELD_MANAGER,
    )


async def write_route(
    kube: KubeApi,
    zone: OneZone,
    *,
    leader: str,
    address: str,
    node: str | None,
    pod_uid: str,
    term: int,
) -> None:
    """Point the leader's slice at a pod, unless a later term was there first.

    Raises:
        FactsChanged: it was written meanwhile, or carries a later term.
    """
    name = naming.leader_slice_name(zone.name)
    live = await kube.get("EndpointSlice", zone.namespace, name)
    annotations = live["metadata"].get("annotations") or {}
    known = annotations.get(naming.TERM_ANNOTATION, "0")
    if known.isdecimal() and int(known) > term:
        raise FactsChanged(f"the route was written in term {known}, later than {term}")
    endpoint: dict[str, Any] = {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {
            "kind": "Pod",
            "name": leader,
            "namespace": zone.namespace,
            "uid": pod_uid,
        },
    }
    if node is not None:
        endpoint["nodeName"] = node
    change = {
        "metadata": {
            # Compare and swap: the leader's hook writes here too.
            "resourceVersion": live["metadata"]["resourceVersion"],
            "annotations": {
                naming.TERM_ANNOTATION: str(term),
                naming.LEADER_ANNOTATION: leader,
            },
        },
        "endpoints": [endpoint],
    }
    try:
        await kube.patch(
            "EndpointSlice", zone.namespace, name, change, manager=naming.ROUTE_FIELD_MANAGER
        )
    except Conflict as error:
        raise FactsChanged("the route was written by its leader meanwhile") from error


async def delete_pod(kube: KubeApi, zone: OneZone, name: str, *, uid: str) -> None:
    """Delete exactly this pod; one that is gone already is fine.

    Raises:
        FactsChanged: another pod has its name by now.
    """
    await delete_object(kube, zone, "Pod", name, uid=uid)


async def fence_pod(kube: KubeApi, zone: OneZone, name: str, *, uid: str, is_fenced: bool) -> None:
    """Mark exactly this pod as fenced, or take the mark away.

    Raises:
        FactsChanged: it is gone, or another pod has its name by now.
    """
    # With a uid in it, a patch of another pod is refused.
    mark = {naming.FENCED_ANNOTATION: "true" if is_fenced else None}
    change = {"metadata": {"uid": uid, "annotations": mark}}
    try:
        await kube.patch("Pod", zone.namespace, name, change, manager=naming.FIELD_MANAGER)
    except (Conflict, NotFound) as error:
        raise FactsChanged(f"pod {name} was replaced meanwhile") from error


async def delete_object(kube: KubeApi, zone: OneZone, kind: str, name: str, *, uid: str) -> None:
    """Delete exactly this object; one that is gone already is fine.

    Raises:
        FactsChanged: another one has its name by now.
    """
    try:
        await kube.delete(kind, zone.namespace, name, uid=uid)
    except NotFound:
        return
    except Conflict as error:
        raise FactsChanged(f"{kind} {name} was replaced meanwhile") from error


async def write_task_status(kube: KubeApi, task: OneZoneTask, status: OneZoneTaskStatus) -> None:
    """Write a task's status over the one that was seen.

    Raises:
        FactsChanged: the task changed since it was read, or is gone.
    """
    try:
        await kube.patch(
            naming.TASK_KIND,
            task.metadata.namespace,
            task.name,
            {
                "metadata": {"resourceVersion": task.metadata.resource_version},
                "status": status.model_dump(by_alias=True),
            },
            manager=naming.STATUS_FIELD_MANAGER,
            subresource="status",
        )
    except (Conflict, NotFound) as error:
        raise FactsChanged(f"task {task.name} changed meanwhile") from error


async def write_status(kube: KubeApi, zone: OneZone, status: OneZoneStatus) -> Manifest | None:
    """Write a status that differs from the one there; the OneZone after that, None if it did not.

    Raises:
        Conflict: the OneZone changed since it was read.
    """
    if status == zone.status:
        return None
    content = status.model_dump(by_alias=True)
    content["servers"] = [
        {key: value for key, value in server.items() if value is not None}
        for server in content["servers"]
    ]
    return await kube.patch(
        naming.KIND,
        zone.namespace,
        zone.name,
        {
            "metadata": {"resourceVersion": zone.metadata.resource_version},
            "status": content,
        },
        manager=naming.STATUS_FIELD_MANAGER,
        subresource="status",
    )
