"""Starts and stops what the handlers use, and tells kopf how to behave.

kopf keeps nothing on the objects: with event handlers alone it needs no finalizer and no
annotations, so that a OneZone can be deleted while the operator is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog
from prometheus_client import start_http_server

from onezone_operator import naming
from onezone_operator.config import Settings
from onezone_operator.handlers.leadership import Leadership
from onezone_operator.handlers.metrics import CACHED, note_api_call
from onezone_operator.handlers.reconciler import Reconciler
from onezone_operator.handlers.wakeups import Wakeups
from onezone_operator.kube import (
    WATCHED,
    CachedKube,
    Informers,
    KubeClient,
    LeaseClient,
    Store,
)
from onezone_operator.zone import ZoneApi, ZoneClient

__all__ = ["Runtime", "register"]

log = structlog.get_logger()


@dataclass(slots=True)
class Runtime:
    """What lives as long as the operator; kopf hands it to every handler as ``memo``."""

    settings: Settings
    wakeups: Wakeups | None = None
    """None while another operator is at work."""
    task: asyncio.Task[None] | None = None
    resources: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def wake(self, namespace: str, name: str) -> None:
        """Have a pass run soon over a zone, if this operator is at work."""
        if self.wakeups is not None:
            self.wakeups.wake(namespace, name)


def register(registry: kopf.OperatorRegistry) -> None:
    """Put the handlers of this module into kopf's registry."""
    kopf.on.startup(registry=registry)(start)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.login(registry=registry, id="service-account")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="kubeconfig")(kopf.login_with_kubeconfig)


async def start(*, settings: kopf.OperatorSettings, memo: Runtime, **_: Any) -> None:
    """Log in, and begin to strive for the Lease."""
    configure(settings, memo.settings)
    own = memo.settings
    if own.metrics_port:
        server, _thread = start_http_server(own.metrics_port)
        memo.resources.callback(server.shutdown)
    client = await memo.resources.enter_async_context(
        KubeClient(request_seconds=own.request_seconds, note_call=note_api_call)
    )
    leadership = Leadership(_lease(client, own))
    zone_api = await memo.resources.enter_async_context(
        ZoneClient(
            status_seconds=own.status_seconds,
            call_seconds=own.zone_seconds,
            may_write=leadership.check,
        )
    )
    work = functools.partial(look_after, memo, client, zone_api, leadership)
    memo.task = asyncio.create_task(leadership.run(work), name="leadership")
    memo.task.add_done_callback(_end_with)
    log.info("operator started", namespaces=own.namespaces or "all", image=own.oned_image)


def _lease(client: KubeClient, own: Settings) -> LeaseClient | None:
    if not own.lease_namespace:
        return None
    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"
    return LeaseClient(client, own.lease_namespace, own.lease_name, identity)


def _end_with(task: asyncio.Task[None]) -> None:
    """What nobody expected must not leave an operator that looks healthy and does nothing."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("the operator cannot go on", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


@contextlib.asynccontextmanager
async def look_after(
    memo: Runtime, client: KubeClient, zone_api: ZoneApi, leadership: Leadership
) -> AsyncIterator[None]:
    """Passes over all zones, from a cache that is listed now and not before."""
    own = memo.settings
    store = Store(WATCHED, own.namespaces, memo.wake)
    async with Informers(client, store) as informers:
        kube = CachedKube(
            client,
            store,
            is_fresh=informers.is_fresh,
            doubt=informers.doubt,
            may_write=leadership.check,
        )
        wakeups = Wakeups(
            Reconciler(kube, zone_api, own).run_pass,
            concurrent_passes=own.concurrent_passes,
            backoff_max_seconds=own.backoff_max_seconds,
        )
        await store.wait_until_listed()
        CACHED.set_function(store.count)
        memo.wakeups = wakeups
        log.info("looking after the zones", objects=store.count())
        for live in store.all_of(naming.KIND):
            wakeups.wake(live["metadata"]["namespace"], live["metadata"]["name"])
        try:
            yield
        finally:
            memo.wakeups = None
            await wakeups.stop()
            CACHED.set_function(lambda: 0)


async def stop(*, memo: Runtime, **_: Any) -> None:
    """End what ``start`` began; a step that is under way is cut off, which is safe."""
    if memo.task is not None:
        memo.task.cancel()
        await asyncio.gather(memo.task, return_exceptions=True)
    await memo.resources.aclose()


def configure(settings: kopf.OperatorSettings, own: Settings) -> None:
    """Kopf's defaults are slow, and made for other kinds of handlers."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = own.request_seconds
    settings.networking.connect_timeout = 3.0
    settings.networking.error_backoffs = (0.5, 1, 2, 4, 8, 15)
    settings.networking.enforce_retry_after = True
    # Never written with these handlers; under our own name all the same.
    settings.persistence.finalizer = f"{naming.GROUP}/{naming.OPERATOR}"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=naming.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=naming.GROUP)
