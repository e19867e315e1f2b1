"""Which operator is at work: the decision, as properties, and what must never happen."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onezone_operator.errors import Conflict, NotLeading, Unavailable
from onezone_operator.handlers import leadership
from onezone_operator.handlers.leadership import Leadership
from onezone_operator.models.lease import LEASE_SECONDS, LeaseFacts
from onezone_operator.reconcile.leadership import (
    RENEW_DEADLINE_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    Acquire,
    Renew,
    Stand,
    decide,
    may_write,
)

FACTS = st.builds(
    LeaseFacts,
    holder=st.sampled_from(["", "me", "other"]),
    seconds=st.floats(0, 60),
    version=st.just("1"),
    transitions=st.integers(0, 9),
)


@given(lease=st.none() | FACTS, unchanged=st.floats(0, 120))
def test_decision(lease, unchanged):
    intent = decide(lease, me="me", unchanged_seconds=unchanged)
    match intent:
        case Acquire():
            assert lease is None or lease.holder != "me"
            if lease is not None and lease.holder:
                assert unchanged >= LEASE_SECONDS
                assert unchanged >= lease.seconds
        case Renew():
            assert lease.holder == "me"
        case Stand(seconds=seconds):
            assert lease.holder == "other"
            assert 0 < seconds <= RETRY_SECONDS


def test_times_leave_room():
    """A holder stops well before another may take over, and renews more often than it must."""
    assert RENEW_SECONDS + RETRY_SECONDS < RENEW_DEADLINE_SECONDS < LEASE_SECONDS
    assert LEASE_SECONDS + RETRY_SECONDS <= 17


@given(st.floats(0, 100))
def test_writes_end_before_the_lease(seconds):
    assert may_write(renewed_before_seconds=seconds) == (seconds < RENEW_DEADLINE_SECONDS)
    assert not may_write(renewed_before_seconds=None)


@dataclass
class Model:
    """Two operators with clocks of their own, one Lease, and pauses and lost calls between them."""

    lease: LeaseFacts | None = None
    now: float = 0.0
    renewed: dict[str, float | None] = field(default_factory=lambda: {"a": None, "b": None})
    seen: dict[str, tuple[str, float]] = field(default_factory=lambda: {"a": ("", 0), "b": ("", 0)})
    version: int = 0

    def may_write(self, who: str) -> bool:
        sent = self.renewed[who]
        return may_write(renewed_before_seconds=None if sent is None else self.now - sent)

    def look(self, who: str, delay: float, answered: bool) -> None:
        """A look at the Lease and what follows; the call takes a time, and may get no answer."""
        sent, lease = self.now, self.lease
        version = lease.version if lease else ""
        if self.seen[who][0] != version:
            self.seen[who] = (version, self.now)
        intent = decide(lease, me=who, unchanged_seconds=self.now - self.seen[who][1])
        self.now += delay
        if isinstance(intent, Stand) or self.lease != lease:
            return
        self.version += 1
        self.lease = LeaseFacts(who, LEASE_SECONDS, str(self.version))
        if answered:
            self.renewed[who] = sent


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 20), st.floats(0, 3), st.booleans()),
        max_size=40,
    )
)
def test_never_two_may_write(steps):
    """However long each of them is paused between any two steps."""
    model = Model()
    for who, pause, delay, answered in steps:
        model.now += pause
        model.look(who, delay, answered)
        assert not (model.may_write("a") and model.may_write("b"))


class Lease:
    """A Lease in memory that behaves as the API server's."""

    def __init__(self, shared, identity):
        self.shared = shared
        self.identity = identity
        self.is_cut_off = False

    async def read(self):
        await self._call()
        return self.shared.get("lease")

    async def create(self):
        await self._call()
        if "lease" in self.shared:
            raise Conflict("it exists")
        return self._write(LeaseFacts(self.identity, LEASE_SECONDS, "0"))

    async def acquire(self, seen, transitions):
        await self._call(seen)
        return self._write(replace(seen, holder=self.identity, transitions=transitions))

    async def renew(self, seen):
        await self._call(seen)
        return self._write(seen)

    async def release(self, seen):
        await self._call(seen)
        self._write(replace(seen, holder=""))

    async def wait_until_changed(self, seen):
        while self.shared["lease"].version == seen.version:
            await asyncio.sleep(0.001)

    async def _call(self, seen=None):
        await asyncio.sleep(0)
        if self.is_cut_off:
            raise Unavailable("no answer")
        if seen is not None and self.shared["lease"].version != seen.version:
            raise Conflict("written meanwhile")

    def _write(self, lease):
        self.shared["lease"] = replace(lease, version=str(int(lease.version) + 1))
        return self.shared["lease"]


class Work:
    def __init__(self):
        self.is_running = False
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def __call__(self):
        self.is_running = True
        self.began.set()
        try:
            yield
        finally:
            self.is_running = False
            self.ended.set()


@pytest.fixture
def hasty(monkeypatch):
    """A hundredth of all times."""
    for name in ("RENEW_SECONDS", "RENEW_DEADLINE_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(leadership, name, getattr(leadership, name) / 100)


async def test_planned_hand_over_is_immediate(hasty):
    shared, works = {}, (Work(), Work())
    first, second = (Leadership(Lease(shared, name)) for name in "ab")
    tasks = [asyncio.create_task(first.run(works[0]))]
    async with asyncio.timeout(5):
        await works[0].began.wait()
        first.check()
        tasks.append(asyncio.create_task(second.run(works[1])))
        with pytest.raises(NotLeading):
            second.check()
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await works[1].began.wait()
    assert not works[0].is_running
    with pytest.raises(NotLeading):
        first.check()
    second.check()
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert shared["lease"].holder == ""


async def test_a_holder_that_cannot_renew_stops(hasty):
    lease, work = Lease({}, "a"), Work()
    holder = Leadership(lease)
    task = asyncio.create_task(holder.run(work))
    async with asyncio.timeout(5):
        await work.began.wait()
        lease.is_cut_off = True
        await work.ended.wait()
    with pytest.raises(NotLeading):
        holder.check()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_process_that_was_stopped_for_long_writes_nothing_when_it_goes_on():
    """Before its own task has noticed anything."""
    now = [0.0]
    work = Work()
    holder = Leadership(Lease({}, "a"), clock=lambda: now[0])
    task = asyncio.create_task(holder.run(work))
    async with asyncio.timeout(5):
        await work.began.wait()
    holder.check()
    now[0] += RENEW_DEADLINE_SECONDS
    with pytest.raises(NotLeading):
        holder.check()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_without_a_lease_the_only_operator_works():
    work = Work()
    only = Leadership(None)
    task = asyncio.create_task(only.run(work))
    async with asyncio.timeout(5):
        await work.began.wait()
    only.check()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not work.is_running
