"""Starts and stops what the handlers use, and tells kopf how to behave.

kopf keeps nothing on the objects: with event handlers alone it needs no finalizer and no
annotations, so that a OneZone can be deleted while the operator is down.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import kopf
import structlog
from prometheus_client import start_http_server

from onezone_operator import naming
from onezone_operator.config import Settings
from onezone_operator.handlers.metrics import note_api_call
from onezone_operator.handlers.reconciler import Reconciler
from onezone_operator.handlers.wakeups import Wakeups
from onezone_operator.kube import KubeClient
from onezone_operator.zone import ZoneClient

__all__ = ["Runtime", "register"]

_WATCHED = ("statefulsets", "pods", "endpointslices", "jobs")

log = structlog.get_logger()


@dataclass(slots=True)
class Runtime:
    """What lives as long as the operator; kopf hands it to every handler as ``memo``."""

    settings: Settings
    wakeups: Wakeups | None = None
    resources: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


def register(registry: kopf.OperatorRegistry) -> None:
    """Put the handlers of this module into kopf's registry."""
    kopf.on.startup(registry=registry)(start)
    kopf.on.cleanup(registry=registry)(stop)
    kopf.on.login(registry=registry, id="service-account")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="kubeconfig")(kopf.login_with_kubeconfig)


async def start(*, settings: kopf.OperatorSettings, memo: Runtime, **_: Any) -> None:
    """Log in, and be ready for wake-ups."""
    configure(settings, memo.settings)
    own = memo.settings
    kube = await memo.resources.enter_async_context(
        KubeClient(request_seconds=own.request_seconds, note_call=note_api_call)
    )
    zone_api = await memo.resources.enter_async_context(
        ZoneClient(status_seconds=own.status_seconds, call_seconds=own.zone_seconds)
    )
    reconciler = Reconciler(kube, zone_api, own)
    memo.wakeups = Wakeups(
        reconciler.run_pass,
        concurrent_passes=own.concurrent_passes,
        backoff_max_seconds=own.backoff_max_seconds,
    )
    if own.metrics_port:
        server, _thread = start_http_server(own.metrics_port)
        memo.resources.callback(server.shutdown)
    log.info("operator started", namespaces=own.namespaces or "all", image=own.oned_image)


async def stop(*, memo: Runtime, **_: Any) -> None:
    """End what ``start`` began; a step that is under way is cut off, which is safe."""
    if memo.wakeups is not None:
        await memo.wakeups.stop()
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
    for plural in _WATCHED:
        # The server filters: other pods of the cluster are never sent to the operator.
        settings.watching.label_selectors[plural] = naming.MANAGED_SELECTOR
