"""What oned.conf can say, with the default of each attribute.

Each field names its attribute, its kind and, in its group's docstring, its unit and reason. The
reader and ``Config.to_template`` work from these fields alone, so that an attribute is added by
adding a field here and a paragraph in the oned.conf beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from oned.config import kinds
from oned.constants import ADMIN_PORT, PEER_PORT, RPC_PORT
from oned.template import Template, Vector

METADATA = "oned.conf"


@dataclass(frozen=True, slots=True)
class Single:
    """A plain attribute, or one item of a section."""

    name: str
    kind: kinds.Kind


@dataclass(frozen=True, slots=True)
class Section:
    """A vector attribute; an optional one is absent unless it is given."""

    name: str
    settings: type[Any]
    optional: bool = False
    required: tuple[str, ...] = ()
    """Items that an optional section cannot do without."""


@dataclass(frozen=True, slots=True)
class Group:
    """Plain attributes that belong together here and stand alone in oned.conf."""

    settings: type[Any]


def _single(name: str, kind: kinds.Kind, default: Any) -> Any:
    return field(default=default, metadata={METADATA: Single(name, kind)})


def _section(name: str, settings: type[Any]) -> Any:
    return field(default_factory=settings, metadata={METADATA: Section(name, settings)})


def _hook(name: str) -> Any:
    return _optional(name, HookSettings, "COMMAND")


def _optional(name: str, settings: type[Any], *required: str) -> Any:
    section = Section(name, settings, optional=True, required=required)
    return field(default=None, metadata={METADATA: section})


def _group(settings: type[Any]) -> Any:
    return field(default_factory=settings, metadata={METADATA: Group(settings)})


@dataclass(frozen=True, slots=True)
class LogSettings:
    """LOG. Records go to standard error, whatever SYSTEM says.

    Attributes:
        system: OpenNebula's destination; kept for its sake.
        debug_level: 0 error, 1 warning, 2 info, 3 to 5 debug.
    """

    system: str = _single("SYSTEM", kinds.Choice(("std", "file", "syslog")), "std")
    debug_level: int = _single("DEBUG_LEVEL", kinds.Integer(0, 5), 2)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """DB.

    Attributes:
        backend: kind of database; the file of sqlite is ``one.db`` in the state directory.
        timeout_ms: how long a statement waits for a lock of another process.
    """

    backend: str = _single("BACKEND", kinds.Choice(("sqlite",), ("mysql", "postgresql")), "sqlite")
    timeout_ms: int = _single("TIMEOUT", kinds.MILLISECONDS, 2500)


@dataclass(frozen=True, slots=True)
class FederationSettings:
    """FEDERATION.

    Attributes:
        mode: STANDALONE, or MASTER, which may register further zones.
        zone_id: this zone's id; 0 when standalone.
        server_id: -1 solo, an id that the zone gave, or AUTO.
        master_oned: endpoint that bootstrap gives to the zone instead of the local one.
    """

    mode: str = _single(
        "MODE", kinds.Choice(("STANDALONE", "MASTER"), ("SLAVE", "CACHE")), "STANDALONE"
    )
    zone_id: int = _single("ZONE_ID", kinds.Integer(0), 0)
    server_id: int | Literal["AUTO"] = _single("SERVER_ID", kinds.ServerNumber(), kinds.SOLO)
    master_oned: str = _single("MASTER_ONED", kinds.Endpoint(required=False), "")

    @property
    def solo(self) -> bool:
        """Whether this server belongs to no HA zone."""
        return self.server_id == kinds.SOLO


@dataclass(frozen=True, slots=True)
class RaftSettings:
    """RAFT.

    Attributes:
        limit_purge: log records deleted in one purge.
        log_retention: applied log records kept: how far behind a server may be and still
            catch up without a snapshot.
        log_purge_timeout_seconds: time between purges.
        election_timeout_ms: silence of the leader after which a follower stands for election;
            each attempt waits one to two of these.
        broadcast_timeout_ms: time between heartbeats.
        xmlrpc_timeout_ms: bound on a call between servers; 0 means none is set here, and the
            server's own bound holds.
    """

    limit_purge: int = _single("LIMIT_PURGE", kinds.Integer(1), 100_000)
    log_retention: int = _single("LOG_RETENTION", kinds.Integer(1), 250_000)
    log_purge_timeout_seconds: int = _single("LOG_PURGE_TIMEOUT", kinds.Integer(1), 60)
    election_timeout_ms: int = _single("ELECTION_TIMEOUT_MS", kinds.MILLISECONDS, 1000)
    broadcast_timeout_ms: int = _single("BROADCAST_TIMEOUT_MS", kinds.MILLISECONDS, 150)
    xmlrpc_timeout_ms: int = _single("XMLRPC_TIMEOUT_MS", kinds.Integer(0), 1000)


@dataclass(frozen=True, slots=True)
class HookSettings:
    """RAFT_LEADER_HOOK or RAFT_FOLLOWER_HOOK.

    Attributes:
        command: a resident hook (``vip``, ``kubernetes``) or an executable; a relative path is
            looked up below ``remotes/hooks`` of the state directory.
        arguments: split at blanks.
    """

    command: str = _single("COMMAND", kinds.Text(required=True), "")
    arguments: str = _single("ARGUMENTS", kinds.Text(), "")


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """PEER: the port on which servers replicate, with mutual TLS.

    Attributes:
        listen_address: address to bind.
        port: TCP port.
        directory: holds ``ca.crt`` and this server's ``<name>.crt`` and ``<name>.key``.
    """

    listen_address: str = _single("LISTEN_ADDRESS", kinds.Host(), "0.0.0.0")  # noqa: S104
    port: int = _single("PORT", kinds.PORT, PEER_PORT)
    directory: Path = _single("DIRECTORY", kinds.Directory(), Path("/etc/one/peers"))


@dataclass(frozen=True, slots=True)
class ApiTlsSettings:
    """API_TLS: the API's port speaks https, and nothing else, when this is given.

    Attributes:
        certificate: PEM file of the certificate and what leads from it to an authority.
        key: PEM file of its private key.
        authority: PEM file of the authorities of the other servers' certificates; those of the
            system when None.
    """

    certificate: Path = _single("CERTIFICATE", kinds.Directory(), Path("/etc/one/tls/tls.crt"))
    key: Path = _single("KEY", kinds.Directory(), Path("/etc/one/tls/tls.key"))
    authority: Path | None = _single("CA", kinds.OptionalPath(), None)


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """ADMIN: health, status and metrics; it answers everybody and tells no secrets."""

    listen_address: str = _single("LISTEN_ADDRESS", kinds.Host(), "0.0.0.0")  # noqa: S104
    port: int = _single("PORT", kinds.PORT, ADMIN_PORT)


@dataclass(frozen=True, slots=True)
class XmlRpcSettings:
    """Limits of the XML-RPC server.

    Attributes:
        max_conn: connections held open at a time. OpenNebula's 15 is a number of threads; a
            connection here costs a socket.
        max_conn_backlog: connections that the kernel queues on top.
        keepalive_timeout_seconds: an idle connection is closed after this.
        keepalive_max_conn: calls on one connection before it is closed.
        timeout_seconds: bound on reading one request.
        rpc_log: whether calls are logged with their whole request.
        message_size: bytes of a request. OpenNebula allows 1 GiB; a request is held in memory,
            parsed, by each server that sees it.
        log_call_format: OpenNebula's format of the line for a call.
        log_result_length: characters of a result in the log.
    """

    max_conn: int = _single("MAX_CONN", kinds.Integer(1), 1024)
    max_conn_backlog: int = _single("MAX_CONN_BACKLOG", kinds.Integer(1), 128)
    keepalive_timeout_seconds: int = _single("KEEPALIVE_TIMEOUT", kinds.Integer(1), 15)
    keepalive_max_conn: int = _single("KEEPALIVE_MAX_CONN", kinds.Integer(1), 1_000_000)
    timeout_seconds: int = _single("TIMEOUT", kinds.Integer(1), 15)
    rpc_log: bool = _single("RPC_LOG", kinds.YesNo(), False)
    message_size: int = _single("MESSAGE_SIZE", kinds.Integer(1024, 2**30), 64 * 2**20)
    log_call_format: str = _single(
        "LOG_CALL_FORMAT", kinds.Text(), "Req:%i UID:%u IP:%A %m invoked %l20"
    )
    log_result_length: int = _single("LOG_RESULT_LENGTH", kinds.Integer(0), 20)


VM_OPERATIONS = ("VM_USE_OPERATIONS", "VM_MANAGE_OPERATIONS", "VM_ADMIN_OPERATIONS")

DEFAULT_RESTRICTED = {"USER": VM_OPERATIONS, "GROUP": VM_OPERATIONS}
"""Attributes that only oneadmin's group may set, by resource."""

DEFAULT_ENCRYPTED = {
    "USER": ("SSH_PRIVATE_KEY", "SSH_PASSPHRASE"),
    "DOCUMENT": ("PROVISION_BODY",),
}
"""Attributes that are stored encrypted, by resource."""

RESTRICTED_SUFFIX = "_RESTRICTED_ATTR"
ENCRYPTED_SUFFIX = "_ENCRYPTED_ATTR"


@dataclass(frozen=True)
class Config:
    """The settings of one server, as oned.conf gives them.

    Attributes:
        restricted_attributes: by resource (``USER``): what only oneadmin's group may set;
            ``NIC/*`` means every item of the vector.
        encrypted_attributes: by resource: what is stored encrypted.
        attributes: the file itself, with what this server does not know.
        warnings: what is in the file and has no effect, one sentence each.
        path: where the file was.
    """

    port: int = _single("PORT", kinds.PORT, RPC_PORT)
    listen_address: str = _single("LISTEN_ADDRESS", kinds.Host(), "0.0.0.0")  # noqa: S104
    session_expiration_time_seconds: int = _single("SESSION_EXPIRATION_TIME", kinds.Integer(0), 900)
    default_auth: str = _single("DEFAULT_AUTH", kinds.Text(required=True), "default")
    default_umask: int = _single("DEFAULT_UMASK", kinds.Umask(), 0o177)
    enable_other_permissions: bool = _single("ENABLE_OTHER_PERMISSIONS", kinds.YesNo(), True)
    api_tls: ApiTlsSettings | None = _optional("API_TLS", ApiTlsSettings, "CERTIFICATE", "KEY")
    api_list_order: str = _single("API_LIST_ORDER", kinds.Choice(("DESC", "ASC")), "DESC")
    log: LogSettings = _section("LOG", LogSettings)
    database: DatabaseSettings = _section("DB", DatabaseSettings)
    federation: FederationSettings = _section("FEDERATION", FederationSettings)
    raft: RaftSettings = _section("RAFT", RaftSettings)
    leader_hook: HookSettings | None = _hook("RAFT_LEADER_HOOK")
    follower_hook: HookSettings | None = _hook("RAFT_FOLLOWER_HOOK")
    peer: PeerSettings = _section("PEER", PeerSettings)
    admin: AdminSettings = _section("ADMIN", AdminSettings)
    xmlrpc: XmlRpcSettings = _group(XmlRpcSettings)
    restricted_attributes: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: dict(DEFAULT_RESTRICTED)
    )
    encrypted_attributes: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: dict(DEFAULT_ENCRYPTED)
    )
    attributes: Template = field(default_factory=Template, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    path: Path = field(default=Path("oned.conf"), compare=False)

    @property
    def api_scheme(self) -> str:
        """What a URL of the API begins with: its port speaks one of both, never both."""
        return "http" if self.api_tls is None else "https"

    def to_template(self) -> Template:
        """The effective settings, defaults filled in and unknown attributes kept.

        It is what ``one.system.config`` shows, before the database's keys are masked.
        """
        template = self.attributes.copy()
        _write(self, template)
        for suffix, lists in (
            (RESTRICTED_SUFFIX, self.restricted_attributes),
            (ENCRYPTED_SUFFIX, self.encrypted_attributes),
        ):
            for resource, names in lists.items():
                template.remove(resource + suffix)
                for name in names:
                    template.add(resource + suffix, name)
        return template


def _write(settings: Any, template: Template) -> None:
    """Put each setting in place of what ``template`` has under its name."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        match item.metadata.get(METADATA):
            case Single(name, kind):
                template.set(name, kind.format(value))
            case Section(name) if value is not None:
                given = template.vector(name) or Vector()
                template.set(name, Vector({**given, **_section_values(value)}))
            case Group():
                _write(value, template)
            case _:
                pass


def _section_values(settings: Any) -> dict[str, str]:
    values = {}
    for item in fields(settings):
        single: Single = item.metadata[METADATA]
        values[single.name] = single.kind.format(getattr(settings, item.name))
    return values
