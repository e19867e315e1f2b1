"""Reads what the commands show. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from onezone_operator import naming
from onezone_operator.config import Settings
from onezone_operator.errors import KubeError, NotFound, OperatorError, ZoneError
from onezone_operator.kube import KubeReader
from onezone_operator.kube.observe import observe_kubernetes
from onezone_operator.models.observed import Manifest, ObservedZone, ServerReport
from onezone_operator.models.onezone import OneZone
from onezone_operator.plugin.view import Facts
from onezone_operator.resources.policies import POLICY, find_operator_namespace
from onezone_operator.zone.codec import parse_report

__all__ = ["Material", "gather", "gather_all", "gather_report", "lines", "parse_zone", "read_one"]

ZONES_AT_ONCE = 8
"""Zones that are read at the same time."""

LOG_BYTES_MAX = 4 * 1024 * 1024
"""Of each server in a report."""

LINE_MAX = 1024 * 1024
"""Bytes of one line of a log."""

_OBJECTS = ("Pod", "StatefulSet", "Service", "EndpointSlice", "PersistentVolumeClaim")


async def read_one(kube: KubeReader, namespace: str, name: str) -> Manifest:
    """The OneZone; ``NotFound`` in words."""
    try:
        return await kube.get(naming.KIND, namespace, name)
    except NotFound as error:
        raise NotFound(f"there is no OneZone {name} in namespace {namespace}") from error


def parse_zone(raw: Manifest) -> OneZone:
    """The OneZone as a model.

    Raises:
        OperatorError: it is not one that this version knows.
    """
    try:
        return OneZone.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise OperatorError(f"the OneZone is unreadable: {place}: {first['msg']}") from error


async def gather(kube: KubeReader, raw: Manifest) -> Facts:
    """Everything that the plan and the status are made of."""
    zone = parse_zone(raw)
    observation = await observe_kubernetes(kube, zone)
    observed = observation.zone
    reports, silent = {}, {}
    names = [pod.name for pod in observed.pods]
    answers = await asyncio.gather(*(_report(kube, zone.namespace, name) for name in names))
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, ServerReport):
            reports[name] = answer
        else:
            silent[name] = answer
    route = observed.objects.get(("EndpointSlice", naming.leader_slice_name(zone.name)), {})
    return Facts(
        zone=_completed(zone, observed),
        observed=replace(observed, reports=reports),
        silent=silent,
        unread=frozenset(kube.forbidden),
        address_type=route.get("addressType", "IPv4"),
    )


async def gather_all(kube: KubeReader, raws: list[Manifest]) -> list[Facts]:
    """The same of several zones."""
    gate = asyncio.Semaphore(ZONES_AT_ONCE)

    async def one(raw: Manifest) -> Facts:
        async with gate:
            return await gather(kube, raw)

    answers = await asyncio.gather(*(one(raw) for raw in raws), return_exceptions=True)
    facts = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        facts.append(answer)
    return facts


class Material:
    """What a report is made of; what could not be read is in ``missing``."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Manifest]] = {}
        self.statuses: dict[str, Any] = {}
        self.logs: dict[str, bytes] = {}
        self.secrets: list[Manifest] = []
        self.missing: dict[str, str] = {}


async def gather_report(kube: KubeReader, zone: OneZone) -> Material:
    """Objects, events, ``/status`` and logs. Secrets are read to be looked for, and not kept."""
    found, namespace = Material(), zone.namespace
    selector = f"{naming.ZONE_LABEL}={zone.name}"
    for kind in _OBJECTS:
        try:
            found.objects[kind] = await kube.list_objects(kind, namespace, selector=selector)
        except KubeError as error:
            found.missing[kind] = str(error)
        if kind in kube.forbidden:
            found.missing[kind] = "you may not list them"
    try:
        events = await kube.list_events(namespace)
        found.objects["Event"] = [each for each in events if _is_about(zone, each)]
    except KubeError as error:
        found.missing["Event"] = str(error)
    for pod in found.objects.get("Pod", []):
        await _read_server(kube, zone, pod, found)
    reference = zone.spec.credentials_secret_ref
    for name in (
        naming.authority_secret_name(zone.name),
        naming.peers_secret_name(zone.name),
        reference.name if reference is not None else naming.auth_secret_name(zone.name),
    ):
        try:
            found.secrets.append(await kube.get("Secret", namespace, name))
        except KubeError as error:
            found.missing[f"Secret {name}, to be looked for"] = str(error)
    return found


async def _read_server(kube: KubeReader, zone: OneZone, pod: Manifest, found: Material) -> None:
    name = pod["metadata"]["name"]
    try:
        found.statuses[name] = await kube.read_status(zone.namespace, name)
    except KubeError as error:
        found.missing[f"status of {name}"] = str(error)
    statuses = pod.get("status", {}).get("containerStatuses") or []
    restarted = any(each.get("restartCount") for each in statuses)
    for previous in (False, True) if restarted else (False,):
        key = f"{name}.previous" if previous else name
        try:
            chunks = [
                chunk
                async for chunk in kube.stream_log(
                    zone.namespace,
                    name,
                    follow=False,
                    limit_bytes=LOG_BYTES_MAX,
                    previous=previous,
                )
            ]
            found.logs[key] = b"".join(chunks)
        except KubeError as error:
            found.missing[f"log of {key}"] = str(error)


async def _report(kube: KubeReader, namespace: str, pod: str) -> ServerReport | str:
    try:
        report = parse_report(await kube.read_status(namespace, pod))
    except (KubeError, ZoneError) as error:
        return f"no answer: {error}"
    return report if report.name == pod else f"answers as {report.name}"


def _is_about(zone: OneZone, event: Manifest) -> bool:
    """Events of the zone, and of what is named after it."""
    name = str(event.get("involvedObject", {}).get("name", ""))
    name = name.removeprefix(f"{naming.DATA_VOLUME}-")
    rest = name.removeprefix(f"{zone.name}-")
    known = {"any", "auth", "ca", "config", "leader", "peers", "servers"}
    return name == zone.name or (rest != name and (rest.isdecimal() or rest in known))


def _completed(zone: OneZone, observed: ObservedZone) -> OneZone:
    """A zone that names no image runs the operator's default, which its StatefulSet tells; its
    NetworkPolicy tells where the operator is.
    """
    live = observed.objects.get(("StatefulSet", zone.name), {})
    pod = live.get("spec", {}).get("template", {}).get("spec", {})
    images = [
        each["image"] for each in pod.get("containers", []) if each["name"] == naming.CONTAINER
    ]
    image = images[0] if images else Settings.model_fields["oned_image"].default
    policy = observed.objects.get((POLICY, naming.servers_policy_name(zone.name)))
    return zone.completed(image=image, operator_namespace=find_operator_namespace(policy))


async def lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines of a stream of pieces; one that is too long is cut in two."""
    rest = b""
    async for piece in stream:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > LINE_MAX:
            yield rest
            rest = b""
    if rest:
        yield rest
