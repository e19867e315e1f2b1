"""Reads everything that Kubernetes knows of one zone, and turns it into facts.

Secrets' values stay here: facts hold no key and no password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from onezone_operator import naming
from onezone_operator.errors import KindUnknown, NotFound
from onezone_operator.kube.authority import certificate_ends
from onezone_operator.kube.backups import read_backup_facts
from onezone_operator.kube.certificates import (
    parse_api_certificate,
    parse_authority,
    parse_peers,
)
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.observed import (
    Manifest,
    ObjectKey,
    ObservedPod,
    ObservedRoute,
    ObservedStatefulSet,
    ObservedVolume,
    ObservedZone,
)
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.resources.metadata import is_foreign
from onezone_operator.resources.policies import POLICY, policy_names
from onezone_operator.resources.tls import api_secret_name

__all__ = ["Credentials", "Observation", "observe_kubernetes", "read_zone"]

_RESIZE_CONDITIONS = frozenset(
    {"Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError"}
)
_WAITING_IS_NORMAL = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a call of a server needs; never printed.

    Attributes:
        session: oneadmin's name and password.
        authority: PEM of what https servers' certificates are held against; empty for http.
    """

    session: str
    authority: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, slots=True)
class Observation:
    """The facts, and beside them what only ``zone`` may see."""

    zone: ObservedZone
    credentials: Credentials | None


async def read_zone(kube: KubeApi, namespace: str, name: str) -> Manifest | None:
    """The OneZone as it is now, None when it is gone."""
    try:
        return await kube.get(naming.KIND, namespace, name)
    except NotFound:
        return None


async def observe_kubernetes(kube: KubeApi, zone: OneZone) -> Observation:
    """Read all of the zone's objects at once.

    Raises:
        KubeError: something could not be read. A partial view is never returned: what is absent
            in it would look as if it did not exist.
    """
    keys = _object_keys(zone)
    selector = f"{naming.ZONE_LABEL}={zone.name}"
    calls: list[Awaitable[Any]] = [_get(kube, zone, key) for key in keys]
    calls += [
        kube.list_objects("Pod", zone.namespace, selector=selector),
        kube.list_objects("PersistentVolumeClaim", zone.namespace, selector=selector),
        _tasks(kube, zone),
        read_backup_facts(kube, zone),
        _spare_policies(kube, zone),
        _certificate(kube, zone),
    ]
    *found, pods, volumes, tasks, (backups, jobs), policies, (certificate, lacks) = await _all(
        calls
    )
    if certificate is not None:
        keys.append((naming.CERTIFICATE_KIND, naming.tls_secret_name(zone.name)))
        found.append(certificate)
    objects = {key: value for key, value in zip(keys, found, strict=True) if value is not None}
    objects |= policies
    authority_secret = objects.get(("Secret", naming.authority_secret_name(zone.name)))
    peers_secret = objects.get(("Secret", naming.peers_secret_name(zone.name)))
    tls_secret = objects.get(("Secret", api_secret_name(zone))) if zone.spec.tls.enabled else None
    credentials = _credentials(objects.get(("Secret", _auth_name(zone))), tls_secret)
    statefulset = objects.get(("StatefulSet", zone.name))
    route = objects.get(("EndpointSlice", naming.leader_slice_name(zone.name)))
    observed = ObservedZone(
        objects={key: _without_data(value) for key, value in objects.items()},
        authority=None
        if authority_secret is None
        else parse_authority(secret_data(authority_secret), _annotations(authority_secret)),
        has_credentials=credentials is not None,
        certificates=certificate_ends(secret_data(authority_secret), secret_data(peers_secret)),
        peers=parse_peers(secret_data(peers_secret)),
        api_certificate=parse_api_certificate(
            api_secret_name(zone),
            None if tls_secret is None else secret_data(tls_secret),
            secret_data(authority_secret),
        )
        if zone.spec.tls.enabled
        else None,
        statefulset=None if statefulset is None else _statefulset(statefulset),
        pods=tuple(_pod(each) for each in sorted(pods, key=_name)),
        volumes=tuple(_volume(each) for each in sorted(volumes, key=_name)),
        route=None if route is None else _route(route),
        tasks=tasks,
        backups=_wanted(zone, tasks, backups),
        jobs=jobs,
        lacks_cert_manager=lacks,
    )
    return Observation(observed, credentials)


def secret_data(secret: Manifest | None) -> dict[str, bytes]:
    """A Secret's values, decoded; those that are not base64 are left out."""
    values = {}
    for key, value in ((secret or {}).get("data") or {}).items():
        try:
            values[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
    return values


async def _all(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """All answers, or the first error once every call has ended: none is left running."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


async def _get(kube: KubeApi, zone: OneZone, key: ObjectKey) -> Manifest | None:
    try:
        return {"kind": key[0], **await kube.get(key[0], zone.namespace, key[1])}
    except NotFound:
        return None


async def _certificate(kube: KubeApi, zone: OneZone) -> tuple[Manifest | None, bool]:
    """What cert-manager is asked for, and whether the cluster cannot know of it."""
    if zone.spec.tls.issuer_ref is None:
        return None, False
    key = (naming.CERTIFICATE_KIND, naming.tls_secret_name(zone.name))
    try:
        return {"kind": key[0], **await kube.get(key[0], zone.namespace, key[1])}, False
    except NotFound as error:
        return None, isinstance(error, KindUnknown)


async def _tasks(kube: KubeApi, zone: OneZone) -> tuple[OneZoneTask, ...]:
    """The zone's tasks, the oldest first. They carry no label: users make them."""
    try:
        found = await kube.list_objects(naming.TASK_KIND, zone.namespace, selector="")
    except NotFound:
        return ()  # the CRD is not installed: nobody can have made one
    own = [each for each in found if _zone_of(each) == zone.name]
    tasks = []
    for each in own:
        with contextlib.suppress(ValidationError):  # the CRD refuses what this version cannot read
            tasks.append(OneZoneTask.model_validate(each))
    return tuple(sorted(tasks, key=lambda task: task.order))


async def _spare_policies(kube: KubeApi, zone: OneZone) -> dict[ObjectKey, Manifest]:
    """What a zone that shall have no policies has of them.

    By a list, which a watch answers: what is absent would be asked of the API server again and
    again.
    """
    if zone.spec.network_policy.enabled:
        return {}
    selector = f"{naming.ZONE_LABEL}={zone.name}"
    found = await kube.list_objects(POLICY, zone.namespace, selector=selector)
    own = {each["metadata"]["name"]: each for each in found if not is_foreign(zone, each)}
    return {
        (POLICY, name): {"kind": POLICY, **own[name]}
        for name in policy_names(zone.name)
        if name in own
    }


def _wanted(
    zone: OneZone, tasks: Sequence[OneZoneTask], backups: Sequence[OneZoneBackup]
) -> tuple[OneZoneBackup, ...]:
    """The zone's backups, and those that it or a task of it begins with."""
    names = {task.spec.backup_ref.name for task in tasks if task.spec.backup_ref is not None}
    restore = zone.spec.bootstrap.restore if zone.spec.bootstrap is not None else None
    if restore is not None and restore.backup_ref is not None:
        names.add(restore.backup_ref.name)
    return tuple(each for each in backups if each.zone == zone.name or each.name in names)


def _zone_of(live: Manifest) -> str:
    return str(((live.get("spec") or {}).get("zoneRef") or {}).get("name") or "")


def _object_keys(zone: OneZone) -> list[ObjectKey]:
    name = zone.name
    tls = [("Secret", api_secret_name(zone))] if zone.spec.tls.enabled else []
    policies = policy_names(name) if zone.spec.network_policy.enabled else ()
    return [
        *tls,
        *((POLICY, each) for each in policies),
        ("Secret", naming.authority_secret_name(name)),
        ("Secret", naming.peers_secret_name(name)),
        ("Secret", _auth_name(zone)),
        ("ServiceAccount", name),
        ("Role", name),
        ("RoleBinding", name),
        ("ConfigMap", naming.config_map_name(name)),
        ("Service", naming.leader_service_name(name)),
        ("Service", naming.any_service_name(name)),
        ("Service", naming.servers_service_name(name)),
        ("EndpointSlice", naming.leader_slice_name(name)),
        ("PodDisruptionBudget", name),
        ("StatefulSet", name),
    ]


def _auth_name(zone: OneZone) -> str:
    reference = zone.spec.credentials_secret_ref
    return reference.name if reference is not None else naming.auth_secret_name(zone.name)


def _credentials(secret: Manifest | None, tls_secret: Manifest | None) -> Credentials | None:
    authority = secret_data(tls_secret).get(naming.AUTHORITY_KEY, b"").decode(errors="replace")
    text = secret_data(secret).get(naming.AUTH_KEY, b"").decode(errors="replace").strip()
    user, separator, password = text.partition(":")
    return Credentials(text, authority) if separator and user and password else None


def _statefulset(live: Manifest) -> ObservedStatefulSet:
    status = live.get("status", {})
    generation = live["metadata"].get("generation", 0)
    return ObservedStatefulSet(
        replicas=live["spec"].get("replicas", 1),
        update_revision=status.get("updateRevision"),
        is_current=status.get("observedGeneration", -1) >= generation,
    )


def _pod(live: Manifest) -> ObservedPod:
    metadata, status = live["metadata"], live.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        created=_moment(metadata.get("creationTimestamp")),
        node=live.get("spec", {}).get("nodeName"),
        address=status.get("podIP"),
        is_terminating=metadata.get("deletionTimestamp") is not None,
        revision=(metadata.get("labels") or {}).get(naming.REVISION_LABEL),
        is_fenced=_annotations(live).get(naming.FENCED_ANNOTATION) == "true",
        trouble=_trouble(status, conditions),
    )


def _trouble(status: dict[str, Any], conditions: dict[str, dict[str, Any]]) -> str | None:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason')}: {scheduled.get('message', '')}".rstrip(": ")
    containers = [*(status.get("initContainerStatuses") or [])]
    containers += status.get("containerStatuses") or []
    for container in containers:
        waiting = container.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in _WAITING_IS_NORMAL:
            text = f"{waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": ")
            ended = container.get("lastState", {}).get("terminated") or {}
            if ended.get("exitCode") is not None:
                # A crash loop's own message holds a back-off time, which changes all the time.
                return f"{waiting.get('reason')}: the last run ended with {ended['exitCode']}"
            return text
    return None


def _volume(live: Manifest) -> ObservedVolume:
    metadata, spec, status = live["metadata"], live.get("spec") or {}, live.get("status") or {}
    owners = {owner["kind"] for owner in metadata.get("ownerReferences") or []}
    resize, is_failing = _resize(status)
    return ObservedVolume(
        name=metadata["name"],
        zone_uuid=_annotations(live).get(naming.UUID_ANNOTATION),
        is_bound=status.get("phase") == "Bound",
        is_terminating=metadata.get("deletionTimestamp") is not None,
        uid=metadata["uid"],
        version=metadata.get("resourceVersion", ""),
        requested=((spec.get("resources") or {}).get("requests") or {}).get("storage"),
        capacity=(status.get("capacity") or {}).get("storage"),
        storage_class=spec.get("storageClassName"),
        is_owned="StatefulSet" in owners,
        resize=resize,
        is_resize_failing=is_failing,
    )


def _resize(status: dict[str, Any]) -> tuple[str, bool]:
    """Where an expansion is, and whether that is trouble. Of messages only those of errors: they
    say what to do, and the others change all the time.
    """
    state = (status.get("allocatedResourceStatuses") or {}).get("storage", "")
    conditions = {
        each["type"]: each
        for each in status.get("conditions") or []
        if each.get("status") == "True" and each["type"] in _RESIZE_CONDITIONS
    }
    failed = [each for kind, each in conditions.items() if kind.endswith("Error")]
    words = ", ".join(sorted({state, *conditions} - {""}))
    told = [each["message"] for each in failed if each.get("message")]
    return ": ".join([words, *told]), bool(failed) or state.endswith("Infeasible")


def _route(live: Manifest) -> ObservedRoute:
    annotations = _annotations(live)
    term = annotations.get(naming.TERM_ANNOTATION, "")
    addresses = [
        address
        for endpoint in live.get("endpoints") or []
        for address in endpoint.get("addresses") or []
    ]
    return ObservedRoute(
        addresses=tuple(addresses),
        leader=annotations.get(naming.LEADER_ANNOTATION),
        term=int(term) if term.isdecimal() else None,
    )


def _without_data(live: Manifest) -> Manifest:
    if live.get("kind") != "Secret":
        return live
    return {key: value for key, value in live.items() if key not in {"data", "stringData"}}


def _annotations(live: Manifest) -> dict[str, str]:
    return live["metadata"].get("annotations") or {}


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


def _name(live: Manifest) -> str:
    return str(live["metadata"]["name"])
