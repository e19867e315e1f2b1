"""Holds the Lease, and lets the work run while it is held.

What runs meanwhile is started after the Lease was taken, from facts that are read after that, and
is cancelled when it is lost. Beside that ``check`` stands before every single write: a process
that was stopped for a while and goes on in the middle of a pass writes nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog

from onezone_operator.errors import Conflict, KubeError, NotLeading
from onezone_operator.handlers.metrics import LEADING
from onezone_operator.kube import LeaseClient
from onezone_operator.models.lease import LeaseFacts
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

__all__ = ["Leadership"]

RELEASE_SECONDS = 2.0
"""What giving the Lease back may take at the end. If it fails the others wait for its time."""

log = structlog.get_logger()


class Leadership:
    """Run with ``run``, which ends only by being cancelled.

    Args:
        lease: the Lease; None if there is none, and this operator is the only one.
        clock: seconds that only grow.
    """

    def __init__(
        self, lease: LeaseClient | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lease = lease
        self._clock = clock
        self._renewed: float | None = None
        self._seen = ""
        self._seen_since = 0.0

    def check(self) -> None:
        """Before a write.

        Raises:
            NotLeading: another operator may be at work.
        """
        if self._lease is None:
            return
        before = None if self._renewed is None else self._clock() - self._renewed
        if not may_write(renewed_before_seconds=before):
            raise NotLeading("this operator does not hold the Lease")

    async def run(self, work: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Do the work whenever the Lease is held: entered then, and left when it is lost."""
        lease = self._lease
        if lease is None:
            await _work(work)
            return
        while True:
            try:
                held = await self._acquire(lease)
                await self._hold(lease, held, work)
            except KubeError as error:
                log.warning("the Lease cannot be had", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _acquire(self, lease: LeaseClient) -> LeaseFacts:
        """Stand by until the Lease is held."""
        told = ""
        while True:
            sent = self._clock()
            found = await lease.read()
            intent = decide(found, me=lease.identity, unchanged_seconds=self._unchanged(found))
            with contextlib.suppress(Conflict):
                match intent:
                    case Acquire(transitions=transitions):
                        held = await (
                            lease.create() if found is None else lease.acquire(found, transitions)
                        )
                        self._renewed = sent
                        log.info("took the lease", identity=lease.identity, before=told)
                        return held
                    case Renew():
                        assert found is not None
                        held = await lease.renew(found)
                        self._renewed = sent
                        return held
                    case Stand(seconds=seconds):
                        assert found is not None
                        if told != found.holder:
                            told = found.holder
                            log.info("standing by", holder=told)
                        await _wait(lease, found, seconds)

    def _unchanged(self, found: LeaseFacts | None) -> float:
        """For how long this process has seen this version of the Lease."""
        version = found.version if found is not None else ""
        if version != self._seen:
            self._seen, self._seen_since = version, self._clock()
        return self._clock() - self._seen_since

    async def _hold(
        self,
        lease: LeaseClient,
        held: LeaseFacts,
        work: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """Work and renew until the Lease is lost, or until this is cancelled, which gives it
        back.
        """
        working = asyncio.create_task(_work(work), name="work")
        try:
            while True:
                done, _ = await asyncio.wait({working}, timeout=RENEW_SECONDS)
                if done:
                    working.result()
                found = await self._renew(lease, held)
                if found is None:
                    log.warning("lost the lease")
                    return
                held = found
        finally:
            # Nothing is written from here on, not even by what is only about to be cancelled.
            self._renewed = None
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await _release(lease, held)

    async def _renew(self, lease: LeaseClient, held: LeaseFacts) -> LeaseFacts | None:
        """Renew in time; None if that was not possible."""
        assert self._renewed is not None
        while (left := self._renewed + RENEW_DEADLINE_SECONDS - self._clock()) > 0:
            sent = self._clock()
            try:
                async with asyncio.timeout(left):
                    renewed = await lease.renew(held)
            except Conflict:
                # Perhaps an answer of our own was lost; whoever holds it now will show.
                found = await lease.read()
                if found is None or found.holder != lease.identity:
                    return None
                held = found
            except (KubeError, TimeoutError) as error:
                log.warning("the lease was not renewed", reason=str(error))
                await asyncio.sleep(min(RETRY_SECONDS, max(left, 0)))
            else:
                self._renewed = sent
                return renewed
        return None


async def _wait(lease: LeaseClient, found: LeaseFacts, seconds: float) -> None:
    """Until the Lease is written, for so long at most."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await lease.wait_until_changed(found)
    except TimeoutError:
        return
    except KubeError:
        await asyncio.sleep(max(seconds - (time.monotonic() - started), 0))


async def _release(lease: LeaseClient, held: LeaseFacts) -> None:
    try:
        async with asyncio.timeout(RELEASE_SECONDS):
            await lease.release(held)
    except (KubeError, TimeoutError) as error:
        log.info("the lease was not given back", reason=str(error))
    else:
        log.info("gave the lease back")


async def _work(work: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """The work, until this is cancelled."""
    LEADING.set(1)
    try:
        async with work():
            await asyncio.Event().wait()
    finally:
        LEADING.set(0)
