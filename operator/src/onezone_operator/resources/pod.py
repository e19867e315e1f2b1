"""The pod of a server: what it runs, with what, and what it may do (contract: ARCHITECTURE.md)."""

from __future__ import annotations

from typing import Any

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.onezone import Amounts, OneZone
from onezone_operator.resources.configuration import config_digest
from onezone_operator.resources.services import service_account_name
from onezone_operator.resources.storages import Access, build_access_to
from onezone_operator.resources.tls import api_secret_name

__all__ = ["build_pod_template"]

USER_ID = 10001
"""User and group of the image."""

GRACE_SECONDS = 30
"""A leader hands over when it is asked to stop; this is far more than it needs."""

ROUTE_SECONDS = 2
"""kube-proxy takes in a change of routes within one second, and needs a moment to write it."""

TOKEN_SECONDS = 3600
"""Life of the hook's token, renewed by the kubelet long before."""


def build_pod_template(
    zone: OneZone, restore_storage: BackupStorage | None = None
) -> dict[str, Any]:
    """Template of the StatefulSet. ``zone.spec.image`` must be set.

    A change of anything here makes servers be replaced one by one, so nothing may be in it that
    differs from pass to pass. A storage of backups is there only while a server is to begin with
    one: a claim that one node alone can mount must not hold the servers together.
    """
    access = build_access_to(restore_storage, read_only=True)
    assert zone.spec.image is not None, "the default image is filled in before planning"
    scheduling = zone.spec.scheduling
    spec: dict[str, Any] = {
        "serviceAccountName": service_account_name(zone),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_preparation(zone, access)],
        "containers": [_container(zone)],
        "volumes": [*_volumes(zone), *access.volumes],
    }
    if zone.spec.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": each.name} for each in zone.spec.image_pull_secrets]
    if scheduling.node_selector:
        spec["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        spec["tolerations"] = [
            each.model_dump(by_alias=True, exclude_none=True) for each in scheduling.tolerations
        ]
    if scheduling.priority_class_name:
        spec["priorityClassName"] = scheduling.priority_class_name
    if scheduling.spread != "Off":
        spec["topologySpreadConstraints"] = [_spread(zone)]
    return {
        "metadata": {
            "labels": naming.object_labels(zone.name),
            "annotations": {naming.CONFIG_ANNOTATION: config_digest(zone)},
        },
        "spec": spec,
    }


def _spread(zone: OneZone) -> dict[str, Any]:
    """Servers on different nodes.

    maxSkew 1 with DoNotSchedule puts three servers on three nodes and five on three as 2, 2, 1,
    where anti-affinity would refuse the fourth. Nodes that are cordoned or tainted are no places
    to count, so that a drained node does not keep its server from running elsewhere.
    """
    scheduling = zone.spec.scheduling
    required = scheduling.spread == "Required"
    return {
        "maxSkew": 1,
        "topologyKey": scheduling.topology_key,
        "whenUnsatisfiable": "DoNotSchedule" if required else "ScheduleAnyway",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": naming.selector_labels(zone.name)},
    }


def _container(zone: OneZone) -> dict[str, Any]:
    return {
        "name": naming.CONTAINER,
        "image": zone.spec.image,
        "imagePullPolicy": zone.spec.image_pull_policy,
        "command": ["oned", "serve", "-c", f"/etc/one/{naming.CONFIG_KEY}"],
        "env": _environment(zone),
        "ports": [
            {"name": "api", "containerPort": naming.API_PORT, "protocol": "TCP"},
            {"name": "peer", "containerPort": naming.PEER_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": naming.ADMIN_PORT, "protocol": "TCP"},
        ],
        # Five minutes to start: a server may have a long log to apply first.
        "startupProbe": _probe("/livez", period=2, timeout=2, failures=150),
        "livenessProbe": _probe("/livez", period=10, timeout=5, failures=3),
        "readinessProbe": _probe("/readyz", period=2, timeout=2, failures=2),
        "resources": _resources(zone),
        "securityContext": _confined(),
        "volumeMounts": [
            *_mounts(),
            *_tls_mounts(zone),
            {
                "name": "token",
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "readOnly": True,
            },
        ],
    }


def _preparation(zone: OneZone, access: Access) -> dict[str, Any]:
    """What is done with the database before the server starts, if a founding is under way."""
    founding = {"name": "ONED_FOUNDING", "valueFrom": _key(zone, naming.FOUNDING_KEY)}
    return {
        "name": naming.PREPARATION,
        "image": zone.spec.image,
        "imagePullPolicy": zone.spec.image_pull_policy,
        "command": ["onedb", "prepare", "--config", f"/etc/one/{naming.CONFIG_KEY}"],
        "env": [*_environment(zone), founding, *access.environment],
        "resources": _resources(zone),
        "securityContext": _confined(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*_mounts(), *access.mounts],
    }


def _confined() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _mounts() -> list[dict[str, Any]]:
    return [
        {"name": naming.DATA_VOLUME, "mountPath": "/var/lib/one"},
        {
            "name": "config",
            "mountPath": f"/etc/one/{naming.CONFIG_KEY}",
            "subPath": naming.CONFIG_KEY,
            "readOnly": True,
        },
        {"name": "auth", "mountPath": "/etc/one/auth", "readOnly": True},
        {"name": "peers", "mountPath": "/etc/one/peers", "readOnly": True},
        {"name": "pod", "mountPath": "/etc/one/pod", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
    ]


def _key(zone: OneZone, key: str) -> dict[str, Any]:
    """A key of the zone's ConfigMap, which may be absent; read when a container starts."""
    name = naming.config_map_name(zone.name)
    return {"configMapKeyRef": {"name": name, "key": key, "optional": True}}


def _environment(zone: OneZone) -> list[dict[str, Any]]:
    # The kubelet resolves $(VARIABLE) only of variables that stand above.
    server = "$(ONED_POD_NAME)"
    scheme = zone.spec.tls.scheme
    return [
        _field("ONED_POD_NAME", "metadata.name"),
        _field("ONED_POD_IP", "status.podIP"),
        _field("ONED_NODE_NAME", "spec.nodeName"),
        _field("ONED_NAMESPACE", "metadata.namespace"),
        {"name": "ONED_SERVER_NAME", "value": server},
        {
            "name": "ONED_SERVER_ENDPOINT",
            "value": naming.server_endpoint(zone.name, zone.namespace, server, scheme=scheme),
        },
        {
            "name": "ONED_SERVER_PEER",
            "value": naming.server_peer(zone.name, zone.namespace, server),
        },
        {
            "name": "ONED_ZONE_ENDPOINT",
            "value": naming.zone_endpoint(zone.name, zone.namespace, scheme=scheme),
        },
        {
            "name": "ONED_BOOTSTRAP",
            "valueFrom": _key(zone, naming.BOOTSTRAP_KEY),
        },
        {"name": "ONED_VAR", "value": "/var/lib/one"},
        {"name": "ONED_FENCE_FILE", "value": "/etc/one/pod/fenced"},
        {"name": "ONED_ROUTE_SECONDS", "value": str(ROUTE_SECONDS)},
        {"name": "ONE_AUTH", "value": f"/etc/one/auth/{naming.AUTH_KEY}"},
    ]


def _volumes(zone: OneZone) -> list[dict[str, Any]]:
    reference = zone.spec.credentials_secret_ref
    auth = reference.name if reference else naming.auth_secret_name(zone.name)
    return [
        {"name": "config", "configMap": {"name": naming.config_map_name(zone.name)}},
        {
            "name": "auth",
            "secret": {
                "secretName": auth,
                "defaultMode": 0o440,
                "items": [{"key": naming.AUTH_KEY, "path": naming.AUTH_KEY}],
            },
        },
        {
            "name": "peers",
            "secret": {"secretName": naming.peers_secret_name(zone.name), "defaultMode": 0o440},
        },
        *_tls_volumes(zone),
        {"name": "token", "projected": {"defaultMode": 0o440, "sources": _token_sources()}},
        {"name": "pod", "downwardAPI": {"defaultMode": 0o440, "items": [_fence_file()]}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]


def _fence_file() -> dict[str, Any]:
    """Follows the pod's annotation while the pod runs; empty without it."""
    field = _reference(f"metadata.annotations['{naming.FENCED_ANNOTATION}']")
    return {"path": "fenced", "fieldRef": field}


def _tls_mounts(zone: OneZone) -> list[dict[str, Any]]:
    # The whole directory: a file mounted by subPath would never change.
    mount = {"name": "tls", "mountPath": naming.TLS_DIRECTORY, "readOnly": True}
    return [mount] if zone.spec.tls.enabled else []


def _tls_volumes(zone: OneZone) -> list[dict[str, Any]]:
    secret = {"secretName": api_secret_name(zone), "defaultMode": 0o440}
    return [{"name": "tls", "secret": secret}] if zone.spec.tls.enabled else []


def _token_sources() -> list[dict[str, Any]]:
    """What the leader's hook needs to write one EndpointSlice."""
    namespace = {"path": "namespace", "fieldRef": _reference("metadata.namespace")}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]


def _resources(zone: OneZone) -> dict[str, Any]:
    resources = zone.spec.resources
    return {
        name: amounts.model_dump(by_alias=True, exclude_none=True)
        for name, amounts in (("requests", resources.requests), ("limits", resources.limits))
        if amounts != Amounts()
    }


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": _reference(path)}}


def _reference(path: str) -> dict[str, str]:
    return {"apiVersion": "v1", "fieldPath": path}
