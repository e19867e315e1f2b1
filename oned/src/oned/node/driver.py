"""The only driver of ``raft``: feeds it time, messages and proposals, and carries out what it says.

Everything here runs on the event loop. Beside it ``writing`` has a thread that makes writes
durable, and ``recovery`` takes over while the database cannot be used.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from oned import __version__
from oned.errors import (
    ForeignDatabase,
    MembershipPending,
    NotLeader,
    OutcomeUnknown,
    PeerError,
    ProposalError,
    StorageError,
)
from oned.node.callers import Callers
from oned.node.exports import Writer
from oned.node.membership import Membership
from oned.node.recovery import Recovery
from oned.node.snapshots import Snapshots
from oned.node.writing import Writing
from oned.raft.errors import ChangePending, NotLeading, UnsafeChange
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import TO_BE_COUNTED, Message, TimeoutNow
from oned.raft.timing import NEVER, Options
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Follower,
    HardState,
    Index,
    RaftStatus,
    Role,
    ServerId,
    Term,
)
from oned.raft.writes import Write
from oned.state.entry import Change, Reader, encode
from oned.storage.export import Export, write_beside
from oned.storage.store import Applied, Store
from oned.transport import codec
from oned.transport.codec import Adopt, Frame, Hello
from oned.transport.links import Link
from oned.transport.peers import Peers

MAX_INBOX = 8192
"""Messages that may wait for the core; beyond that they are lost, which Raft expects."""

READ_SECONDS = 5.0
"""How long a read waits for the proof that it is up to date; another server may be quicker."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Settings:
    """What the node needs of oned.conf, in seconds."""

    options: Options
    log_retention: int
    limit_purge: int
    purge_interval: float
    solo: bool
    fixed_id: ServerId | None
    name: str


@dataclass(slots=True)
class Observers:
    """Who wants to know: hooks of role changes, metrics of writes, commits and elections.

    ``sync`` is told in the database's thread how long the disk took.
    """

    leading: Callable[[Term], None] = lambda _term: None
    following: Callable[[Term], None] = lambda _term: None
    batch: Callable[[int, float], None] = lambda _entries, _seconds: None
    commit: Callable[[float], None] = lambda _seconds: None
    sync: Callable[[float], None] = lambda _seconds: None
    election: Callable[[str, float | None], None] = lambda _outcome, _seconds: None
    snapshot: Callable[[str, str], None] = lambda _direction, _outcome: None


class Node:
    """One server: its core, its database, its peers, and the callers that wait for them."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        snapshot_directory: Path,
        *,
        export: Writer = write_beside,
    ) -> None:
        self.store = store
        self.settings = settings
        self.peers: Peers | None = None
        self.observers = Observers()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Message] = deque()
        self._callers = Callers()
        self._scheduled = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._office: Term | None = None
        self._office_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._announced: tuple[bool, Term] | None = None
        self._standing_since: float | None = None
        self._next_purge = time.monotonic() + settings.purge_interval
        self._reached: Configuration | None = None
        self._routes: dict[ServerId, Link] = {}
        self.writing = Writing(self)
        self.recovery = Recovery(self)
        self.snapshots = Snapshots(self, snapshot_directory, export)
        self.membership = Membership(self)
        self.core = self._make_core()
        # A read may come upon it in any thread.
        store.trouble = lambda error: self._loop.call_soon_threadsafe(self.recovery.begin, error)

    def _make_core(self) -> Raft:
        facts = self.store.facts
        last_index, last_term = self.store.last()
        log = Log(
            self.store,
            base_index=facts.base_index,
            base_term=facts.base_term,
            last_index=last_index,
            last_term=last_term,
            configurations=self.store.configurations(),
        )
        return Raft(
            server_id=NO_SERVER if self.settings.solo else facts.server_id,
            hard_state=facts.hard_state,
            log=log,
            applied=facts.applied,
            initialised=facts.initialised,
            solo=self.settings.solo,
            options=self.settings.options,
            random=random.random,
            now=time.monotonic(),
        )

    # --- life ----------------------------------------------------------------------

    async def start(self, peers: Peers | None) -> None:
        """Begin to take part. A solo server has no peers."""
        self.peers = peers
        if peers is not None:
            await peers.start()
        self.schedule()

    async def hand_over(self) -> None:
        """Give leadership away, so that a stop costs no election timeout."""
        if self.core.leadership is not None and len(self.core.voters) > 1:
            taken = await self.transfer_leadership()
            _log.info("leadership handed over" if taken else "nobody took over leadership")

    async def stop(self) -> None:
        """Hand over leadership if anybody can take it, then stop."""
        await self.hand_over()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.recovery.close()
        self._callers.give_up(OutcomeUnknown("this server stops"))
        await self.snapshots.close()
        if self.peers is not None:
            await self.peers.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.writing.close()

    # --- what the API asks (oned.api.ports.Front) ------------------------------------

    @property
    def reader(self) -> Reader:
        return self.store

    def configuration(self) -> Configuration:
        return self.core.configuration

    def table_version(self, table: str) -> int:
        return self.store.table_versions[table]

    def status(self) -> RaftStatus:
        core = self.core
        return RaftStatus(
            server_id=core.server_id,
            role=core.role,
            term=core.term,
            voted_for=core.voted_for,
            leader_id=core.leader_id,
            commit_index=core.commit,
            applied_index=core.applied,
            last_index=core.log.last_index,
            last_term=core.log.last_term,
            serving=core.serving and self.database == "ok",
            configuration=core.configuration,
        )

    @property
    def database(self) -> str:
        """``ok``, or what is wrong with it: ``stuck``, ``full``, ``failed`` or ``damaged``."""
        if self.recovery.trouble is None and self.writing.is_stuck(time.monotonic()):
            return "stuck"
        return self.recovery.condition

    async def propose(
        self, change: Change, *, term: Term, configuration: Configuration | None = None
    ) -> None:
        """See ``oned.api.ports.Front.propose``."""
        if not self.core.is_leading or self.core.term != term:
            raise NotLeader("this server does not lead")
        if self.database != "ok":
            raise NotLeader("the database of this server cannot be written")
        if configuration is not None and not self.core.keeps_quorum(
            time.monotonic(), configuration
        ):
            raise MembershipPending(
                "of the servers that would vote then too few answer: bring them back first"
            )
        data = encode(change) if change.statements else b""
        done = self._callers.propose(data, configuration, term)
        self.schedule()
        await done

    async def read_barrier(self) -> None:
        """See ``oned.api.ports.Front.read_barrier``."""
        now, core = time.monotonic(), self.core
        if core.lease_read(now):
            if core.leadership is not None and core.applied < core.commit:
                # A follower may have shown already what is committed and not applied here yet.
                done = self._callers.read(0, core.commit)
                self.schedule()
                await done
            return
        if self.recovery.trouble is not None:
            raise NotLeader("the database of this server does not work")
        try:
            if core.leadership is not None:
                done = self._callers.read(*core.read_round(now))
            else:
                done = self._callers.index_read(core.read_index(now))
        except NotLeading as error:
            raise NotLeader("no leader confirms what is true now") from error
        self.schedule()
        try:
            async with asyncio.timeout(READ_SECONDS):
                await done
        except TimeoutError:
            raise NotLeader("this server cannot show in time what is true now") from None

    async def transfer_leadership(self, to: ServerId | None = None) -> bool:
        """Hand over to ``to`` or the best follower; False when nobody took over in time."""
        now = time.monotonic()
        try:
            self.core.transfer(now, to)
        except NotLeading:
            return False
        self.schedule()
        try:
            async with asyncio.timeout(1.5 * self.settings.options.election_timeout):
                while self.core.leadership is not None:
                    self._office_changed.clear()
                    await self._office_changed.wait()
        except TimeoutError:
            pass
        return self.core.leadership is None

    def backup(self) -> AbstractAsyncContextManager[tuple[Path, Export]]:
        """See ``oned.api.ports.Front.backup``."""
        return self.snapshots.backup()

    def successor(self) -> ServerId | None:
        """See ``oned.api.ports.Front.successor``."""
        leadership = self.core.leadership
        return None if leadership is None else leadership.successor()

    def follower(self, server_id: ServerId) -> Follower | None:
        """See ``oned.api.ports.Front.follower``."""
        core = self.core
        progress = core.leadership.progress.get(server_id) if core.leadership else None
        if progress is None:
            return None
        heard = progress.last_reply
        silence = None if heard is None else time.monotonic() - heard
        return Follower(core.log.last_index - progress.match, silence)

    async def reset_server(self, server_id: ServerId) -> None:
        """Send a server a fresh snapshot whatever its log holds."""
        self.core.force_snapshot(server_id)
        self.schedule()

    def report(self) -> dict[str, Any]:
        """What ``/status`` shows: see ARCHITECTURE.md."""
        core, facts = self.core, self.store.facts
        staleness = core.staleness(time.monotonic())
        return {
            "version": __version__,
            "zone_uuid": facts.zone_uuid,
            "server_id": core.server_id,
            "name": self.settings.name,
            "disk": facts.disk,
            "state": core.role.name.lower(),
            "term": core.term,
            "voted_for": core.voted_for,
            "leader_id": core.leader_id,
            "commit": core.commit,
            "applied": core.applied,
            "log_index": core.log.last_index,
            "log_term": core.log.last_term,
            "log_base": core.log.base_index,
            "serving": core.serving and self.database == "ok",
            "database": self.database,
            "initialised": core.initialised,
            "configuration_committed": not core.change_pending,
            "staleness_seconds": None if staleness is None else round(staleness, 3),
            "snapshots": self.snapshots.report(time.monotonic()),
            "members": self.membership.report(time.monotonic()),
        }

    # --- what the peers' port tells (oned.transport.peers.PeerEvents) ---------------

    def hello(self) -> Hello:
        facts = self.store.facts
        return Hello(
            protocol=codec.PROTOCOL,
            zone_uuid=facts.zone_uuid,
            server_id=facts.server_id,
            disk=facts.disk,
            initialised=facts.initialised,
        )

    def link_opened(self, link: Link) -> None:
        self.membership.greeted(link)
        self.schedule()

    def link_closed(self, link: Link) -> None:
        for server_id in [s for s, route in self._routes.items() if route is link]:
            del self._routes[server_id]
        member = self.core.configuration.named(link.name)
        if member is not None:
            self.core.unreachable(member.server_id)
            self.schedule()

    def frame_received(self, link: Link, frame: Frame) -> None:
        if self.recovery.trouble is not None:
            return
        if isinstance(frame, Adopt):
            self.spawn(self.membership.be_adopted(link, frame))
        elif (
            not isinstance(frame, Hello)
            and len(self._inbox) < MAX_INBOX
            and frame.to == self.core.server_id
            and self.membership.may_speak(link, frame)
        ):
            self._routes[frame.sender] = link
            self._inbox.append(frame)
            self.schedule()

    def snapshot_offset(self, name: str, checksum: str) -> int:
        return self.snapshots.offset(name, checksum)

    async def snapshot_received(
        self, name: str, headers: Mapping[str, str], offset: int, blocks: AsyncIterator[bytes]
    ) -> int:
        if self.recovery.trouble is not None:
            raise PeerError("the database cannot be written")
        return await self.snapshots.receive(name, headers, offset, blocks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the loop, and hold on to it while it runs."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the loop ------------------------------------------------------------------

    def schedule(self) -> None:
        """Run a step soon; inputs that arrive before it share it."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = False
        self._run(self._advance)

    def _run(self, work: Callable[[float], None]) -> None:
        """Run a part of a step, unless there are no steps any more."""
        if self._closed or self.failed.done() or self.recovery.trouble is not None:
            return
        try:
            work(time.monotonic())
        except StorageError as error:
            self.recovery.begin(error)
        except Exception as error:  # noqa: BLE001 - the root of everything that this server does
            _log.exception("this server cannot go on")
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End: nothing can bring this server back but somebody from outside."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def _advance(self, now: float) -> None:
        core = self.core
        if self.writing.is_stuck(now):
            # What comes in waits, bounded as ever, and nobody is stood for or voted for.
            self.resign()
            return
        while self._inbox:
            core.receive(now, self._inbox.popleft())
        if not self.writing.is_writing:
            # Group commit: what waits for the disk here goes to the others together, in one frame
            # and one transaction of theirs. It costs a sync at most, and only under load.
            self._propose_queued()
        if now >= core.deadline():
            core.tick(now)
        if core.leadership is not None:
            if core.serving:
                self.membership.tend(now)
            # Not only when it serves: its no-op may wait for the very server that needs one.
            self.snapshots.tend()
        self._note_office()
        self._reach_members()
        messages = core.take_messages()
        self._send(messages)
        if messages:
            # They leave before this server writes what they carry, so that all write at once.
            self._loop.call_soon(self._run, self._write)
        else:
            self._write(now)

    def _write(self, now: float) -> None:
        """The rest of a step: the database, and who waited for what it holds now."""
        core = self.core
        self.writing.begin()
        self._send(core.take_messages())
        self._callers.release_reads(core.leadership, core.applied)
        self._callers.release_index_reads(core.reads)
        if now >= self._next_purge:
            self._next_purge = now + self.settings.purge_interval
            self.spawn(self.writing.purge())
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = min(self.core.deadline(), self.writing.stuck_at)
        if deadline != NEVER:
            self._timer = self._loop.call_later(max(0.0, deadline - now), self.schedule)

    def _propose_queued(self) -> None:
        """Append all that queued up."""
        for batch in self._callers.batches(self.core.term):
            try:
                first = self.core.propose([(p.data, p.configuration) for p in batch])
            except NotLeading:
                error: ProposalError = NotLeader("this server does not lead, or hands over")
            except ChangePending:
                error = MembershipPending("another membership change is under way, try again")
            except UnsafeChange:
                error = MembershipPending("one voter at a time")
            else:
                self._callers.appended(first, batch)
                continue
            for proposal in batch:
                proposal.refuse(error)

    def written(self, write: Write, applied: Applied, seconds: float) -> None:
        """A write has ended: tell the core, and whoever waited for it."""
        before = self.core.applied
        now = time.monotonic()
        self.core.written(now, write)
        self._send(write.messages)
        if write.entries:
            self.observers.batch(len(write.entries), seconds)
        self._callers.applied(
            Index(before + 1),
            write.apply_to,
            applied.rejected,
            self.observers.commit,
            self.core.log.term_at,
        )
        if write.messages or self.core.change_pending or self.core.commit > self.core.applied:
            self.schedule()

    def _send(self, messages: list[Message] | tuple[Message, ...]) -> None:
        if self.peers is None:
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
        member = self.core.configuration.get(server_id)
        link = None
        if member is not None and self.peers is not None:
            link = self.peers.link(member.name)
            if counts and link is not None and not self.membership.is_bound(link, member):
                return None
        return link or self._routes.get(server_id)

    def _reach_members(self) -> None:
        configuration = self.core.configuration
        if self.peers is None or configuration is self._reached:
            return
        self._reached = configuration
        self.peers.reach({m.name: m.peer_endpoint for m in configuration.members})

    # --- roles ---------------------------------------------------------------------

    def _note_office(self) -> None:
        """Tell callers and hooks when an office begins or ends."""
        core = self.core
        office = core.term if core.is_leading else None
        if office != self._office:
            self._office = office
            self._callers.fail(
                OutcomeUnknown("leadership was lost: the change may have been made, or not")
            )
            _log.info("role changed", role=core.role.name.lower(), term=core.term)
            self._office_changed.set()
        leading = core.is_leading and core.serving
        standing = core.role is Role.CANDIDATE or (core.role is Role.LEADER and not leading)
        if standing != (self._standing_since is not None):
            self._note_election(won=leading)
        if leading and self._announced != (True, core.term):
            self._announced = (True, core.term)
            self.observers.leading(core.term)
        elif core.role is Role.FOLLOWER and (self._announced is None or self._announced[0]):
            self._announced = (False, core.term)
            self.observers.following(core.term)

    def _note_election(self, *, won: bool) -> None:
        """This server stands for election, or is done with it: it serves, or follows."""
        now, since = time.monotonic(), self._standing_since
        if since is None:
            self._standing_since = now
            return
        self._standing_since = None
        self.observers.election("won" if won else "lost", now - since if won else None)

    def resign(self) -> None:
        """Stop leading at once, since the database cannot be written; somebody else is to lead.

        What it says claims nothing of this server's disk.
        """
        core = self.core
        if core.leadership is not None:
            successor = core.leadership.successor()
            core.step_down(time.monotonic())
            if successor is not None:
                self._send([TimeoutNow(core.term, core.server_id, successor)])
        self._note_office()
        self._callers.give_up(OutcomeUnknown("the database failed: the change may be made, or not"))

    # --- the database, between writes ----------------------------------------------

    def restart_core(self) -> None:
        """Begin again from what the database says; the caller holds the database."""
        self.core = self._make_core()
        self._callers.fail_reads()
        self._inbox.clear()
        self._reached = None
        if self.peers is not None:
            self.peers.greet_again()

    async def adopt(self, zone_uuid: str, server_id: ServerId, hard_state: HardState) -> None:
        """Take the identity that the zone's leader gives to this server.

        Raises:
            ForeignDatabase: this database belongs to another zone.
        """
        if self.store.facts.zone_uuid not in ("", zone_uuid):
            raise ForeignDatabase(f"this database is of zone {self.store.facts.zone_uuid}")

        def work() -> None:
            self.store.adopt(zone_uuid=zone_uuid, server_id=server_id, hard_state=hard_state)

        with self.writing.pause():
            await self.writing.exclusively(work)
            self.restart_core()

    async def install(self, path: Path) -> Index:
        """Install a received snapshot and tell the core."""
        with self.writing.pause():
            header = await self.writing.exclusively(lambda: self.store.install(path))
            self.core.installed(time.monotonic(), header.index, header.term, header.configuration)
        if self.peers is not None:
            self.peers.greet_again()
        return Index(header.index)
