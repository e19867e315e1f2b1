"""One write at a time: how a server's database is written, and when that takes too long.

A commit is made on the event loop, which is quick; one thread makes it durable, which takes as
long as the disk does. While it works, proposals queue up, and the next write takes them all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog

from oned.errors import DatabaseDamaged, DatabaseFailed, Nondeterminism, StorageError
from oned.raft.timing import NEVER
from oned.raft.writes import Write
from oned.storage.store import Applied

if TYPE_CHECKING:
    from oned.node.driver import Node

STUCK_SECONDS = 0.8
"""A sync that takes longer is stuck: a leader gives way to a server whose disk answers.

With what a loop may take to notice it is less than a second.
"""

CHECKPOINT_SECONDS = 5.0
"""The same for a checkpoint that writes wait for: a slow disk takes its time for megabytes."""

_log = structlog.get_logger()


class Writing:
    """The one that writes a server's database, while it works."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._under_way: asyncio.Future[None] | None = None
        self._jobs: set[asyncio.Future[Any]] = set()
        self._paused = 0
        self._checkpointing = self._rest_to_checkpoint = False
        self.stuck_at = NEVER

    @property
    def is_writing(self) -> bool:
        """Whether a write is under way."""
        return self._under_way is not None

    def is_stuck(self, now: float) -> bool:
        """Whether a write is under way that should have ended."""
        return now >= self.stuck_at

    def in_thread(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run ``work`` in the database's thread, after what runs there."""
        job = self._loop.run_in_executor(self._thread, work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def idle(self) -> None:
        """Wait until nothing of ours uses the database; nothing new may begin meanwhile."""
        while self._jobs:
            await asyncio.wait(self._jobs)

    async def close(self) -> None:
        """Wait for what is under way, and end the thread."""
        await self.idle()
        self._thread.shutdown()

    # --- a write -------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the next write, if there is one and none is under way.

        Raises:
            StorageError: nothing of it was written.
        """
        node = self._node
        if self._under_way is not None or self._paused or node.failed.done():
            return
        write = node.core.take_write()
        if write is None:
            return
        if not (write.must_sync or write.apply_to > node.core.applied):
            node.written(write, Applied(), 0.0)
            return
        started = time.monotonic()
        applied = node.store.write(write)
        if not write.must_sync:
            node.written(write, applied, time.monotonic() - started)
            return
        self.stuck_at = started + STUCK_SECONDS
        self._under_way = self.in_thread(self._sync)
        self._under_way.add_done_callback(lambda done: self._ended(write, applied, started, done))

    def _sync(self) -> None:
        """In the database's thread: the write that was just made becomes durable."""
        started = time.monotonic()
        self._node.store.sync()
        self._node.observers.sync(time.monotonic() - started)
        if self._rest_to_checkpoint:
            # Nobody writes now, so that this one leaves no rest.
            self.stuck_at = time.monotonic() + CHECKPOINT_SECONDS
            self._rest_to_checkpoint = not self._node.store.checkpoint()
        # Here and not by the loop, whose own delay says nothing about the disk.
        self.stuck_at = NEVER

    def _ended(
        self, write: Write, applied: Applied, started: float, done: asyncio.Future[None]
    ) -> None:
        node = self._node
        self._under_way = None
        now, self.stuck_at = time.monotonic(), NEVER
        if now - started >= STUCK_SECONDS:
            _log.warning("the disk took long", seconds=round(now - started, 3))
        error = done.exception()
        if isinstance(error, StorageError):
            node.recovery.begin(error)
            return
        if error is not None:
            node.fail(error)
            return
        if node.recovery.trouble is not None:
            return
        node.written(write, applied, now - started)
        if node.store.wants_checkpoint and not self._checkpointing:
            node.spawn(self._checkpoint())
        node.schedule()

    async def _checkpoint(self) -> None:
        """Copy what was written ahead, beside the writes; the rest is left to one of them."""
        self._checkpointing, self._rest_to_checkpoint = True, False
        job = self._loop.run_in_executor(None, self._node.store.checkpoint)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        try:
            self._rest_to_checkpoint = not await job
        except StorageError as error:
            self._node.recovery.begin(error)
        finally:
            self._checkpointing = False

    # --- between writes --------------------------------------------------------------

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Begin no write meanwhile."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            self._node.schedule()

    async def exclusively(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` in the database's thread while no write is under way.

        Raises:
            StorageError: the database failed, before or by this.
        """
        recovery = self._node.recovery
        with self.pause():
            while self._under_way is not None:
                await asyncio.wait([self._under_way])
            if recovery.trouble is not None:
                raise recovery.trouble
            try:
                return await self.in_thread(work)
            except (DatabaseFailed, DatabaseDamaged, Nondeterminism) as error:
                recovery.begin(error)
                raise

    async def purge(self) -> None:
        """Delete old log records; small servers hardly ever have any."""
        node = self._node
        retention, limit = node.settings.log_retention, node.settings.limit_purge
        with suppress(StorageError):  # the recovery is at work on it
            base = await self.exclusively(
                lambda: node.store.purge(retention=retention, limit=limit)
            )
            if base is not None:
                node.core.log.compact(base, node.store.facts.base_term)
                _log.info("log purged", up_to=base)
