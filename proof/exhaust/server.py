"""One server around the shipped core: thawed from a value, driven, and frozen again.

Of time nothing is kept in the value. Every event brings its own moment, on either side of each
deadline that the core compares it with: clocks may run as they like.
"""

from __future__ import annotations

from collections.abc import Sequence

from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import (
    AppendReply,
    Message,
    VoteReply,
    VoteRequest,
)
from oned.raft.timing import Options
from oned.raft.types import (
    Configuration,
    Entry,
    HardState,
    Index,
    ServerId,
    Term,
)
from oned.raft.writes import Write
from proof.exhaust.disk import Disk, Violation
from proof.exhaust.post import Post

OPTIONS = Options(election_timeout=1.0, heartbeat=0.15, commit_delay=0.0)
"""A commit is told at once; heartbeats, which come at any time, tell it later as well."""
THAWED = 100.0
"""When every kept moment was: the last contact, the term's beginning, all replies."""
AT_ONCE = THAWED + 0.01
AT_HEARTBEAT = THAWED + OPTIONS.heartbeat
AT_TIMEOUT = THAWED + OPTIONS.election_timeout
AT_ELECTION = THAWED + 1.5 * OPTIONS.election_timeout
LONG_AFTER = THAWED + 3.0 * OPTIONS.election_timeout

FLUSH_STEPS = 8
"""Writes in a row that need no sync; more mean that a server never comes to rest."""


def middle() -> float:
    """The random part of a timeout; when it ends is for the search to say."""
    return 0.5


class Server:
    """A core with its disk, at most one write under way, and what it has sent."""

    def __init__(self, post: Post, disk: Disk) -> None:
        self.post = post
        self.disk = disk
        self.write: Write | None = None
        self.images: tuple[Disk, ...] = ()
        self.led: tuple[Term, ...] = ()
        self.sent: list[int] = []
        self.core: Raft

    # --- LogReader: entries that are no longer in memory -----------------------------

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        del max_bytes
        return [self.disk.entry(index) for index in range(first, last + 1)]

    def term_at(self, index: Index) -> Term:
        return self.disk.entry(index).term

    # --- what a driver does ----------------------------------------------------------

    def start(self, server_id: ServerId) -> None:
        """As ``oned.node`` makes a core from a database."""
        disk = self.disk
        last_index, last_term = disk.last
        self.core = Raft(
            server_id=server_id,
            hard_state=disk.hard_state,
            log=Log(
                self,
                base_index=disk.base[0],
                base_term=disk.base[1],
                last_index=last_index,
                last_term=last_term,
                configurations=disk.configurations(),
            ),
            applied=disk.applied,
            initialised=disk.initialised,
            solo=False,
            options=OPTIONS,
            random=middle,
            now=THAWED,
        )

    def crash(self, disk: Disk) -> None:
        """Stop, and start again from what the disk has kept."""
        self.disk, self.write, self.images = disk, None, ()
        self.start(self.core.server_id)

    def flush(self) -> None:
        """Send what may go, and begin the next write; one that needs no sync is made at once."""
        for _ in range(FLUSH_STEPS):
            self.send(self.core.take_messages())
            if self.write is not None:
                return
            write = self.core.take_write()
            if write is None:
                return
            if write.must_sync:
                self.write = write
            else:
                self.finish(write)
        raise Violation("the server never comes to rest")

    def finish(self, write: Write) -> None:
        """The transaction is made and, if it must be, durable."""
        before, self.disk = self.disk, self.disk.after(write)
        if write.must_sync:
            self.images = ()
        elif before != self.disk:
            self.images = (*self.images, before)
        self.core.written(AT_ONCE, write)
        self.send(write.messages)

    def install(
        self, index: Index, term: Term, configuration: Configuration, tables: tuple[Entry, ...]
    ) -> None:
        """As ``oned.storage`` and then the core take a snapshot in: one durable transaction."""
        disk = self.disk
        stored = disk.base[0] < index <= disk.last[0]
        agrees = (disk.entry(index).term if stored else disk.base[1]) == term and (
            stored or index == disk.base[0]
        )
        self.disk = disk._replace(
            base=(index, term),
            base_configuration=configuration,
            log=disk.log[index - disk.base[0] :] if agrees else (),
            applied=index,
            tables=tables,
            initialised=True,
        )
        self.images = ()
        self.core.installed(AT_ONCE, index, term, configuration)

    def purge(self) -> None:
        """As ``oned.storage`` and then the core forget what is applied; it is not synced."""
        self.images = (*self.images, self.disk)
        self.disk = self.disk.purged()
        self.core.log.compact(*self.disk.base)

    def end_write(self) -> None:
        """The write under way is durable."""
        write, self.write = self.write, None
        assert write is not None
        self.finish(write)

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._check_claim(message)
            self.sent.append(self.post.number(message))

    def _check_claim(self, message: Message) -> None:
        """A message that speaks for durability speaks the truth at the moment it is sent."""
        kept = self.disk.hard_state
        if isinstance(message, VoteRequest) and not message.pre:
            if kept != HardState(message.term, message.sender):
                raise Violation(f"a candidacy is said and not durable: {message}")
        elif isinstance(message, VoteReply) and message.granted and not message.pre:
            if kept != HardState(message.term, message.to):
                raise Violation(f"a vote is said and not durable: {message}")
        elif isinstance(message, AppendReply) and message.success:
            if message.index > self.disk.last[0]:
                raise Violation(f"entries are acknowledged and not durable: {message}")
        pre = isinstance(message, VoteRequest | VoteReply) and message.pre
        if not pre and message.term > kept.term:
            raise Violation(f"term {message.term} is said and not durable: {message}")
