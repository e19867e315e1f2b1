"""Runs the leader's and the follower's hook: in order, the newest wins, a failing one again.

The node says which role began; a task of our own does the rest, so that nothing a hook does can
hold up Raft or make a server step down. OpenNebula starts each hook in a thread and forgets it,
so that a slow one of an old role may finish last; here the older one has ended, or was killed,
before the newer one starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from oned.errors import ConfigError, HookError
from oned.hooks.kubernetes import KubernetesHook
from oned.hooks.process import execute
from oned.hooks.resident import Backoff, Occasion, Resident, Side
from oned.hooks.vip import Vip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from oned.config import Environment, HookSettings

__all__ = ["HookRunner"]

ARGUMENTS_MAX = 49
"""OpenNebula passes no more to a hook."""

RETRY = Backoff(first=0.5, most=30.0)
"""Seconds between attempts of a failing hook, while its role lasts."""

PATIENCE_SECONDS = 5.0
"""How long an executable of an ended role may finish by itself before it is killed."""

RESIDENT_SECONDS = 5.0
"""How long a resident hook may clean up after it was cancelled."""

CLOSE_SECONDS = 10.0
"""How long a stop waits for the follower's hook, which gives the floating address back."""

ALIASES = {"raft/vip.sh": "vip"}
"""OpenNebula's commands that are answered by a resident hook when no such file is installed."""

_log = structlog.get_logger()


class _Runnable(Protocol):
    """A hook as configured, of either kind."""

    patience: float

    async def run(self, occasion: Occasion) -> None: ...


@dataclass(slots=True)
class _ResidentHook:
    resident: Resident
    arguments: list[str]
    patience: float = 0.0  # a leader's goes on until it is cancelled: waiting is of no use

    async def run(self, occasion: Occasion) -> None:
        await self.resident.run(self.arguments, occasion)


@dataclass(slots=True)
class _Executable:
    path: Path
    arguments: list[str]
    patience: float

    async def run(self, occasion: Occasion) -> None:
        result = await execute(str(self.path), *self.arguments, environment=occasion.environment())
        log = _log.bind(
            hook=str(self.path), role=occasion.side.value, term=occasion.term, code=result.code
        )
        if result.code:
            log.warning("hook ended", output=result.output)
            raise HookError(f"{self.path} ended with code {result.code}")
        log.info("hook ended", output=result.output)


class HookRunner:
    """Runs the hooks of one server.

    Args:
        leader: RAFT_LEADER_HOOK, or None.
        follower: RAFT_FOLLOWER_HOOK, or None.
        environment: who this server is; relative commands lie below its state directory.
        server_id: asked whenever a hook starts, since the zone may give the id later.
        residents: hooks inside the daemon by name; ``vip`` and ``kubernetes`` when None.
        report: told role and outcome (``success``, ``failed``, ``replaced``) of each run.
        patience_seconds: see ``PATIENCE_SECONDS``.
        retry: pauses between the attempts of a failing hook.

    Raises:
        ConfigError: a resident hook's arguments can never work.
    """

    def __init__(
        self,
        leader: HookSettings | None,
        follower: HookSettings | None,
        environment: Environment,
        server_id: Callable[[], int],
        *,
        residents: Mapping[str, Resident] | None = None,
        report: Callable[[str, str], None] = lambda _role, _outcome: None,
        patience_seconds: float = PATIENCE_SECONDS,
        retry: Backoff = RETRY,
    ) -> None:
        self._environment = environment
        self._server_id = server_id
        self._report = report
        self._patience = patience_seconds
        self._retry = retry
        if residents is None:
            residents = {"vip": Vip(), "kubernetes": KubernetesHook(environment)}
        self._residents = residents
        self._hooks: dict[Side, _Runnable] = {}
        for side, settings in ((Side.LEADER, leader), (Side.FOLLOWER, follower)):
            hook = self._configured(side, settings)
            if hook is not None:
                self._hooks[side] = hook
        self._latest: Occasion | None = None
        self._newer = asyncio.Event()
        self._closing = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def became_leader(self, term: int) -> None:
        """This server leads in ``term`` and serves; to be called once it does."""
        self._order(Side.LEADER, term)

    def became_follower(self, term: int) -> None:
        """This server does not lead (any more)."""
        if self._latest is None or self._latest.side is Side.LEADER:
            self._order(Side.FOLLOWER, term)

    async def close(self) -> None:
        """Run the follower's hook if this server led, and leave nothing running.

        A hook that hangs is killed: this returns within about ``CLOSE_SECONDS``.
        """
        if self._closing.is_set():
            return
        if self._latest is not None:
            self.became_follower(self._latest.term)
        self._closing.set()
        if self._worker is not None:
            done, _ = await asyncio.wait([self._worker], timeout=CLOSE_SECONDS)
            if not done:
                _log.error("hooks take too long to stop, killed", seconds=CLOSE_SECONDS)
                self._worker.cancel()
                await asyncio.wait([self._worker], timeout=CLOSE_SECONDS)
        for resident in self._residents.values():
            await resident.close()

    def _configured(self, side: Side, settings: HookSettings | None) -> _Runnable | None:
        if settings is None:
            return None
        log = _log.bind(hook=f"RAFT_{side.name}_HOOK")
        command = settings.command.strip()
        if not command:
            log.warning("hook without COMMAND ignored")
            return None
        arguments = settings.arguments.split()
        if len(arguments) > ARGUMENTS_MAX:
            log.warning("too many ARGUMENTS, the last are ignored", most=ARGUMENTS_MAX)
            del arguments[ARGUMENTS_MAX:]
        path = self._environment.var / "remotes" / "hooks" / command  # absolute stays absolute
        resident = self._residents.get(command)
        if resident is None and command in ALIASES and not path.exists():
            resident = self._residents.get(ALIASES[command])
        if resident is None:
            if not path.exists():
                log.warning("hook does not exist, tried again at each change", path=str(path))
            return _Executable(path, arguments, self._patience)
        try:
            resident.check(arguments)
        except ConfigError as error:
            raise ConfigError(f"RAFT_{side.name}_HOOK: {error}") from error
        return _ResidentHook(resident, arguments)

    def _order(self, side: Side, term: int) -> None:
        occasion = Occasion(side, term, self._server_id(), self._environment.server_name)
        if self._closing.is_set() or occasion == self._latest:
            return
        self._latest = occasion
        self._newer.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="hooks")

    async def _work(self) -> None:
        while not (self._closing.is_set() and not self._newer.is_set()):
            await _first(self._newer.wait(), self._closing.wait())
            if not self._newer.is_set():
                return
            self._newer.clear()
            assert self._latest is not None
            hook = self._hooks.get(self._latest.side)
            if hook is not None:
                await self._serve(hook, self._latest)

    async def _serve(self, hook: _Runnable, occasion: Occasion) -> None:
        """Run a hook until it worked or its role is over."""
        for pause in self._retry:
            outcome = await self._attempt(hook, occasion)
            self._report(occasion.side.value, outcome)
            if outcome != "failed" or self._closing.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await _first(self._newer.wait(), self._closing.wait())
                    return

    async def _attempt(self, hook: _Runnable, occasion: Occasion) -> str:
        run = asyncio.create_task(hook.run(occasion), name=f"hook {occasion.side}")
        newer = asyncio.create_task(self._newer.wait())
        try:
            await asyncio.wait({run, newer}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done() and hook.patience:
                await asyncio.wait({run}, timeout=hook.patience)
        finally:
            newer.cancel()
            await _ended(run)
        if not run.done() or run.cancelled():
            return "replaced"
        error = run.exception()
        if error is None:
            return "success"
        log = _log.bind(role=occasion.side.value, term=occasion.term)
        if isinstance(error, HookError):
            log.error("hook failed", error=str(error))
        else:
            log.error("hook failed by a fault of its own", exc_info=error)
        return "failed"


async def _ended(run: asyncio.Task[None]) -> None:
    """Cancel a hook that still runs and wait, a bounded time, until it is gone."""
    if run.done():
        return
    run.cancel()
    _, pending = await asyncio.wait({run}, timeout=RESIDENT_SECONDS)
    if pending:
        _log.error("hook does not end, left behind", hook=run.get_name())


async def _first(*waits: Awaitable[object]) -> None:
    """Wait until one of them is done."""
    tasks = {asyncio.ensure_future(each) for each in waits}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
