"""Locks on objects, so that two calls never build changes from the same row at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import TypeAlias

from oned.errors import Busy

Key: TypeAlias = tuple[str, Hashable]
"""A table and what is locked of it: an id, or a name that is about to be taken."""

WAITING_MAX = 4096
"""Calls that may hold or await locks; beyond that callers are told to try again."""


class ObjectLocks:
    """Locks that exist only while somebody holds or awaits them."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting: dict[Key, deque[asyncio.Future[None]]] = {}
        self._waiting_max = waiting_max
        self._calls = 0

    def hold(self, *keys: Key) -> Hold:
        """Hold all of ``keys``; they are taken in one order, so that calls never deadlock.

        A call takes its locks once: asking for more while holding some could deadlock.
        Entering raises ``Busy`` when too many calls wait already.
        """
        return Hold(self, keys if len(keys) == 1 else tuple(sorted(set(keys), key=repr)))

    def enter(self) -> None:
        """Count one more call.

        Raises:
            Busy: too many hold or await locks.
        """
        if self._calls >= self._waiting_max:
            raise Busy("too many calls wait for objects")
        self._calls += 1

    def leave(self) -> None:
        self._calls -= 1

    async def acquire(self, key: Key) -> None:
        """Take one lock, after those who asked for it before."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(key)  # it was given to us in the very moment
            else:
                waiting.remove(turn)
            raise

    def release(self, key: Key) -> None:
        """Give one lock to the next who waits for it."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]

    def __len__(self) -> int:
        return len(self._waiting)


class Hold:
    """A call's locks, for ``async with``."""

    __slots__ = ("_held", "_keys", "_locks")

    def __init__(self, locks: ObjectLocks, keys: tuple[Key, ...]) -> None:
        self._locks, self._keys, self._held = locks, keys, 0

    async def __aenter__(self) -> None:
        self._locks.enter()
        try:
            for key in self._keys:
                await self._locks.acquire(key)
                self._held += 1
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for key in self._keys[: self._held]:
            self._locks.release(key)
        self._held = 0
        self._locks.leave()
