"""Who belongs to the zone, and with which disk: what a leader does about it.

A voter's membership is bound to the disk that it was granted to. A server that shows
another disk has forgotten its votes and its log, so the leader

1. makes it a learner through the log, and waits until that is committed: from then on
   nobody counts on what the server promised before;
2. adopts it: tells it its id, and a term in which it has voted already (for this leader);
3. sends it the log or a snapshot, and
4. makes it a voter again when it has caught up.

A server that was just added begins at 2. Nothing here is kept: each look starts from the
configuration and from what the peers say of themselves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from oned.errors import OnedError, ProposalError
from oned.raft.messages import COUNTED, Message
from oned.raft.types import NO_SERVER, Configuration, HardState, Member, ServerId
from oned.state.entry import Change
from oned.transport.codec import Adopt
from oned.transport.links import Link

if TYPE_CHECKING:
    from oned.node.driver import Node

CAUGHT_UP_ENTRIES = 64
"""A learner that is no further behind is made a voter: less than what a moment writes."""

ADOPT_SECONDS = 0.5
"""Pause before a server that does not answer to its new identity is told again."""

_log = structlog.get_logger()


class Membership:
    """A leader's care for the members, and a server's own adoption."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: dict[str, tuple[Link, float]] = {}
        self._change: asyncio.Task[None] | None = None

    # --- as any server -------------------------------------------------------------

    @staticmethod
    def is_bound(link: Link, member: Member) -> bool:
        """Whether the peer at ``link`` is this member with the disk that it must have."""
        hello = link.hello
        if hello is None or hello.server_id != member.server_id:
            return False
        return not member.voter or not member.disk or hello.disk == member.disk

    def may_speak(self, link: Link, message: Message) -> bool:
        """Whether to hear a peer that speaks in the name of the message's sender.

        A sender that is not in our log yet may be a member that we have not heard of: its
        certificate is of our zone, and Raft judges what it says. One with another disk than
        our log knows may have been given its vote back while we were away, and lead by now: it is
        heard, but nothing that it grants or acknowledges is counted here.
        """
        member = self._node.core.configuration.get(message.sender)
        if member is None or not isinstance(message, COUNTED):
            named = member is None or member.name == link.name
            return named and link.hello is not None and link.hello.server_id == message.sender
        # An older connection may still deliver what was acknowledged with the disk before.
        newest = self._node.peers.link(member.name) if self._node.peers else None
        return member.name == link.name and all(
            self.is_bound(one, member) for one in (link, newest or link)
        )

    async def be_adopted(self, link: Link, adopt: Adopt) -> None:
        """The leader says who this server is."""
        node = self._node
        facts = node.store.facts
        fixed = node.settings.fixed_id
        if adopt.term < node.core.term or facts.server_id == adopt.server_id:
            return
        if fixed is not None and fixed != adopt.server_id:
            _log.error(
                "the zone knows this server by another id: set SERVER_ID to it in oned.conf",
                zone_says=adopt.server_id,
                configured=fixed,
            )
            return
        try:
            await node.adopt(adopt.zone_uuid, adopt.server_id, HardState(adopt.term, adopt.leader))
        except OnedError as error:
            _log.error("cannot take the identity that the leader gives", error=str(error))
            return
        _log.info("adopted", server_id=adopt.server_id, term=adopt.term, leader=link.name)

    # --- as the leader -------------------------------------------------------------

    def greeted(self, link: Link) -> None:
        """A peer has said who it is. With another disk it holds nothing of what it acknowledged.

        That is void at once, not only when the log makes it a learner: until then a commit would
        count on it, and a learner would be promoted for it.
        """
        member = self._node.core.configuration.named(link.name)
        if member is not None and not self.is_bound(link, member):
            self._node.core.forget_progress(member.server_id)

    def tend(self, now: float) -> None:
        """Look at every member once; at most one change is proposed at a time."""
        node = self._node
        configuration = node.core.configuration
        for member in configuration.members:
            if member.server_id == node.core.server_id or node.peers is None:
                continue
            link = node.peers.link(member.name)
            hello = None if link is None else link.hello
            if link is None or hello is None:
                continue
            if member.voter:
                if member.disk and hello.disk != member.disk:
                    self._propose(configuration.demoted(member.server_id), "lost disk", member)
            elif hello.server_id != member.server_id:
                self._adopt(link, member, now)
            elif hello.initialised and node.core.caught_up(member.server_id, CAUGHT_UP_ENTRIES):
                self._propose(
                    configuration.promoted(member.server_id, hello.disk), "caught up", member
                )

    def _adopt(self, link: Link, member: Member, now: float) -> None:
        """Tell a learner who it is; not before its being a learner is committed."""
        node = self._node
        if node.core.change_pending:
            return
        told = self._told.get(member.name)
        if told is not None and told[0] is link and now < told[1] + ADOPT_SECONDS:
            return
        self._told[member.name] = (link, now)
        link.send(
            Adopt(
                zone_uuid=node.store.facts.zone_uuid,
                server_id=member.server_id,
                term=node.core.term,
                leader=node.core.server_id,
            )
        )

    def _propose(self, configuration: Configuration, why: str, member: Member) -> None:
        if self._node.core.change_pending or (self._change and not self._change.done()):
            return
        _log.info("member changes", member=member.name, server_id=member.server_id, reason=why)
        self._change = asyncio.create_task(self._change_to(configuration))

    async def _change_to(self, configuration: Configuration) -> None:
        try:
            await self._node.propose(
                Change(), term=self._node.core.term, configuration=configuration
            )
        except ProposalError as error:
            # The next look starts from the facts again, whatever became of this one.
            _log.info("member change not confirmed", error=str(error))

    def report(self, now: float) -> list[dict[str, Any]]:
        """The members, with what only a leader knows of them, for ``/status``."""
        core = self._node.core
        return [
            {
                "id": member.server_id,
                "name": member.name,
                "endpoint": member.endpoint,
                "peer_endpoint": member.peer_endpoint,
                "voter": member.voter,
                **self._progress(member.server_id, now),
            }
            for member in core.configuration.members
        ]

    def _progress(self, server_id: ServerId, now: float) -> dict[str, Any]:
        core = self._node.core
        unknown = {"match": None, "lag": None, "last_contact_seconds": None}
        if core.leadership is None or core.server_id == NO_SERVER:
            return unknown
        last = core.log.last_index
        if server_id == core.server_id:
            return {"match": last, "lag": 0, "last_contact_seconds": 0.0}
        progress = core.leadership.progress.get(server_id)
        if progress is None:
            return unknown
        heard = progress.last_reply
        return {
            "match": progress.match,
            "lag": last - progress.match,
            "last_contact_seconds": None if heard is None else round(now - heard, 3),
        }
