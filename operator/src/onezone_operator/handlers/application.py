"""The operator as kopf runs it: signals, probes, start and end.

kopf watches nothing here. Of a watch that broke it does not tell what was deleted meanwhile, which
a copy of the objects must know; ``kube.informer`` lists anew.
"""

from __future__ import annotations

import kopf

from onezone_operator.config import Settings
from onezone_operator.handlers import startup

__all__ = ["run"]


def run(settings: Settings) -> None:
    """Serve until a signal says to stop."""
    registry = kopf.OperatorRegistry()
    startup.register(registry)
    kopf.run(
        registry=registry,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        liveness_endpoint=f"http://0.0.0.0:{settings.probe_port}/healthz",
        memo=startup.Runtime(settings),
    )
