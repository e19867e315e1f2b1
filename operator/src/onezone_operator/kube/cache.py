"""``KubeApi`` that reads from a ``Store`` and writes to the API server.

Three rules make old facts harmless (docs/explanation/operator-scale.md has the argument):

- What this process wrote it reads: a read waits until the store has heard of the last write.
- What the store does not know is asked for. It holds only objects with a zone's label, so that a
  foreign object under one of a zone's names, or a user's Secret, is found by asking.
- Writes that could destroy carry a uid or a version, so that the API server refuses those that
  were planned on old facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from onezone_operator import naming
from onezone_operator.errors import NotFound, Unavailable
from onezone_operator.kube.ports import KubeApi
from onezone_operator.kube.store import Store, version_of
from onezone_operator.models.observed import Manifest

__all__ = ["CachedKube"]

CATCH_UP_SECONDS = 5.0
"""A watch is milliseconds behind. One that is so late is broken, and the pass ends."""

ABSENT_SECONDS = 10.0
"""An object that was not there is not asked for again so soon. It can be made meanwhile, not
changed, so that one that came to be is noticed and left alone."""

REMEMBERED_MAX = 10_000
"""Writes to be heard of and absent objects that are remembered, before they are looked through."""

Key = tuple[str, str, str]


class CachedKube:
    """Reads from the store, writes through.

    Args:
        api: the API server.
        store: what was heard of it.
        is_fresh: whether the store can be believed at all.
        doubt: called when the store has not heard of what was written.
        may_write: raises when this process may not write (any more).
        clock: seconds that only grow.
    """

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        *,
        is_fresh: Callable[[], bool] = lambda: True,
        doubt: Callable[[], None] = lambda: None,
        may_write: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._store = store
        self._is_fresh = is_fresh
        self._doubt = doubt
        self._may_write = may_write
        self._clock = clock
        self._awaited: dict[Key, Callable[[], bool]] = {}
        self._absent: dict[Key, float] = {}

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """See ``KubeApi``."""
        if not self._store.watches(kind, namespace):
            return await self._api.get(kind, namespace, name)
        key = (kind, namespace, name)
        await self._catch_up(key)
        found = self._store.get(kind, namespace, name)
        if found is not None:
            self._absent.pop(key, None)
            return found
        if kind == naming.KIND:
            # Every one is watched: what the store does not know is not there.
            raise NotFound(f"{kind} {name}")
        if self._clock() - self._absent.get(key, -ABSENT_SECONDS) < ABSENT_SECONDS:
            raise NotFound(f"{kind} {name}")
        try:
            return await self._api.get(kind, namespace, name)
        except NotFound:
            self._absent[key] = self._clock()
            raise

    async def list_objects(self, kind: str, namespace: str, *, selector: str) -> list[Manifest]:
        """See ``KubeApi``; the store selects by a zone's label, or not at all."""
        label, _, zone = selector.partition("=")
        if label not in {"", naming.ZONE_LABEL} or not self._store.watches(kind, namespace):
            return await self._api.list_objects(kind, namespace, selector=selector)
        for key in [each for each in self._awaited if each[:2] == (kind, namespace)]:
            await self._catch_up(key)
        self._check()
        if not label:
            return self._store.in_namespace(kind, namespace)
        return self._store.of_zone(kind, namespace, zone)

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """See ``KubeApi``."""
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata["namespace"], metadata["name"])
        self._may_write()
        self._absent.pop(key, None)
        written = await self._api.apply(manifest, manager=manager)
        self._await_version(key, written)
        return written

    async def create(self, manifest: Manifest, *, manager: str) -> Manifest:
        """See ``KubeApi``."""
        metadata = manifest["metadata"]
        key = (manifest["kind"], metadata["namespace"], metadata["name"])
        self._may_write()
        self._absent.pop(key, None)
        written = await self._api.create(manifest, manager=manager)
        self._await_version(key, written)
        return written

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: dict[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
    ) -> Manifest:
        """See ``KubeApi``."""
        self._may_write()
        written = await self._api.patch(
            kind, namespace, name, change, manager=manager, subresource=subresource
        )
        self._await_version((kind, namespace, name), written)
        return written

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        version: str | None = None,
        orphans: bool = False,
    ) -> None:
        """See ``KubeApi``."""
        self._may_write()
        await self._api.delete(kind, namespace, name, uid=uid, version=version, orphans=orphans)
        if not self._store.watches(kind, namespace):
            return

        def is_known() -> bool:
            live = self._store.get(kind, namespace, name)
            metadata = live["metadata"] if live is not None else {}
            return metadata.get("uid") != uid or metadata.get("deletionTimestamp") is not None

        self._awaited[kind, namespace, name] = is_known

    def _await_version(self, key: Key, written: Manifest) -> None:
        kind, namespace, _ = key
        version = version_of(written)
        self._tidy()
        if self._store.watches(kind, namespace):
            self._awaited[key] = lambda: self._store.version(kind, namespace) >= version

    async def _catch_up(self, key: Key) -> None:
        """Wait until the store has heard of this process' last write of an object."""
        self._check()
        condition = self._awaited.get(key)
        if condition is None:
            return
        kind, namespace, name = key
        if not await self._store.wait_until(kind, namespace, condition, CATCH_UP_SECONDS):
            self._doubt()
            raise Unavailable(
                f"the watch of {kind} is behind: {name} was written, and not heard of"
            )
        self._awaited.pop(key, None)

    def _tidy(self) -> None:
        """Forget what a zone that is gone has left."""
        if len(self._awaited) + len(self._absent) <= REMEMBERED_MAX:
            return
        oldest = self._clock() - ABSENT_SECONDS
        self._awaited = {key: known for key, known in self._awaited.items() if not known()}
        self._absent = {key: since for key, since in self._absent.items() if since > oldest}

    def _check(self) -> None:
        if not self._is_fresh():
            raise Unavailable("the watches of the API server have been silent for too long")
