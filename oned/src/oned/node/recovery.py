"""A database that failed is opened anew until it works, and replaced when it cannot be believed.

From the first error on this server takes no part: it resigns, hears nothing and says nothing,
above all no vote and no acknowledgement. The core has handed out what the database may not
hold, so that it is thrown away, and a new one begins from what the disk says, as it does when
the process starts:

- *the disk is full, refuses or has lost a write*: everything is closed, so that no page is
  believed because it was in somebody's memory, and opened again. What is read then is on the
  disk: see ``oned.storage.engine``. Whatever of the last writes is missing, nobody was told
  of it.
- *the database is damaged, or has diverged*: it is put aside, and a new, empty one takes its
  place. That has another disk identity, so that the leader takes this server's vote away,
  and gives it back with a copy of the zone. Where nobody else has a copy, the process ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from oned.errors import (
    DatabaseDamaged,
    DatabaseFailed,
    DatabaseFull,
    Nondeterminism,
    StorageError,
)

if TYPE_CHECKING:
    from oned.node.driver import Node

PAUSE_SECONDS = (0.2, 2.0)
"""First and longest pause before the database is tried again; it doubles in between."""

_log = structlog.get_logger()


class Recovery:
    """Brings the database of one server back.

    Attributes:
        trouble: what is wrong with it; None while it works.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._closing = asyncio.Event()
        self.trouble: StorageError | None = None

    @property
    def condition(self) -> str:
        """``ok``, ``full``, ``failed`` or ``damaged``, as ``/status`` tells it."""
        match self.trouble:
            case None:
                return "ok"
            case DatabaseFull():
                return "full"
            case DatabaseFailed():
                return "failed"
            case _:
                return "damaged"

    def begin(self, error: StorageError) -> None:
        """The database failed: stop at once, and bring it back."""
        node = self._node
        if self.trouble is not None or node.failed.done():
            return
        self.trouble = error
        _log.error("the database failed", database=self.condition, error=str(error))
        node.resign()
        if not self._is_hopeless(error):
            node.spawn(self._bring_back())

    def close(self) -> None:
        """Try no more."""
        self._closing.set()

    def _is_hopeless(self, error: StorageError) -> bool:
        """Whether nobody else has what this database held; then the process ends."""
        node = self._node
        if not _is_lost(error) or node.core.voters - {node.core.server_id}:
            return False
        node.fail(error)
        return True

    async def _bring_back(self) -> None:
        node = self._node
        pause, longest = PAUSE_SECONDS
        try:
            # Whoever still reads would keep alive what is in memory, and be the last to close.
            await node.snapshots.close()
            await node.writing.idle()
            node.store.abandon()
            while not await self._is_closing_within(pause):
                pause = min(2 * pause, longest)
                if await self._is_open():
                    return
        except Exception as error:  # noqa: BLE001 - the root of a task
            _log.exception("this server cannot go on")
            node.fail(error)

    async def _is_closing_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True

    async def _is_open(self) -> bool:
        """Try once."""
        node, trouble = self._node, self.trouble
        assert trouble is not None
        try:
            await node.writing.in_thread(lambda: node.store.reopen(put_aside=_is_lost(trouble)))
            node.restart_core()
        except StorageError as error:
            if str(error) != str(trouble):
                _log.warning("the database does not work yet", error=str(error))
            self.trouble = error
            return self._is_hopeless(error)
        self.trouble = None
        _log.info("the database works again", disk=node.store.facts.disk)
        node.schedule()
        return True


def _is_lost(error: StorageError) -> bool:
    """Whether what this database says is not to be believed, however often it is opened."""
    return isinstance(error, DatabaseDamaged | Nondeterminism)
