"""What a server does with an input: its value and an event in; its value and messages out.

The core is deterministic and talks to nobody, so what it does is a function of these two. Each
pair is run once, on the shipped core, however many states of the zone it occurs in.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

from oned.raft.errors import RaftError
from oned.raft.messages import AppendReply, TimeoutNow, VoteReply
from oned.raft.progress import Flow
from oned.raft.types import NO_SERVER, Role
from proof.exhaust.bounds import Bounds, Cost
from proof.exhaust.disk import Violation
from proof.exhaust.events import Event, arrivals, happenings
from proof.exhaust.freezing import freeze, thaw
from proof.exhaust.known import check_slots
from proof.exhaust.post import Naming, Post, Posted
from proof.exhaust.values import Local, Office, renamed


class Step(NamedTuple):
    """An event at a server with some value, and what came of it.

    Attributes:
        cost: which budget it uses; ``Cost.ENTRIES`` only when ``entry`` is what is left of it.
        after: the server's value afterwards, by number.
        sent: messages, by number.
        wrong: the promise that is broken by it, if one is.
    """

    label: str
    cost: Cost
    after: int
    sent: tuple[int, ...]
    wrong: str | None
    entry: int


class Servers:
    """Every value that a server ever had in a search, by number, and what can happen to it.

    Attributes:
        kinds: of each value, a number that is the same for values that differ in ids only.
        commits: of each value, its commit index.
        ran: how often the core was run.
    """

    def __init__(self, bounds: Bounds, post: Post) -> None:
        check_slots()
        self.bounds, self.post = bounds, post
        self.locals: list[Local] = []
        self.kinds: list[int] = []
        self.commits: list[int] = []
        self.ran = 0
        self._numbers: dict[Local, int] = {}
        self._kind_of: dict[Local, int] = {}
        self._renamed: dict[tuple[int, Naming], int] = {}
        self._happenings: dict[int, tuple[Step, ...]] = {}
        self._arrivals: dict[tuple[int, int], tuple[Step, ...]] = {}
        self._dead: dict[tuple[int, int], bool] = {}
        self._settled: dict[int, int] = {}

    def number(self, local: Local) -> int:
        """The number of this value, a new one if it is new."""
        found = self._numbers.get(local)
        if found is None:
            found = self._numbers[local] = len(self.locals)
            self.locals.append(local)
            self.kinds.append(self._kind(local))
            self.commits.append(local.core.commit)
        return found

    def _kind(self, local: Local) -> int:
        me, servers = local.core.server_id, self.bounds.servers
        others = [server for server in range(servers) if server != me]
        found = -1
        for order in permutations(range(1, servers)):
            naming = [0] * servers
            for other, name in zip(others, order, strict=True):
                naming[other] = name
            value = renamed(local, self.post, tuple(naming))
            if found < 0:
                found = self._kind_of.setdefault(value, len(self._kind_of))
            else:
                self._kind_of.setdefault(value, found)
        return found

    def renamed(self, number: int, naming: Naming) -> int:
        """The value of the server that this one is when ids are dealt out otherwise."""
        found = self._renamed.get((number, naming))
        if found is None:
            value = renamed(self.locals[number], self.post, naming)
            found = self._renamed[number, naming] = self.number(value)
        return found

    def settled(self, number: int) -> int:
        """The same server when there is no crash to come: what one would lose is of no interest."""
        found = self._settled.get(number)
        if found is None:
            found = self._settled[number] = self.number(self.locals[number]._replace(images=()))
        return found

    def _essence(self, local: Local) -> Local:
        """A value without what nothing can depend on within the bounds."""
        if not self.bounds.crashes and local.images:
            local = local._replace(images=())
        if not self.bounds.snapshots and local.office is None:
            # But for reads, whom a server follows is used to acknowledge a snapshot, and no more.
            local = local._replace(core=local.core._replace(leader_id=NO_SERVER))
        return local

    # --- running the core ------------------------------------------------------------

    def arrivals(self, number: int, message: int) -> tuple[Step, ...]:
        """What the arrival of a message does, as far as it does anything."""
        found = self._arrivals.get((number, message))
        if found is None:
            steps = self._run_all(number, arrivals(self.post, message))
            found = self._arrivals[number, message] = steps
        return found

    def happenings(self, number: int) -> tuple[Step, ...]:
        """What happens to a server without a message, as far as it does anything."""
        found = self._happenings.get(number)
        if found is None:
            steps = self._run_all(number, happenings(self.locals[number], self.bounds))
            found = self._happenings[number] = steps
        return found

    def _run_all(self, number: int, events: Iterator[Event]) -> tuple[Step, ...]:
        """Events that do the same are one: the first of them."""
        found: dict[tuple[object, ...], Step] = {}
        for event in events:
            step = self._run(number, event)
            if step is not None and (step.after != number or step.sent or step.wrong):
                found.setdefault((step.cost, *step[2:]), step)
        return tuple(found.values())

    def _run(self, number: int, event: Event) -> Step | None:
        """One input on the shipped core, and what a driver does after it."""
        label, cost, act, entry = event
        before = self.locals[number]
        server = thaw(self.post, before)
        self.ran += 1
        try:
            act(server)
            if not self.bounds.batches:
                server.flush()
            after = self._essence(freeze(server))
            if cost is not Cost.CRASHES:
                check_step(before, after)
            if not self.bounds.snapshots and after.office is not None:
                check_progress(after.office)
        except RaftError:
            return None  # refused, and a refused input has changed nothing
        except Violation as wrong:
            return Step(label, cost, number, (), str(wrong), entry)
        except Exception as error:  # noqa: BLE001 - whatever stops the core stops the server
            text = f"the core stops: {type(error).__name__}: {error}"
            return Step(label, cost, number, (), text, entry)
        return Step(label, cost, self.number(after), tuple(sorted(server.sent)), None, entry)

    # --- messages that can do nothing any more ------------------------------------------

    def is_dead(self, number: int, message: int) -> bool:
        """Whether a message can never again do anything to its receiver: then it is dropped."""
        found = self._dead.get((number, message))
        if found is None:
            value = self.post.messages[message]
            found = self._dead[number, message] = is_dead(self.locals[number], value)
            assert not found or not self.arrivals(number, message), f"not dead: {value}"
        return found


def is_dead(local: Local, message: Posted) -> bool:
    """See docs/explanation/exhaustive-search.md for why each of these is for ever.

    A disk never goes back to an earlier term, so what is behind the disk's term stays behind.
    """
    kept, core = local.disk.hard_state.term, local.core
    # Who does not stand in its term now never does again; the next candidacy is of a later term.
    standing = core.role is Role.CANDIDATE and not core.pre_campaign
    settled = kept == core.term and not standing
    match message:
        case TimeoutNow():
            return message.term < kept
        case VoteReply(pre=True, granted=True):
            # It names the term after the one that its pre-candidate was in.
            return message.term - 1 < kept
        case VoteReply():
            denied = not message.granted and message.term == kept
            return message.term < kept or denied or (message.term == kept and settled)
        case AppendReply():
            idle = settled and local.office is None
            return message.term < kept or (message.term == kept and idle)
        case _:
            return False


def check_progress(office: Office) -> None:
    """Where no log was ever compacted, nobody needs a snapshot.

    Raises:
        Violation: a server is thought to.
    """
    for seen in office.seen:
        if seen.flow is Flow.SNAPSHOT:
            raise Violation(f"a snapshot is wanted for s{seen.peer}, and no log was ever purged")


def check_step(before: Local, after: Local) -> None:
    """What no input may do to a server, short of a crash.

    Raises:
        Violation: it did.
    """
    if after.core.term < before.core.term:
        raise Violation(f"from term {before.core.term} back to {after.core.term}")
    if after.core.commit < before.core.commit:
        raise Violation(f"commit goes from {before.core.commit} back to {after.core.commit}")
    entries = {entry.index: entry for entry in after.entries()}
    for entry in before.entries():
        kept = after.log.base[0] < entry.index <= before.core.commit
        if kept and entries.get(entry.index) != entry:
            raise Violation(f"committed entry {entry.index} is replaced or removed")
    last = after.log.tail[-1].index if after.log.tail else after.log.last_before_tail[0]
    if not after.core.applied <= after.core.commit <= last:
        raise Violation(
            f"applied {after.core.applied}, commit {after.core.commit}, last {last}: out of order"
        )
