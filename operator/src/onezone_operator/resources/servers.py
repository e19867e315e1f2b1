"""The StatefulSet of the servers, and the budget that keeps evictions from costing the quorum."""

from __future__ import annotations

from typing import Any

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import build_metadata
from onezone_operator.resources.pod import build_pod_template

__all__ = ["build_disruption_budget", "build_stateful_set", "tolerated_losses"]


def build_stateful_set(
    zone: OneZone,
    *,
    replicas: int,
    zone_uuid: str,
    live: Manifest | None = None,
    keeps_volumes: bool = False,
    releases_volumes: bool = False,
    restore_storage: BackupStorage | None = None,
) -> Manifest:
    """The StatefulSet.

    Args:
        zone: the zone, its image filled in.
        replicas: pods, which is not ``spec.replicas``: membership goes before pods.
        zone_uuid: stamped on each volume, so that a kept volume tells whose it is.
        live: the StatefulSet as it is. Claims cannot be changed in one, so they are taken over
            as they are; ``reconcile.volumes`` sees to what this leaves undone.
        restore_storage: mounted in front of the servers, while one of them is to begin with a
            backup that is there.
        keeps_volumes: a pod that goes leaves its volume behind, whatever the policy says.
        releases_volumes: the StatefulSet itself leaves them behind.
    """
    policy = zone.spec.storage.persistent_volume_claim_retention_policy
    claims = [_claim(zone, zone_uuid)]
    if live is not None:
        claims = [_known_claim(each) for each in live["spec"]["volumeClaimTemplates"]]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": build_metadata(zone, zone.name),
        "spec": {
            "serviceName": naming.servers_service_name(zone.name),
            "replicas": replicas,
            # Which server is replaced, and when, depends on its role: the operator decides.
            "updateStrategy": {"type": "OnDelete"},
            # After an outage all servers must start at once: one alone has no quorum to be ready.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain" if releases_volumes else policy.when_deleted,
                "whenScaled": "Retain" if keeps_volumes else policy.when_scaled,
            },
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": naming.selector_labels(zone.name)},
            "template": build_pod_template(zone, restore_storage),
            "volumeClaimTemplates": claims,
        },
    }


def build_disruption_budget(zone: OneZone, *, voters: int) -> Manifest:
    """The budget: as many servers may be away as the quorum allows.

    A pod that is not ready may be evicted only while the others make a quorum
    (IfHealthyBudget): during an election all are unready for a moment, and AlwaysAllow would let
    them all go then.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": build_metadata(zone, zone.name),
        "spec": {
            "maxUnavailable": tolerated_losses(voters),
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
            "selector": {"matchLabels": naming.selector_labels(zone.name)},
        },
    }


def tolerated_losses(voters: int) -> int:
    """Servers that may be away. A single server may be evicted: nobody was promised that it
    stays, and a drain that can never end helps nobody.
    """
    return max((voters - 1) // 2, 0) if voters > 1 else 1


def _claim(zone: OneZone, zone_uuid: str) -> dict[str, Any]:
    storage = zone.spec.storage
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "metadata": {
            "name": naming.DATA_VOLUME,
            "labels": naming.object_labels(zone.name),
            "annotations": {naming.UUID_ANNOTATION: zone_uuid},
        },
        "spec": spec,
    }


def _known_claim(live: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        key: value
        for key, value in live["metadata"].items()
        if key in {"name", "labels", "annotations"}
    }
    spec = {
        key: value
        for key, value in live["spec"].items()
        if key in {"accessModes", "resources", "storageClassName"}
    }
    return {"metadata": metadata, "spec": spec}
