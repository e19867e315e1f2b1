"""A queue by zone: many wake-ups are one pass, passes of one zone never overlap.

Each zone has one task. It runs a pass, then sleeps until it is woken or its time has come; after
errors it waits longer each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from onezone_operator.errors import OperatorError
from onezone_operator.handlers.metrics import (
    ERRORS,
    QUEUE_SECONDS,
    ZONES,
    forget_zone,
    note_success,
)
from onezone_operator.handlers.reconciler import Outcome

__all__ = ["Wakeups"]

_BACKOFF_FIRST = 0.5
_UNEXPECTED = "unexpected"

log = structlog.get_logger()
Key = tuple[str, str]


class Wakeups:
    """Wakes passes. ``wake`` may be called from anywhere in the event loop."""

    def __init__(
        self,
        run_pass: Callable[[str, str], Awaitable[Outcome]],
        *,
        concurrent_passes: int,
        backoff_max_seconds: float,
    ) -> None:
        self._run_pass = run_pass
        self._slots = asyncio.Semaphore(concurrent_passes)
        self._backoff_max = backoff_max_seconds
        self._signals: dict[Key, asyncio.Event] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._due_since: dict[Key, float] = {}

    def wake(self, namespace: str, name: str) -> None:
        """Have a pass run soon over this zone; one that is waiting already is enough."""
        key = (namespace, name)
        if key not in self._signals:
            self._signals[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(
                self._look_after(key), name=f"zone {namespace}/{name}"
            )
            ZONES.set(len(self._tasks))
        self._due_since.setdefault(key, time.monotonic())
        self._signals[key].set()

    async def stop(self) -> None:
        """End all tasks. A pass that is cut off is continued by the next operator."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, key: Key) -> None:
        signal = self._signals[key]
        failures = 0
        try:
            while True:
                signal.clear()
                async with self._slots:
                    self._note_wait(key)
                    outcome = await self._attempt(key)
                failures = failures + 1 if outcome is None else 0
                if outcome is None:
                    # Not cut short by a wake-up: trouble tends to cause many of them.
                    await asyncio.sleep(self._backoff(failures))
                elif outcome.retry_seconds is not None:
                    await _wait(signal, outcome.retry_seconds)
                elif not signal.is_set():
                    return
                self._due_since.setdefault(key, time.monotonic())
        finally:
            del self._signals[key], self._tasks[key]
            self._due_since.pop(key, None)
            forget_zone(*key)
            ZONES.set(len(self._tasks))

    def _note_wait(self, key: Key) -> None:
        """A pass begins: how long was it due? Wake-ups during it are due from then on."""
        since = self._due_since.pop(key, None)
        if since is not None:
            QUEUE_SECONDS.observe(time.monotonic() - since)

    async def _attempt(self, key: Key) -> Outcome | None:
        """One pass; None after an error, which is logged here and nowhere else."""
        namespace, name = key
        try:
            outcome = await self._run_pass(namespace, name)
        except OperatorError as error:
            ERRORS.labels(type(error).__name__).inc()
            log.warning(
                "pass failed",
                zone=name,
                namespace=namespace,
                error=type(error).__name__,
                reason=str(error),
            )
            return None
        except Exception:
            ERRORS.labels(_UNEXPECTED).inc()
            log.exception("pass failed unexpectedly", zone=name, namespace=namespace)
            return None
        note_success(namespace, name)
        log.debug("pass", zone=name, namespace=namespace, outcome=outcome.sentence)
        return outcome

    def _backoff(self, failures: int) -> float:
        seconds = min(_BACKOFF_FIRST * 2.0 ** min(failures - 1, 16), self._backoff_max)
        return seconds * random.uniform(0.7, 1.0)  # noqa: S311 - jitter is no secret


async def _wait(signal: asyncio.Event, seconds: float) -> None:
    """Until the signal, for so long at most.

    Not ``asyncio.wait_for``: before Python 3.12 it returns as if nothing had happened when it is
    cancelled in the very moment of the signal, and the task would never end.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await signal.wait()
