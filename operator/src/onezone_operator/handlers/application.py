"""The operator as kopf runs it."""

from __future__ import annotations

import kopf

from onezone_operator.config import Settings
from onezone_operator.handlers import startup, watch

__all__ = ["run"]


def run(settings: Settings) -> None:
    """Serve until a signal says to stop."""
    registry = kopf.OperatorRegistry()
    startup.register(registry)
    watch.register(registry)
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        liveness_endpoint=f"http://0.0.0.0:{settings.probe_port}/healthz",
        memo=startup.Runtime(settings),
    )
