"""The environment of a server: what differs from one server of a zone to the next."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from oned.config import kinds
from oned.config.settings import Config
from oned.errors import ConfigError

DEFAULT_VAR = Path("/var/lib/one")
ROUTE_SECONDS_MAX = 60
_SERVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Environment:
    """Who this server is and where it keeps its state.

    Attributes:
        server_name: its name in the zone and in its certificate.
        server_endpoint: its XML-RPC URL, as registered in the zone.
        server_peer: its ``host:port`` for the other servers.
        zone_endpoint: the zone's floating endpoint, used when the database is made.
        bootstrap: name of the one server that may create the zone's database, or empty.
        auth_file: oneadmin's credentials, ``oneadmin:<password>``.
        var: state directory: ``one.db``, ``.one/``, ``config``.
        fence_file: while it says true, the server takes no part in the zone and only its admin port
            answers; ``fenced`` in the state directory by default.
        node_name: Kubernetes node of the pod, or empty; with the three below, for the hook.
        pod_name: name of the pod, or empty.
        pod_ip: address of the pod, or empty.
        namespace: namespace of the pod, or empty.
        route_seconds: how long those who route to this server may take to see a change, 0 to 60.
            When it is asked to stop, a leader goes on that long before it hands over, and every
            server goes on answering that long afterwards.
    """

    server_name: str
    server_endpoint: str
    server_peer: str
    zone_endpoint: str
    bootstrap: str = ""
    auth_file: Path = field(default=DEFAULT_VAR / ".one" / "one_auth")
    var: Path = DEFAULT_VAR
    fence_file: Path = field(default=DEFAULT_VAR / "fenced")
    node_name: str = ""
    pod_name: str = ""
    pod_ip: str = ""
    namespace: str = ""
    route_seconds: float = 0.0

    @property
    def may_bootstrap(self) -> bool:
        """Whether this server is the one that may create the zone's database."""
        return self.bootstrap == self.server_name


def load_environment(config: Config, environ: Mapping[str, str] | None = None) -> Environment:
    """Read the variables of the process; an empty variable counts as absent.

    Raises:
        ConfigError: with variable, the given value and what is allowed.
    """
    given = {k: v for k, v in (os.environ if environ is None else environ).items() if v}
    name = _server_name(given, "ONED_SERVER_NAME") or _host_name()
    endpoint = _checked(
        given,
        "ONED_SERVER_ENDPOINT",
        kinds.Endpoint(),
        default=f"{config.api_scheme}://{name}:{config.port}/RPC2",
    )
    location = given.get("ONE_LOCATION")
    default_var = Path(location) / "var" if location else DEFAULT_VAR
    var = Path(given.get("ONED_VAR", default_var))
    return Environment(
        server_name=name,
        server_endpoint=endpoint,
        server_peer=_checked(
            given, "ONED_SERVER_PEER", kinds.HostPort(), default=peer_address(endpoint, config)
        ),
        zone_endpoint=_checked(
            given,
            "ONED_ZONE_ENDPOINT",
            kinds.Endpoint(),
            default=f"{config.api_scheme}://localhost:{config.port}/RPC2",
        ),
        bootstrap=_server_name(given, "ONED_BOOTSTRAP"),
        auth_file=Path(given.get("ONE_AUTH", var / ".one" / "one_auth")),
        var=var,
        fence_file=Path(given.get("ONED_FENCE_FILE", var / "fenced")),
        node_name=given.get("ONED_NODE_NAME", ""),
        pod_name=given.get("ONED_POD_NAME", ""),
        pod_ip=given.get("ONED_POD_IP", ""),
        namespace=given.get("ONED_NAMESPACE", ""),
        route_seconds=_seconds(given, "ONED_ROUTE_SECONDS"),
    )


def peer_address(endpoint: str, config: Config) -> str:
    """``host:port`` of a server's peer port when nobody stated it: the endpoint's host."""
    host = urlsplit(endpoint).hostname or ""
    return f"[{host}]:{config.peer.port}" if ":" in host else f"{host}:{config.peer.port}"


def _checked(given: Mapping[str, str], variable: str, kind: kinds.Kind, *, default: str) -> str:
    text = given.get(variable, default)
    try:
        return str(kind.parse(text))
    except ValueError as error:
        raise ConfigError(f'{variable}="{text}": must be {error}') from None


def _seconds(given: Mapping[str, str], variable: str) -> float:
    text = given.get(variable, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= ROUTE_SECONDS_MAX:
        raise ConfigError(f'{variable}="{text}": must be seconds, 0 to {ROUTE_SECONDS_MAX}')
    return seconds


def _server_name(given: Mapping[str, str], variable: str) -> str:
    name = given.get(variable, "")
    if name and not _SERVER_NAME.fullmatch(name):
        raise ConfigError(
            f'{variable}="{name}": must be letters, digits, ".", "_" and "-", at most 128'
        )
    return name


def _host_name() -> str:
    name = socket.gethostname()
    if not _SERVER_NAME.fullmatch(name):
        raise ConfigError(f'the host name "{name}" cannot name a server; set ONED_SERVER_NAME')
    return name
