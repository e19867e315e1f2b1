"""Every label, annotation and object name, and the access that the operator needs.

Nothing else in the operator spells a name. What the pods rely on is the contract "a server's
pod" in ARCHITECTURE.md.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "onezone.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "OneZone"
PLURAL: Final = "onezones"
SINGULAR: Final = "onezone"
SHORT_NAME: Final = "oz"
CATEGORY: Final = "opennebula"

TASK_KIND: Final = "OneZoneTask"
TASK_PLURAL: Final = "onezonetasks"
TASK_SINGULAR: Final = "onezonetask"
TASK_SHORT_NAME: Final = "ozt"

BACKUP_KIND: Final = "OneZoneBackup"
BACKUP_PLURAL: Final = "onezonebackups"
BACKUP_SINGULAR: Final = "onezonebackup"
BACKUP_SHORT_NAME: Final = "ozb"

OPERATOR: Final = "onezone-operator"
FIELD_MANAGER: Final = OPERATOR
"""Owner of every field that server-side apply writes."""

ROUTE_FIELD_MANAGER: Final = f"{OPERATOR}-route"
"""Owner of a repaired route: apart from the rest, so that applying the slice leaves it alone."""

SECRET_FIELD_MANAGER: Final = f"{OPERATOR}-secrets"
"""Owner of generated secrets, which are written once and not re-rendered."""

STATUS_FIELD_MANAGER: Final = f"{OPERATOR}-status"

ZONE_LABEL: Final = f"{GROUP}/zone"
"""On every object of a zone: the name of its OneZone."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
POD_INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
REVISION_LABEL: Final = "controller-revision-hash"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
SLICE_MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"

DESIRED_ANNOTATION: Final = f"{GROUP}/desired"
"""Hash of the manifest as it was applied: a removed field shows here, and only here."""

CONFIG_ANNOTATION: Final = f"{GROUP}/config"
"""On the pod template: hash of oned.conf, so that a change of it is a change of the template."""

UUID_ANNOTATION: Final = f"{GROUP}/zone-uuid"
"""On the authority's Secret (the source of truth) and on every volume."""

BOOTSTRAPPED_ANNOTATION: Final = f"{GROUP}/bootstrapped"
"""On the authority's Secret: the zone's database exists, it must never be made again."""

TERM_ANNOTATION: Final = f"{GROUP}/term"
"""On the leader's EndpointSlice: the Raft term of its writer, which no older one overwrites."""

LEADER_ANNOTATION: Final = f"{GROUP}/leader"
"""On the leader's EndpointSlice: the name of the server that it leads to."""

APPROVE_LEADER_ANNOTATION: Final = f"{GROUP}/approve-leader"
"""On the OneZone, by its user: the template revision whose roll may replace the leader too."""

ALLOW_VERSION_ANNOTATION: Final = f"{GROUP}/allow-version"
"""On the OneZone, by its user: the version that is rolled out although no path leads to it."""

FENCED_ANNOTATION: Final = f"{GROUP}/fenced"
"""On a server's pod: true while the server shall take no part in its zone."""

FENCE_ANY_ANNOTATION: Final = f"{GROUP}/fence-beyond-quorum"
"""On the OneZone, by its user: true fences servers that the quorum cannot spare, too."""

BACKUP_ZONE_LABEL: Final = f"{GROUP}/backup-of"
"""On the pods of backup Jobs, in place of the zone's own label: they are no servers."""

BACKUP_LABEL: Final = f"{GROUP}/backup"
"""On a backup's Jobs and their pods: its uid."""

SCHEDULED_ANNOTATION: Final = f"{GROUP}/scheduled-for"
"""On a OneZoneBackup: the time of the zone's schedule that it was made for."""

ROTATE_ANNOTATION: Final = f"{GROUP}/rotate"
"""On the authority's Secret, by a user: another authority is wanted. Gone once that has begun."""

ANNOUNCED_ANNOTATION: Final = f"{GROUP}/announced"
"""On the authority's Secret: when the next authority began to be trusted."""

CONTAINER: Final = "oned"
PREPARATION: Final = "prepare"
"""The container that runs before the server: it carries out a founding."""

BACKUP_CONTAINER: Final = "onedb"
DATA_VOLUME: Final = "data"
CONFIG_KEY: Final = "oned.conf"
BOOTSTRAP_KEY: Final = "bootstrap"
FOUNDING_KEY: Final = "founding"
AUTH_KEY: Final = "one_auth"
AUTHORITY_KEY: Final = "ca.crt"
TLS_CERTIFICATE_KEY: Final = "tls.crt"
TLS_PRIVATE_KEY: Final = "tls.key"
TLS_DIRECTORY: Final = "/etc/one/tls"

CERTIFICATE_KIND: Final = "Certificate"
CERTIFICATE_API_VERSION: Final = "cert-manager.io/v1"

API_PORT: Final = 2633
PEER_PORT: Final = 2635
ADMIN_PORT: Final = 2636

NAME_MAX: Final = 40
"""Longest name of a OneZone: names derived from it, and the StatefulSet's revision label, must
stay within 63 characters."""

BACKUP_NAME_MAX: Final = 54
"""Longest name of a OneZoneBackup: its Jobs' names must stay within 63 characters."""

MANAGED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={OPERATOR}"


def server_name(zone: str, ordinal: int) -> str:
    """The server's name, which is its pod's."""
    return f"{zone}-{ordinal}"


def server_ordinal(zone: str, server: str) -> int | None:
    """The ordinal of a server that this operator runs, None for any other name."""
    prefix, _, number = server.rpartition("-")
    if prefix != zone or not number.isdecimal() or str(int(number)) != number:
        return None
    return int(number)


def config_map_name(zone: str) -> str:
    return f"{zone}-config"


def auth_secret_name(zone: str) -> str:
    return f"{zone}-auth"


def authority_secret_name(zone: str) -> str:
    return f"{zone}-ca"


def peers_secret_name(zone: str) -> str:
    return f"{zone}-peers"


def tls_secret_name(zone: str) -> str:
    """The Secret with the API's certificate, and cert-manager's Certificate for it."""
    return f"{zone}-tls"


def leader_service_name(zone: str) -> str:
    return zone


def any_service_name(zone: str) -> str:
    return f"{zone}-any"


def servers_service_name(zone: str) -> str:
    return f"{zone}-servers"


def leader_slice_name(zone: str) -> str:
    return f"{zone}-leader"


def scheduled_backup_name(zone: str, stamp: str) -> str:
    return f"{zone}-{stamp}"


def backup_job_name(backup: str, attempt: int) -> str:
    """The Job that takes a backup: another one for each attempt."""
    return f"{backup}-take-{attempt}"


def delete_job_name(backup: str) -> str:
    """The Job that deletes a backup's file."""
    return f"{backup}-drop"


def servers_policy_name(zone: str) -> str:
    """The NetworkPolicy of the servers' pods."""
    return zone


def backups_policy_name(zone: str) -> str:
    """The NetworkPolicy of the pods of backup Jobs."""
    return f"{zone}-backup"


def volume_name(zone: str, ordinal: int) -> str:
    """The claim that the StatefulSet makes for one server."""
    return f"{DATA_VOLUME}-{server_name(zone, ordinal)}"


def server_host(zone: str, namespace: str, server: str) -> str:
    """The stable DNS name of a server."""
    return f"{server}.{servers_service_name(zone)}.{namespace}.svc"


def server_endpoint(zone: str, namespace: str, server: str, *, scheme: str = "http") -> str:
    """The XML-RPC URL that a server is registered with."""
    return f"{scheme}://{server_host(zone, namespace, server)}:{API_PORT}/RPC2"


def server_peer(zone: str, namespace: str, server: str) -> str:
    """``host:port`` for the server's peers."""
    return f"{server_host(zone, namespace, server)}:{PEER_PORT}"


def zone_endpoint(zone: str, namespace: str, *, scheme: str = "http") -> str:
    """The zone's own endpoint: the leader Service."""
    return f"{scheme}://{leader_service_name(zone)}.{namespace}.svc:{API_PORT}/RPC2"


def selector_labels(zone: str) -> dict[str, str]:
    """What selects the servers' pods; immutable in the StatefulSet."""
    return {
        "app.kubernetes.io/name": "opennebula",
        "app.kubernetes.io/instance": zone,
        "app.kubernetes.io/component": "oned",
    }


def object_labels(zone: str) -> dict[str, str]:
    """What every object of a zone carries."""
    return {
        **selector_labels(zone),
        "app.kubernetes.io/part-of": "opennebula",
        MANAGED_BY_LABEL: OPERATOR,
        ZONE_LABEL: zone,
    }


def label_selector(zone: str) -> str:
    """The servers' pods, as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector_labels(zone).items()))


_CHILD: Final = ["get", "list", "watch", "create", "patch"]
"""Watched; asked for by name where the watch knows of none; applied, which may create."""

RBAC_RULES: Final[tuple[dict[str, list[str]], ...]] = (
    {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["list", "watch"]},
    {"apiGroups": [GROUP], "resources": [f"{PLURAL}/status"], "verbs": ["patch"]},
    {"apiGroups": [GROUP], "resources": [TASK_PLURAL], "verbs": ["list", "watch", "delete"]},
    {"apiGroups": [GROUP], "resources": [f"{TASK_PLURAL}/status"], "verbs": ["patch"]},
    # Deleted only to be made again around the same pods: see reconcile.volumes.
    {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": [*_CHILD, "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch", "delete"]},
    # Patched to let volumes grow. Deleted only for a task that replaces the server: see
    # reconcile.tasks.
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["list", "watch", "patch", "delete"],
    },
    {
        "apiGroups": [GROUP],
        "resources": [BACKUP_PLURAL],
        "verbs": ["list", "watch", "create", "delete"],
    },
    {"apiGroups": [GROUP], "resources": [f"{BACKUP_PLURAL}/status"], "verbs": ["patch"]},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "watch", "create"]},
    {
        "apiGroups": [""],
        "resources": ["configmaps", "secrets", "serviceaccounts", "services"],
        "verbs": [*_CHILD],
    },
    # "update" is not the operator's own: it may grant to the pods only what it holds itself.
    {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "verbs": [*_CHILD, "update"],
    },
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["roles", "rolebindings"],
        "verbs": [*_CHILD],
    },
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": [*_CHILD]},
    # Deleted when a zone's policies are switched off.
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["networkpolicies"],
        "verbs": [*_CHILD, "delete"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    # Only for zones whose certificate cert-manager issues.
    {
        "apiGroups": ["cert-manager.io"],
        "resources": ["certificates"],
        "verbs": ["get", "create", "patch"],
    },
)
"""The rules of the operator's Role in every namespace that it serves. Cluster-wide, the same
rules go into a ClusterRole. Nothing else is needed: no access to nodes, namespaces or CRDs."""

LEASE_RULES: Final[tuple[dict[str, list[str]], ...]] = (
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [OPERATOR],
        "verbs": ["get", "watch", "patch"],
    },
)
"""The rules of the operator's Role in its own namespace. What is created has no name yet."""
