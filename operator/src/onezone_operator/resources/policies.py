"""NetworkPolicies of a zone: exactly what its servers, and the Jobs of its backups, need.

Policies of one pod add up, so that whoever needs more makes another one beside these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from onezone_operator import naming
from onezone_operator.models.backups import BackupStorage, S3Storage
from onezone_operator.models.networkpolicy import LabelSelector, NetworkPeer
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import build_metadata

__all__ = ["POLICY", "build_policies", "find_operator_namespace", "policy_names"]

POLICY = "NetworkPolicy"

# 5353 is where some clusters' DNS pods listen behind port 53 of their Service, and policies see
# the pod's port.
_DNS_PORTS = (53, 5353)
_KUBERNETES_PORTS = (443, 6443)
"""Of the API server, which no selector can name: it runs on nodes, or outside of the cluster."""
_STORE_PORTS = {"http": 80, "https": 443}
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"

_OPERATOR_LABELS = {
    "app.kubernetes.io/name": naming.OPERATOR,
    "app.kubernetes.io/component": "operator",
}
"""Of the pods that the chart makes."""


def policy_names(zone: str) -> tuple[str, str]:
    """The servers' policy, and that of the Jobs of backups."""
    return naming.servers_policy_name(zone), naming.backups_policy_name(zone)


def build_policies(
    zone: OneZone,
    *,
    backup_storages: Sequence[BackupStorage] = (),
    restore_storage: BackupStorage | None = None,
) -> tuple[Manifest, ...]:
    """Both policies; none when they are switched off.

    Args:
        zone: the zone.
        backup_storages: where backups of the zone are stored, or are to be.
        restore_storage: what a server reads before it starts.
    """
    if not zone.spec.network_policy.enabled:
        return ()
    servers_name, backups_name = policy_names(zone.name)
    restored_from = () if restore_storage is None else (restore_storage,)
    servers = {
        "podSelector": {"matchLabels": naming.selector_labels(zone.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": _into_servers(zone),
        "egress": [
            _dns(),
            # A follower sends calls on to the leader.
            _rule((naming.PEER_PORT, naming.API_PORT), to=[_servers(zone)]),
            # The leader's hook writes the route.
            _rule(_KUBERNETES_PORTS),
            *_to_stores(restored_from),
        ],
    }
    backups = {
        "podSelector": {"matchLabels": _backup_labels(zone)},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            _dns(),
            _rule((naming.API_PORT,), to=[_servers(zone)]),
            *_to_stores(backup_storages),
        ],
    }
    return (
        _policy(zone, servers_name, servers),
        _policy(zone, backups_name, backups),
    )


def find_operator_namespace(live: Manifest | None) -> str | None:
    """The operator's namespace as its own policy has it; for whoever is not the operator."""
    for rule in ((live or {}).get("spec") or {}).get("ingress") or []:
        for peer in rule.get("from") or []:
            if (peer.get("podSelector") or {}).get("matchLabels") == _OPERATOR_LABELS:
                labels = (peer.get("namespaceSelector") or {}).get("matchLabels") or {}
                return labels.get(_NAMESPACE_LABEL)
    return None


def _into_servers(zone: OneZone) -> list[dict[str, Any]]:
    """Who may come in. The kubelet's probes come from the pod's own node: that is always let in."""
    policy, operator = zone.spec.network_policy, _operator(zone)
    clients = [_peer(each) for each in policy.clients_from]
    if clients:
        backups = {"podSelector": {"matchLabels": _backup_labels(zone)}}
        clients = [_servers(zone), backups, operator, *clients]
    watchers = [operator, *(_peer(each) for each in policy.metrics_from)]
    return [
        _rule((naming.PEER_PORT,), origin=[_servers(zone)]),
        _rule((naming.API_PORT,), origin=clients),
        _rule((naming.ADMIN_PORT,), origin=watchers),
    ]


def _policy(zone: OneZone, name: str, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": POLICY,
        "metadata": build_metadata(zone, name),
        "spec": spec,
    }


def _servers(zone: OneZone) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": naming.selector_labels(zone.name)}}


def _backup_labels(zone: OneZone) -> dict[str, str]:
    return {naming.BACKUP_ZONE_LABEL: zone.name}


def _operator(zone: OneZone) -> dict[str, Any]:
    """The operator's pods; of any namespace where nobody knows which is its own."""
    namespace = zone.spec.network_policy.operator_namespace
    labels = {"matchLabels": {_NAMESPACE_LABEL: namespace}} if namespace else {}
    return {"namespaceSelector": labels, "podSelector": {"matchLabels": dict(_OPERATOR_LABELS)}}


def _dns() -> dict[str, Any]:
    ports = [
        {"port": port, "protocol": protocol} for port in _DNS_PORTS for protocol in ("UDP", "TCP")
    ]
    return {"ports": ports}


def _to_stores(storages: Sequence[BackupStorage]) -> list[dict[str, Any]]:
    """S3 by its port: where its names lead is not known. Claims need no network of the pod's."""
    ports = {_store_port(each.s3) for each in storages if each.s3 is not None}
    return [_rule(tuple(sorted(ports)))] if ports else []


def _store_port(store: S3Storage) -> int:
    url = urlsplit(store.endpoint or "https://")
    try:
        port = url.port
    except ValueError:  # no Job gets there either, and says so
        port = None
    return port or _STORE_PORTS[url.scheme]


def _rule(
    ports: tuple[int, ...],
    *,
    origin: list[dict[str, Any]] | None = None,
    to: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """TCP ports, from or to some; without any, from or to everywhere."""
    rule: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    if origin:
        rule["from"] = origin
    if to:
        rule["to"] = to
    return rule


def _peer(peer: NetworkPeer) -> dict[str, Any]:
    if peer.ip_block is not None:
        block: dict[str, Any] = {"cidr": peer.ip_block.cidr}
        if peer.ip_block.except_:
            block["except"] = list(peer.ip_block.except_)
        return {"ipBlock": block}
    selectors = {
        "podSelector": peer.pod_selector,
        "namespaceSelector": peer.namespace_selector,
    }
    return {name: _selector(each) for name, each in selectors.items() if each is not None}


def _selector(selector: LabelSelector) -> dict[str, Any]:
    """Without what is empty: the API server leaves that out."""
    labels = {"matchLabels": dict(selector.match_labels)}
    conditions = [
        {
            "key": each.key,
            "operator": each.operator,
            **({"values": list(each.values)} if each.values else {}),
        }
        for each in selector.match_expressions
    ]
    whole = {**labels, "matchExpressions": conditions}
    return {name: value for name, value in whole.items() if value}
