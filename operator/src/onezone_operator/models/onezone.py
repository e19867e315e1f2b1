"""The OneZone resource, and what a user declares in it; ``models.status`` has what is reported.

``models.crd`` makes the CRD of these classes, so a docstring here is what ``kubectl explain``
shows. Rules in CEL stand beside the fields they guard, with the message a user gets.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from onezone_operator.models.backups import BackupSchedule, Bootstrap
from onezone_operator.models.base import Model, Name, map_list, rules, unchanged
from onezone_operator.models.networkpolicy import NetworkPolicy
from onezone_operator.models.quantity import Quantity
from onezone_operator.models.status import OneZoneStatus

__all__ = [
    "Endpoint",
    "MaintenanceWindow",
    "Metadata",
    "OneZone",
    "OneZoneSpec",
    "RaftSettings",
    "Resources",
    "Scheduling",
    "Storage",
    "Tls",
    "UpdateStrategy",
]


_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
HostName = Annotated[str, Field(max_length=253, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
StringMap = dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=4096)]]


class RaftSettings(Model):
    """Timers and log of the consensus, OpenNebula's RAFT attributes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.electionTimeoutMs >= 3 * self.heartbeatMs",
                (
                    "raft.electionTimeoutMs must be at least three times raft.heartbeatMs: "
                    "one lost heartbeat must not start an election"
                ),
            )
        )
    )

    election_timeout_ms: Annotated[int, Field(ge=300, le=60000)] = 1000
    """Milliseconds without a heartbeat after which a follower stands for election."""

    heartbeat_ms: Annotated[int, Field(ge=50, le=10000)] = 150
    """Milliseconds between two heartbeats of the leader."""

    rpc_timeout_ms: Annotated[int, Field(ge=100, le=60000)] = 1000
    """Milliseconds after which one message to a peer is given up."""

    log_retention: Annotated[int, Field(ge=1000, le=10_000_000)] = 250_000
    """Entries kept in the log; a server that is further behind is sent a snapshot."""

    log_purge_seconds: Annotated[int, Field(ge=1, le=86400)] = 60
    """Seconds between two purges of the log."""

    log_purge_limit: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Entries that one purge deletes at most."""


class Database(Model):
    """Where the zone's tables and log are kept."""

    backend: Literal["sqlite"] = "sqlite"
    """Kind of database. sqlite: embedded, one file on the server's own volume."""


class RetentionPolicy(Model):
    """What happens to a volume that no server needs any more."""

    when_deleted: Literal["Retain", "Delete"] = "Retain"
    """When the OneZone is deleted. Retain also keeps the Secret with oneadmin's credentials, and a
    OneZone of the same name takes up the kept volumes."""

    when_scaled: Literal["Retain", "Delete"] = "Retain"
    """When a server is removed because replicas went down."""


class Storage(Model):
    """The volume of each server."""

    size: Quantity = "10Gi"
    """Size of the volume. A larger one lets the volumes of running servers grow, one at a time; a
    smaller one is refused."""

    storage_class_name: Name | None = None
    """StorageClass of the volume; the cluster's default when absent. When it changes, servers keep
    their volumes until they are replaced (OneZoneTask ReplaceServer)."""

    persistent_volume_claim_retention_policy: RetentionPolicy = Field(
        default_factory=RetentionPolicy
    )
    """Whether volumes outlive their servers."""


class MetalLB(Model):
    """How MetalLB chooses the address."""

    address: Annotated[str, Field(max_length=100)] | None = None
    """Address to pin, or two of them (IPv4,IPv6) separated by a comma."""

    pool: Name | None = None
    """IPAddressPool to take the address from."""


class Endpoint(Model):
    """The Service that leads to the leader."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.nodePort) || self.type != 'ClusterIP'",
                "endpoint.nodePort needs endpoint.type NodePort or LoadBalancer",
            ),
            (
                "!has(self.metallb) || self.type == 'LoadBalancer'",
                "endpoint.metallb needs endpoint.type LoadBalancer",
            ),
            (
                "!has(self.loadBalancerIP) || self.type == 'LoadBalancer'",
                "endpoint.loadBalancerIP needs endpoint.type LoadBalancer",
            ),
            (
                "!has(self.loadBalancerIP) || !has(self.metallb) || !has(self.metallb.address)",
                "give the address once: endpoint.metallb.address or endpoint.loadBalancerIP",
            ),
            (
                "!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'",
                "endpoint.externalTrafficPolicy needs endpoint.type NodePort or LoadBalancer",
            ),
        )
    )

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service."""

    node_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port on every node; chosen by the cluster when absent."""

    load_balancer_ip: Annotated[
        Annotated[str, Field(max_length=45)] | None, Field(alias="loadBalancerIP")
    ] = None
    """Address to ask the cloud's load balancer for (MetalLB: use metallb.address)."""

    metallb: MetalLB | None = None
    """Settings for MetalLB."""

    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    """Cluster: every node forwards to the leader. Local: only the leader's node takes traffic, so
    that the address moves with the leader and clients' addresses are kept. Absent: Local with
    metallb, else Cluster."""

    annotations: Annotated[StringMap, Field(max_length=32)] = Field(default_factory=dict)
    """Annotations of the Service, for other load balancers."""


class Amounts(Model):
    """Amounts of resources."""

    cpu: Quantity | None = None
    """CPUs, 1 or 500m."""

    memory: Quantity | None = None
    """Bytes, 256Mi or 1Gi."""

    ephemeral_storage: Annotated[Quantity | None, Field(alias="ephemeral-storage")] = None
    """Bytes of the node's disk."""


class Resources(Model):
    """What a server's container requests and may use."""

    requests: Amounts = Field(default_factory=lambda: Amounts(cpu="100m", memory="128Mi"))
    """Reserved for the server. Absent: 100m CPU and 128Mi."""

    limits: Amounts = Field(default_factory=lambda: Amounts(memory="1Gi"))
    """Upper bounds. Absent: 1Gi of memory and no bound on CPU, whose throttling would look like a
    lost leader."""


class Toleration(Model):
    """A taint that the servers tolerate."""

    key: Name | None = None
    """Key of the taint; every key when absent."""
    operator: Literal["Exists", "Equal"] | None = None
    """Exists or Equal (the default)."""
    value: Name | None = None
    """Value that Equal compares with."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; every effect when absent."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """Seconds that NoExecute is tolerated."""


class Scheduling(Model):
    """Where the servers run."""

    spread: Literal["Required", "Preferred", "Off"] = "Required"
    """How servers are kept on different nodes. Required: the numbers of servers on any two usable
    nodes differ by one at most (three servers on three nodes, five on three are 2, 2, 1).
    Preferred: where the scheduler can. Off: nothing is asked."""

    topology_key: Annotated[str, Field(max_length=317)] = "kubernetes.io/hostname"
    """Label of nodes that tells what is different: a host name, or a failure domain's."""

    node_selector: Annotated[StringMap, Field(max_length=32)] = Field(default_factory=dict)
    """Labels that a node must have."""

    tolerations: Annotated[list[Toleration], Field(max_length=32, json_schema_extra=_ATOMIC)] = (
        Field(default_factory=list)
    )
    """Taints that are tolerated."""

    priority_class_name: Name | None = None
    """PriorityClass of the pods."""


class SecretReference(Model):
    """A Secret in the OneZone's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the Secret."""


class IssuerReference(Model):
    """An issuer of cert-manager."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the issuer."""

    kind: Literal["Issuer", "ClusterIssuer"] = "Issuer"
    """Issuer, in the OneZone's namespace, or ClusterIssuer."""


class Tls(Model):
    """https for clients. Servers always speak TLS with each other."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.secretRef) || !has(self.issuerRef)",
                "give the certificate's source once: tls.secretRef or tls.issuerRef",
            ),
            (
                "self.enabled || (!has(self.secretRef) && !has(self.issuerRef))",
                "tls.secretRef and tls.issuerRef need tls.enabled",
            ),
        )
    )

    enabled: bool = False
    """XML-RPC is https, and nothing else. It cannot be changed once the zone exists: its servers
    are registered with their URLs."""

    secret_ref: SecretReference | None = None
    """Secret with tls.crt, tls.key and ca.crt that somebody else makes and renews. Absent, and
    without issuerRef: the zone's own authority issues the certificate."""

    issuer_ref: IssuerReference | None = None
    """Issuer of cert-manager that the certificate is asked of."""

    dns_names: Annotated[list[HostName], Field(max_length=32, json_schema_extra=_ATOMIC)] = Field(
        default_factory=list
    )
    """Names in clients' URLs, beside those of the Services and servers."""

    ip_addresses: Annotated[
        list[Annotated[str, Field(max_length=45, pattern="^[0-9a-fA-F.:]+$")]],
        Field(max_length=16, json_schema_extra=_ATOMIC),
    ] = Field(default_factory=list)
    """Addresses in clients' URLs, beside those of endpoint and of the load balancer."""

    authority_overlap_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 3600
    """When the zone's own authority is replaced: seconds for clients to learn the new one, before
    certificates of it are shown."""

    @property
    def scheme(self) -> str:
        """What the URLs of the zone begin with."""
        return "https" if self.enabled else "http"

    @property
    def is_own(self) -> bool:
        """Whether the zone's own authority issues the API's certificate."""
        return self.enabled and self.secret_ref is None and self.issuer_ref is None


class MaintenanceWindow(Model):
    """A time in which running servers may be replaced."""

    schedule: Annotated[str, Field(min_length=9, max_length=100)]
    """When it opens, as a cron expression of five fields: minute, hour, day of month, month, day of
    week. 0 2 * * SAT is every Saturday at two."""

    duration_minutes: Annotated[int, Field(ge=5, le=10080)] = 60
    """Minutes that it stays open. A replacement that was begun in it is finished."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """Time zone of the schedule, such as Europe/Berlin."""


class UpdateStrategy(Model):
    """How and when running servers are changed. Repairs wait for nothing of this."""

    leader: Literal["Auto", "Manual"] = "Auto"
    """Auto: the leader hands over and is replaced last. Manual: it waits until its replacement is
    approved with the annotation onezone.dev/approve-leader, or until it leads no more."""

    maintenance_windows: Annotated[
        list[MaintenanceWindow], Field(max_length=16, json_schema_extra=_ATOMIC)
    ] = Field(default_factory=list)
    """When changes of image, resources and configuration reach running servers; at any time when
    absent."""


class OneZoneSpec(Model):
    """A zone as it shall be."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.allowEven || self.replicas % 2 == 1",
                (
                    "replicas must be odd (1, 3, 5, 7 or 9): an even number of servers survives "
                    "no more failures than one server less; set allowEven to have it all the same"
                ),
            ),
            *unchanged("it is how the zone began", "bootstrap"),
            (
                "self.tls.enabled == oldSelf.tls.enabled",
                (
                    "tls.enabled cannot be changed once the zone exists: "
                    "its servers are registered with http or https URLs"
                ),
            ),
        )
    )

    replicas: Annotated[int, Field(ge=1, le=9)] = 3
    """Number of servers. Three survive the loss of one, five of two."""

    allow_even: bool = False
    """Allow an even number of servers."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Image of oned; the operator's default when absent."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""

    image_pull_secrets: Annotated[
        list[SecretReference], Field(max_length=8, json_schema_extra=map_list("name"))
    ] = Field(default_factory=list)
    """Secrets to pull the image with."""

    raft: RaftSettings = Field(default_factory=RaftSettings)
    """Timers and log of the consensus."""

    database: Database = Field(default_factory=Database)
    """Where the tables are kept."""

    storage: Storage = Field(default_factory=Storage)
    """The volume of each server."""

    endpoint: Endpoint = Field(default_factory=Endpoint)
    """The Service that leads to the leader."""

    tls: Tls = Field(default_factory=Tls)
    """https for clients."""

    network_policy: NetworkPolicy = Field(default_factory=NetworkPolicy)
    """Who may reach the servers."""

    resources: Resources = Field(default_factory=Resources)
    """What a server requests and may use."""

    scheduling: Scheduling = Field(default_factory=Scheduling)
    """Where the servers run."""

    update_strategy: UpdateStrategy = Field(default_factory=UpdateStrategy)
    """How and when running servers are changed."""

    backup: BackupSchedule | None = None
    """When backups are taken, and where they are stored."""

    bootstrap: Bootstrap | None = None
    """How a new zone begins; empty when absent. It cannot be changed later."""

    credentials_secret_ref: SecretReference | None = None
    """Secret whose key one_auth holds oneadmin:<password>. Absent: one is made."""

    log_level: Literal["error", "warning", "info", "debug"] = "info"
    """How much the servers log."""

    fenced_servers: Annotated[
        list[Annotated[str, Field(max_length=63)]],
        Field(max_length=9, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(default_factory=list)
    """Servers, such as zone-1, that take no part in the zone while their pods stay to be looked at.
    No more than the quorum can spare."""

    hibernated: bool = False
    """No server runs. Volumes, members and addresses are kept; false wakes the zone again."""

    paused: bool = False
    """The operator reports, and changes nothing. The zone itself goes on, and so does failover."""


class Metadata(Model):
    """The part of an object's metadata that the operator uses."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    annotations: dict[str, str] = Field(default_factory=dict)


class OneZone(Model):
    """An OpenNebula front-end that survives the loss of its servers."""

    metadata: Metadata
    spec: OneZoneSpec = Field(default_factory=OneZoneSpec)
    status: OneZoneStatus = Field(default_factory=OneZoneStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    def completed(self, *, image: str, operator_namespace: str | None) -> OneZone:
        """The zone with these where its spec names none."""
        policy = self.spec.network_policy
        own = policy.operator_namespace or operator_namespace or None
        spec = self.spec.model_copy(
            update={
                "image": self.spec.image or image,
                "network_policy": policy.model_copy(update={"operator_namespace": own}),
            }
        )
        return self.model_copy(update={"spec": spec})

    @property
    def is_deleted(self) -> bool:
        """Whether the API server is taking it away already."""
        return self.metadata.deletion_timestamp is not None
