"""Keeps a ``Store`` up to date: one list and one watch for each kind.

A list is asked for anew whenever a watch cannot go on where it ended, so that no deletion is
missed. What is not heard of for too long is not answered from (``is_fresh``).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import structlog

from onezone_operator import naming
from onezone_operator.errors import Gone, KubeError, NotFound
from onezone_operator.kube.client import KubeClient
from onezone_operator.kube.store import Place, Store

__all__ = ["WATCHED", "Informers"]

_ZONES = [("labelSelector", naming.ZONE_LABEL)]
"""Only what belongs to a zone is sent to the operator and held by it."""

WATCHED: Mapping[str, list[tuple[str, str]]] = {
    naming.KIND: [],
    naming.TASK_KIND: [],
    naming.BACKUP_KIND: [],
    "ConfigMap": _ZONES,
    # Not those that Kubernetes makes for the other Services.
    "EndpointSlice": [
        ("labelSelector", f"{naming.ZONE_LABEL},{naming.SLICE_MANAGED_BY_LABEL}={naming.OPERATOR}")
    ],
    "Job": _ZONES,
    "NetworkPolicy": _ZONES,
    "PersistentVolumeClaim": _ZONES,
    "Pod": _ZONES,
    "PodDisruptionBudget": _ZONES,
    "Role": _ZONES,
    "RoleBinding": _ZONES,
    "Secret": _ZONES,
    "Service": _ZONES,
    "ServiceAccount": _ZONES,
    "StatefulSet": _ZONES,
}
"""Kind → what selects its objects. A kind is one line here, and one in ``naming.RBAC_RULES``."""

WATCH_SECONDS = 240.0
"""A watch ends after this and begins again where it was: a connection that died in silence is
found out a little later."""

SILENCE_SECONDS = 120.0
"""A watch sends a bookmark a minute. One that was silent for longer is not believed."""

DOUBT_SECONDS = 10.0
"""Watches are doubted at most so often: an API server that is slow is not made slower."""

ABSENT_KIND_SECONDS = 30.0
"""A kind that is not installed is asked for again after this."""

_BACKOFF_FIRST, _BACKOFF_MAX = 0.25, 5.0

log = structlog.get_logger()


class Informers:
    """Use as an async context manager: it watches while inside.

    Args:
        client: the connection.
        store: what is filled.
        clock: seconds that only grow.
    """

    def __init__(
        self, client: KubeClient, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._heard: dict[Place, float] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._doubted = -DOUBT_SECONDS

    async def __aenter__(self) -> Self:
        for place in self._store.places():
            self._start(place)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def is_fresh(self) -> bool:
        """Whether every kind was heard of lately."""
        oldest = self._clock() - SILENCE_SECONDS
        return all(self._heard.get(place, oldest) > oldest for place in self._store.places())

    def doubt(self) -> None:
        """Begin every watch anew, where it was: what was written has not been heard of.

        A connection whose other end went without a word, as when a node's network is away for a
        moment, looks like one on which nothing happens.
        """
        if self._clock() - self._doubted < DOUBT_SECONDS:
            return
        self._doubted = self._clock()
        log.warning("watches are begun anew: something that was written was not heard of")
        for place in self._store.places():
            self._start(place)

    def _start(self, place: Place) -> None:
        before = self._tasks.get(place)
        if before is not None:
            before.cancel()
        self._tasks[place] = asyncio.create_task(
            self._follow(place, before), name=f"watch {place[0]}"
        )

    async def _follow(self, place: Place, before: asyncio.Task[None] | None = None) -> None:
        if before is not None:
            await asyncio.wait({before})
        failures, version = 0, self._store.heard(place)
        while True:
            try:
                if not version:
                    version = await self._list(place)
                    failures = 0
                version = await self._watch(place, version)
            except Gone:
                version = ""
            except NotFound:
                # Helm installs no kind that came with a new version: without it there are none.
                version = ""
                self._store.replace(place, (), "")
                self._heard[place] = self._clock()
                await asyncio.sleep(ABSENT_KIND_SECONDS)
            except KubeError as error:
                version = ""
                failures += 1
                if failures > 1:
                    log.warning("watch failed", kind=place[0], reason=str(error))
                longest = min(_BACKOFF_FIRST * 2.0 ** min(failures, 10), _BACKOFF_MAX)
                await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _list(self, place: Place) -> str:
        kind, namespace = place
        items, version = await self._client.list_all(kind, namespace, WATCHED[kind])
        self._store.replace(place, items, version)
        self._heard[place] = self._clock()
        return version

    async def _watch(self, place: Place, version: str) -> str:
        """Follow a kind from a version to the watch's end; the version to go on from."""
        kind, namespace = place
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 - not all at once
        async for event in self._client.watch(
            kind, namespace, WATCHED[kind], version=version, seconds=seconds
        ):
            self._heard[place] = self._clock()
            self._store.handle(place, event)
            version = str(event["object"]["metadata"]["resourceVersion"])
        self._heard[place] = self._clock()
        return version
