"""When an office begins and ends, and who is told: callers, hooks, metrics."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from oned.errors import OutcomeUnknown
from oned.raft.types import Role, Term

if TYPE_CHECKING:
    from oned.node.driver import Node

_log = structlog.get_logger()


class Office:
    """What is known outside of a server's role.

    Attributes:
        changed: set whenever an office begins or ends.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.changed = asyncio.Event()
        self._term: Term | None = None
        self._announced: tuple[bool, Term] | None = None
        self._standing_since: float | None = None

    def note(self) -> None:
        """Tell callers and hooks when an office begins or ends."""
        node, core = self._node, self._node.core
        office = core.term if core.is_leading else None
        if office != self._term:
            self._term = office
            node.callers.fail(
                OutcomeUnknown("leadership was lost: the change may have been made, or not")
            )
            _log.info("role changed", role=core.role.name.lower(), term=core.term)
            self.changed.set()
        leading = core.is_leading and core.serving
        standing = core.role is Role.CANDIDATE or (core.role is Role.LEADER and not leading)
        if standing != (self._standing_since is not None):
            self._note_election(won=leading)
        if leading and self._announced != (True, core.term):
            self._announced = (True, core.term)
            node.observers.leading(core.term)
        elif core.role is Role.FOLLOWER and (self._announced is None or self._announced[0]):
            self._announced = (False, core.term)
            node.observers.following(core.term)

    def _note_election(self, *, won: bool) -> None:
        """This server stands for election, or is done with it: it serves, or follows."""
        now, since = time.monotonic(), self._standing_since
        if since is None:
            self._standing_since = now
            return
        self._standing_since = None
        self._node.observers.election("won" if won else "lost", now - since if won else None)
