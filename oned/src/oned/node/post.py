"""What comes from the peers and goes to them: who is heard, and which way an answer takes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from oned.errors import PeerError
from oned.raft.messages import TO_BE_COUNTED, Message
from oned.raft.types import Configuration, ServerId
from oned.transport import codec
from oned.transport.codec import Adopt, Frame, Hello
from oned.transport.links import Link

if TYPE_CHECKING:
    from oned.node.driver import Node

MAX_INBOX = 8192
"""Messages that may wait for the core; beyond that they are lost, which Raft expects."""


class Post:
    """The messages of one server: ``oned.transport.peers.PeerEvents``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._inbox: deque[Message] = deque()
        self._routes: dict[ServerId, Link] = {}
        self._reached: Configuration | None = None

    # --- what the peers' port tells ------------------------------------------------

    def hello(self) -> Hello:
        facts = self._node.store.facts
        return Hello(
            protocol=codec.PROTOCOL,
            zone_uuid=facts.zone_uuid,
            server_id=facts.server_id,
            disk=facts.disk,
            initialised=facts.initialised,
        )

    def link_opened(self, link: Link) -> None:
        self._node.membership.greeted(link)
        self._node.schedule()

    def link_closed(self, link: Link) -> None:
        for server_id in [s for s, route in self._routes.items() if route is link]:
            del self._routes[server_id]
        member = self._node.core.configuration.named(link.name)
        if member is not None:
            self._node.core.unreachable(member.server_id)
            self._node.schedule()

    def frame_received(self, link: Link, frame: Frame) -> None:
        if self._node.recovery.trouble is not None:
            return
        if isinstance(frame, Adopt):
            self._node.spawn(self._node.membership.be_adopted(link, frame))
        elif (
            not isinstance(frame, Hello)
            and len(self._inbox) < MAX_INBOX
            and frame.to == self._node.core.server_id
            and self._node.membership.may_speak(link, frame)
        ):
            self._routes[frame.sender] = link
            self._inbox.append(frame)
            self._node.schedule()

    def snapshot_offset(self, name: str, checksum: str) -> int:
        return self._node.snapshots.offset(name, checksum)

    async def snapshot_received(
        self, name: str, headers: Mapping[str, str], offset: int, blocks: AsyncIterator[bytes]
    ) -> int:
        if self._node.recovery.trouble is not None:
            raise PeerError("the database cannot be written")
        return await self._node.snapshots.receive(name, headers, offset, blocks)

    # --- what the node does with it ------------------------------------------------

    def deliver(self, now: float) -> None:
        """Give the core all that has come."""
        while self._inbox:
            self._node.core.receive(now, self._inbox.popleft())

    def begin_anew(self) -> None:
        """There is another core: it has heard nothing, and everybody is to be greeted again."""
        self._inbox.clear()
        self._reached = None
        self.greet_again()

    def greet_again(self) -> None:
        """Say anew who this server is."""
        if self._node.peers is not None:
            self._node.peers.greet_again()

    def send(self, messages: list[Message] | tuple[Message, ...]) -> None:
        """Send each message to its server, if there is a way there."""
        if self._node.peers is None:
            return
        for message in messages:
            link = self.route(message.to, counts=isinstance(message, TO_BE_COUNTED))
            if link is not None:
                link.send(message)

    def route(self, server_id: ServerId, *, counts: bool = True) -> Link | None:
        """The connection to a server: its name's, or where it was last heard.

        With ``counts`` there is none to a server whose answer would not count, for it has
        another disk than the log knows.
        """
        member = self._node.core.configuration.get(server_id)
        link = None
        if member is not None and self._node.peers is not None:
            link = self._node.peers.link(member.name)
            if counts and link is not None and not self._node.membership.is_bound(link, member):
                return None
        return link or self._routes.get(server_id)

    def reach_members(self) -> None:
        """Keep connections to exactly the members there are."""
        configuration = self._node.core.configuration
        if self._node.peers is None or configuration is self._reached:
            return
        self._reached = configuration
        self._node.peers.reach({m.name: m.peer_endpoint for m in configuration.members})
