"""The queue: one pass at a time for a zone, many wake-ups are one pass, errors wait longer."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from onezone_operator.config import Settings
from onezone_operator.errors import Unavailable
from onezone_operator.handlers.reconciler import Outcome
from onezone_operator.handlers.wakeups import Wakeups


class Passes:
    """A pass under the test's control."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.count = 0
        self.running = 0
        self.overlapped = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.ran = asyncio.Condition()

    async def __call__(self, namespace, name):
        self.running += 1
        self.overlapped |= self.running > 1
        await self.gate.wait()
        self.running -= 1
        self.count += 1
        async with self.ran:
            self.ran.notify_all()
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome("", 3600)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def wait_until(self, count):
        async with asyncio.timeout(5), self.ran:
            await self.ran.wait_for(lambda: self.count >= count)


def queue(passes):
    return Wakeups(passes, concurrent_passes=4, backoff_max_seconds=1.0)


async def test_wakeups_during_a_pass_are_one_more_pass():
    passes = Passes()
    passes.gate.clear()
    wakeups = queue(passes)
    wakeups.wake("a", "zone")
    await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
        wakeups.wake("a", "zone")
    passes.gate.set()
    await passes.wait_until(2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert passes.count == 2
    assert not passes.overlapped
    await wakeups.stop()


async def test_pass_is_repeated_after_its_time():
    passes = Passes(Outcome("", 0.01), Outcome("", 0.01))
    wakeups = queue(passes)
    wakeups.wake("a", "zone")
    await passes.wait_until(3)
    await wakeups.stop()


@pytest.mark.parametrize("error", [Unavailable("no answer"), RuntimeError("a bug")])
async def test_errors_end_a_pass_and_not_the_queue(error):
    passes = Passes(error)
    wakeups = queue(passes)
    wakeups.wake("a", "zone")
    await passes.wait_until(2)
    await wakeups.stop()


async def test_gone_zone_is_forgotten_and_can_come_back():
    passes = Passes(Outcome("gone", None), Outcome("gone", None))
    wakeups = queue(passes)
    wakeups.wake("a", "zone")
    await passes.wait_until(1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not wakeups._tasks
    wakeups.wake("a", "zone")
    await passes.wait_until(2)
    await wakeups.stop()


@pytest.mark.parametrize("turns", range(6))
async def test_stop_meets_a_wakeup(turns):
    """However far a wake-up has come in the event loop, a task that is cancelled ends."""
    passes = Passes()
    wakeups = queue(passes)
    wakeups.wake("default", "zone")
    await passes.wait_until(1)
    await asyncio.sleep(0)
    wakeups.wake("default", "zone")
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await wakeups.stop()
    assert passes.count <= 2


async def test_backoff_is_bounded():
    wakeups = queue(Passes())
    assert all(0 < wakeups._backoff(failures) <= 1.0 for failures in (1, 2, 5, 1000))


def test_settings_from_the_environment(monkeypatch):
    monkeypatch.setenv("ONEZONE_NAMESPACES", "one, two")
    monkeypatch.setenv("ONEZONE_ONED_IMAGE", "example.org/oned:2")
    settings = Settings()
    assert settings.namespaces == ("one", "two")
    assert settings.oned_image == "example.org/oned:2"
    monkeypatch.setenv("ONEZONE_STEADY_SECONDS", "0")
    with pytest.raises(ValidationError):
        Settings()
