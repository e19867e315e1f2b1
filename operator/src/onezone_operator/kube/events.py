"""Events on a OneZone, for ``kubectl describe`` and ``kubectl get events``."""

from __future__ import annotations

import uuid
from datetime import datetime

from onezone_operator import naming
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.onezone import OneZone

__all__ = ["create_event"]

_MESSAGE_MAX = 1024
"""Bytes that the API server takes."""


async def create_event(
    kube: KubeApi,
    zone: OneZone,
    *,
    kind: str,
    reason: str,
    message: str,
    now: datetime,
) -> None:
    """Tell one transition.

    Args:
        kube: the API.
        zone: what it is about.
        kind: Normal or Warning.
        reason: in one word.
        message: in a sentence.
        now: when it happened.
    """
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{zone.name}.{uuid.uuid4().hex[:16]}",
            "namespace": zone.namespace,
        },
        "involvedObject": {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "name": zone.name,
            "namespace": zone.namespace,
            "uid": zone.metadata.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message[:_MESSAGE_MAX],
        "source": {"component": naming.OPERATOR},
        "reportingComponent": naming.OPERATOR,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    await kube.create(manifest, manager=naming.FIELD_MANAGER)
