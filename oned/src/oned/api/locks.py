"""Locks on objects, so that two calls never build changes from the same row at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from oned.errors import Busy

Key: TypeAlias = tuple[str, Hashable]
"""A table and what is locked of it: an id, or a name that is about to be taken."""

WAITING_MAX = 4096
"""Calls that may hold or await locks; beyond that callers are told to try again."""


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class ObjectLocks:
    """Locks that exist only while somebody holds or awaits them."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._waiting_max = waiting_max
        self._calls = 0

    @asynccontextmanager
    async def hold(self, *keys: Key) -> AsyncIterator[None]:
        """Hold all of ``keys``; they are taken in one order, so that calls never deadlock.

        A call takes its locks once: asking for more while holding some could deadlock.

        Raises:
            Busy: too many calls wait already.
        """
        if self._calls >= self._waiting_max:
            raise Busy("too many calls wait for objects")
        self._calls += 1
        ordered = sorted(set(keys), key=repr)
        entries = [self._entries.setdefault(key, _Entry()) for key in ordered]
        for entry in entries:
            entry.users += 1
        held = 0
        try:
            for entry in entries:
                await entry.lock.acquire()
                held += 1
            yield
        finally:
            for entry in entries[:held]:
                entry.lock.release()
            for key, entry in zip(ordered, entries, strict=True):
                entry.users -= 1
                if not entry.users:
                    del self._entries[key]
            self._calls -= 1

    def __len__(self) -> int:
        return len(self._entries)
