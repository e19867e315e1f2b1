"""Services of a zone, the slice behind the leader's, and what a pod may do to it."""

from __future__ import annotations

from typing import Any

from onezone_operator import naming
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import build_metadata

__all__ = [
    "build_access",
    "build_any_service",
    "build_leader_service",
    "build_leader_slice",
    "build_servers_service",
    "service_account_name",
]

_METALLB = "metallb.io"


def build_leader_service(zone: OneZone) -> Manifest:
    """The Service that leads to the leader: no selector, its slice is written by the leader."""
    endpoint = zone.spec.endpoint
    annotations = dict(endpoint.annotations)
    spec: dict[str, Any] = {"type": endpoint.type}
    port: dict[str, Any] = _port("api", naming.API_PORT, target=naming.API_PORT)
    if endpoint.metallb is not None:
        if endpoint.metallb.address:
            annotations[f"{_METALLB}/loadBalancerIPs"] = endpoint.metallb.address
        if endpoint.metallb.pool:
            annotations[f"{_METALLB}/address-pool"] = endpoint.metallb.pool
    if endpoint.load_balancer_ip:
        spec["loadBalancerIP"] = endpoint.load_balancer_ip
    if endpoint.type != "ClusterIP":
        default = "Local" if endpoint.metallb is not None else "Cluster"
        spec["externalTrafficPolicy"] = endpoint.external_traffic_policy or default
        if endpoint.node_port:
            port["nodePort"] = endpoint.node_port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(
            zone, naming.leader_service_name(zone.name), annotations=annotations
        ),
        "spec": {**spec, "ports": [port]},
    }


def build_any_service(zone: OneZone) -> Manifest:
    """The Service of all ready servers: reads, and writes by forwarding."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(zone, naming.any_service_name(zone.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": naming.selector_labels(zone.name),
            "ports": [_port("api", naming.API_PORT)],
        },
    }


def build_servers_service(zone: OneZone) -> Manifest:
    """The headless Service that gives servers their names.

    Addresses are published before a server is ready: servers must find each other to become so.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(zone, naming.servers_service_name(zone.name)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": naming.selector_labels(zone.name),
            "ports": [
                _port("api", naming.API_PORT),
                _port("peer", naming.PEER_PORT),
                _port("admin", naming.ADMIN_PORT),
            ],
        },
    }


def build_leader_slice(zone: OneZone, *, address_type: str) -> Manifest:
    """The leader's EndpointSlice without its endpoints, which belong to the leader's hook."""
    metadata = build_metadata(zone, naming.leader_slice_name(zone.name))
    metadata["labels"] = {
        **metadata["labels"],
        naming.SERVICE_NAME_LABEL: naming.leader_service_name(zone.name),
        # Any other name than the slice controller's: that one deletes what it did not make.
        naming.SLICE_MANAGED_BY_LABEL: naming.OPERATOR,
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": address_type,
        "ports": [{"name": "api", "port": naming.API_PORT, "protocol": "TCP"}],
    }


def service_account_name(zone: OneZone) -> str:
    """The account that the servers run under."""
    return zone.name


def build_access(zone: OneZone) -> tuple[Manifest, Manifest, Manifest]:
    """ServiceAccount, Role and RoleBinding: one EndpointSlice, and nothing else."""
    name = service_account_name(zone)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": build_metadata(zone, name),
        "automountServiceAccountToken": False,
    }
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": build_metadata(zone, name),
        "rules": [
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "resourceNames": [naming.leader_slice_name(zone.name)],
                "verbs": ["get", "patch", "update"],
            }
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": build_metadata(zone, name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": zone.namespace}],
    }
    return account, role, binding


def _port(name: str, number: int, *, target: int | str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "port": number,
        "protocol": "TCP",
        "targetPort": name if target is None else target,
    }
