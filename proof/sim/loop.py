"""Event loops on simulated time: one for each process, and all of them take turns.

``Agenda`` is the one list of what happens next in the world. A loop puts its callbacks on it
in the world's order, so that a run depends on nothing but its seed. A process that is paused
keeps what is due until it goes on; one that is dead never runs again.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from proof.sim.clock import Clock

_CLOSED = inspect.CORO_CLOSED


class Agenda:
    """What happens next: at once in order, or at a time, ties in the order of planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running: Loop | None = None
        self.steps = 0
        self.steps_at_once = 0
        self._ready: deque[tuple[Loop, asyncio.Handle]] = deque()
        self._timed: list[tuple[float, int, Loop, asyncio.Handle]] = []
        self._count = 0

    def soon(self, loop: Loop, handle: asyncio.Handle) -> None:
        self._ready.append((loop, handle))

    def at(self, true: float, loop: Loop, handle: asyncio.Handle) -> None:
        self._count += 1
        heapq.heappush(self._timed, (max(true, self.now), self._count, loop, handle))

    def run_one(self, until: float) -> Loop | None:
        """Run what is next; the loop that ran, or None when nothing is left before ``until``."""
        if self._ready:
            loop, handle = self._ready.popleft()
            self.steps_at_once += 1
        else:
            self.steps_at_once = 0
            if not self._timed or self._timed[0][0] > until:
                self.now = until
                return None
            self.now, _, loop, handle = heapq.heappop(self._timed)
        loop.run(handle)
        return loop


class Loop(asyncio.AbstractEventLoop):
    """What asyncio needs of a loop, for one process.

    Args:
        agenda: of the world.
        clock: of the machine.
        work_seconds: how long a piece of work in another thread takes, asked for each.
        failed: told of exceptions that nobody caught.
    """

    def __init__(
        self,
        agenda: Agenda,
        clock: Clock,
        *,
        work_seconds: Callable[[], float] = lambda: 0.0,
        failed: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self.agenda = agenda
        self.clock = clock
        self.dead = False
        self.owner: Any = None
        self._paused: list[asyncio.Handle] | None = None
        self._work_seconds = work_seconds
        self._failed = failed
        self._queues: dict[Executor, deque[Callable[[], None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- the world's side ----------------------------------------------------------

    def run(self, handle: asyncio.Handle) -> None:
        """Run one callback as this process, unless it is dead or paused."""
        if self.dead or handle._cancelled:
            return
        if self._paused is not None:
            self._paused.append(handle)
            return
        agenda = self.agenda
        outer = agenda.running
        agenda.running = self
        agenda.steps += 1
        events._set_running_loop(self)
        try:
            handle._run()
        finally:
            agenda.running = outer
            events._set_running_loop(outer)

    def pause(self) -> None:
        if self._paused is None:
            self._paused = []

    def resume(self) -> None:
        """Go on; what was due in the meantime happens now, in its order."""
        held, self._paused = self._paused or [], None
        for handle in held:
            self.agenda.soon(self, handle)

    @property
    def paused(self) -> bool:
        return self._paused is not None

    def kill(self) -> None:
        """Nothing of this process runs any more, no ``finally`` either."""
        self.dead = True

    def bury(self) -> None:
        """After the world has ended: close what never will, before the next one begins.

        Left to the garbage collector, a ``finally`` of this world would run in another.
        """
        self.dead = True
        for task in list(self._tasks):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            with contextlib.suppress(Exception):
                while inspect.getcoroutinestate(coroutine) != _CLOSED:
                    coroutine.close()
        self._tasks.clear()

    # --- what asyncio and the shipped source call ------------------------------------

    def time(self) -> float:
        return self.clock.monotonic(self.agenda.now)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.agenda.soon(self, handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.agenda.at(self.clock.true_time_of(when), self, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is passed over when its time comes

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Work of other threads: in an executor one after another, in the default one at once."""
        done = self.create_future()

        def work() -> None:
            if executor is not None:
                self._queues[executor].popleft()
                self._next_work(executor)
            if done.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 (a thread's work: its caller gets it)
                done.set_exception(error)
            else:
                done.set_result(result)

        if executor is None:
            self._begin_work(work)
        else:
            queue = self._queues.setdefault(executor, deque())
            queue.append(work)
            if len(queue) == 1:
                self._begin_work(work)
        return done

    def _next_work(self, executor: Executor) -> None:
        if self._queues[executor]:
            self._begin_work(self._queues[executor][0])

    def _begin_work(self, work: Callable[[], None]) -> None:
        ends = self.agenda.now + self._work_seconds()
        self.agenda.at(ends, self, asyncio.Handle(work, (), self, None))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not self.dead and error is not None:
            self._failed(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return False
