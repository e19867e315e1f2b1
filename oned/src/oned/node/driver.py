"""The only driver of ``raft``: feeds it time, messages and proposals, and carries out what it says.

Everything here runs on the event loop. Beside it ``writing`` has a thread that makes writes
durable, and ``recovery`` takes over while the database cannot be used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import structlog

from oned.errors import (
    ForeignDatabase,
    MembershipPending,
    NotLeader,
    OutcomeUnknown,
    ProposalError,
    StorageError,
)
from oned.node import report
from oned.node.callers import Callers
from oned.node.core import build_core
from oned.node.exports import Writer
from oned.node.membership import Membership
from oned.node.office import Office
from oned.node.post import Post
from oned.node.recovery import Recovery
from oned.node.settings import Observers, Settings
from oned.node.snapshots import Snapshots
from oned.node.writing import Writing
from oned.raft.errors import ChangePending, NotLeading, UnsafeChange
from oned.raft.messages import TimeoutNow
from oned.raft.timing import NEVER
from oned.raft.types import (
    Configuration,
    Follower,
    HardState,
    Index,
    RaftStatus,
    ServerId,
    Term,
)
from oned.raft.writes import Write
from oned.state.entry import Change, Reader, encode
from oned.storage.export import Export, write_beside
from oned.storage.store import Applied, Store
from oned.transport.peers import Peers

READ_SECONDS = 5.0
"""How long a read waits for the proof that it is up to date; another server may be quicker."""

_log = structlog.get_logger()


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
        self._scheduled = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_purge = time.monotonic() + settings.purge_interval
        self.callers = Callers()
        self.office = Office(self)
        self.post = Post(self)
        self.writing = Writing(self)
        self.recovery = Recovery(self)
        self.snapshots = Snapshots(self, snapshot_directory, export)
        self.membership = Membership(self)
        self.core = build_core(self.store, self.settings)
        # A read may come upon it in any thread.
        store.trouble = lambda error: self._loop.call_soon_threadsafe(self.recovery.begin, error)

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
        self.callers.give_up(OutcomeUnknown("this server stops"))
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
        return report.status(self)

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
        done = self.callers.propose(data, configuration, term)
        self.schedule()
        await done

    async def read_barrier(self) -> None:
        """See ``oned.api.ports.Front.read_barrier``."""
        now, core = time.monotonic(), self.core
        if core.lease_read(now):
            if core.leadership is not None and core.applied < core.commit:
                # A follower may have shown already what is committed and not applied here yet.
                done = self.callers.read(0, core.commit)
                self.schedule()
                await done
            return
        if self.recovery.trouble is not None:
            raise NotLeader("the database of this server does not work")
        try:
            if core.leadership is not None:
                done = self.callers.read(*core.read_round(now))
            else:
                done = self.callers.index_read(core.read_index(now))
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
                    self.office.changed.clear()
                    await self.office.changed.wait()
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
        return report.follower(self, server_id)

    async def reset_server(self, server_id: ServerId) -> None:
        """Send a server a fresh snapshot whatever its log holds."""
        self.core.force_snapshot(server_id)
        self.schedule()

    def report(self) -> dict[str, Any]:
        """What ``/status`` shows: see ARCHITECTURE.md."""
        return report.report(self)

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
        self.post.deliver(now)
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
        self.office.note()
        self.post.reach_members()
        messages = core.take_messages()
        self.post.send(messages)
        if messages:
            # They leave before this server writes what they carry, so that all write at once.
            self._loop.call_soon(self._run, self._write)
        else:
            self._write(now)

    def _write(self, now: float) -> None:
        """The rest of a step: the database, and who waited for what it holds now."""
        core = self.core
        self.writing.begin()
        self.post.send(core.take_messages())
        self.callers.release_reads(core.leadership, core.applied)
        self.callers.release_index_reads(core.reads)
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
        for batch in self.callers.batches(self.core.term):
            try:
                first = self.core.propose([(p.data, p.configuration) for p in batch])
            except NotLeading:
                error: ProposalError = NotLeader("this server does not lead, or hands over")
            except ChangePending:
                error = MembershipPending("another membership change is under way, try again")
            except UnsafeChange:
                error = MembershipPending("one voter at a time")
            else:
                self.callers.appended(first, batch)
                continue
            for proposal in batch:
                proposal.refuse(error)

    def written(self, write: Write, applied: Applied, seconds: float) -> None:
        """A write has ended: tell the core, and whoever waited for it."""
        before = self.core.applied
        now = time.monotonic()
        self.core.written(now, write)
        self.post.send(write.messages)
        if write.entries:
            self.observers.batch(len(write.entries), seconds)
        self.callers.applied(
            Index(before + 1),
            write.apply_to,
            applied.rejected,
            self.observers.commit,
            self.core.log.term_at,
        )
        if write.messages or self.core.change_pending or self.core.commit > self.core.applied:
            self.schedule()

    # --- roles ---------------------------------------------------------------------

    def resign(self) -> None:
        """Stop leading at once, since the database cannot be written; somebody else is to lead.

        What it says claims nothing of this server's disk.
        """
        core = self.core
        if core.leadership is not None:
            successor = core.leadership.successor()
            core.step_down(time.monotonic())
            if successor is not None:
                self.post.send([TimeoutNow(core.term, core.server_id, successor)])
        self.office.note()
        self.callers.give_up(OutcomeUnknown("the database failed: the change may be made, or not"))

    # --- the database, between writes ----------------------------------------------

    def restart_core(self) -> None:
        """Begin again from what the database says; the caller holds the database."""
        self.core = build_core(self.store, self.settings)
        self.callers.fail_reads()
        self.post.begin_anew()

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
        self.post.greet_again()
        return Index(header.index)
