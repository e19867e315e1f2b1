"""oned.conf of a zone's servers, and the ConfigMap that carries it.

Grammar and attributes are OpenNebula's; PEER and ADMIN are this project's (ARCHITECTURE.md).
"""

from __future__ import annotations

from onezone_operator import naming
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import build_metadata, digest

__all__ = ["build_config_map", "build_oned_conf", "config_digest"]

_LOG_LEVELS = {"error": 0, "warning": 1, "info": 2, "debug": 3}


def build_oned_conf(zone: OneZone) -> str:
    """The text of oned.conf, the same for all servers: what differs comes by environment."""
    raft = zone.spec.raft
    route = naming.leader_slice_name(zone.name)
    return f"""\
# Made by {naming.OPERATOR} from the OneZone {zone.name}; changes made here are undone.
LOG = [ SYSTEM = "std", DEBUG_LEVEL = {_LOG_LEVELS[zone.spec.log_level]} ]
LISTEN_ADDRESS = "0.0.0.0"
PORT = {naming.API_PORT}
DB = [ BACKEND = "{zone.spec.database.backend}" ]
FEDERATION = [ MODE = "STANDALONE", ZONE_ID = 0, SERVER_ID = "AUTO", MASTER_ONED = "" ]
RAFT = [
    LIMIT_PURGE = {raft.log_purge_limit},
    LOG_RETENTION = {raft.log_retention},
    LOG_PURGE_TIMEOUT = {raft.log_purge_seconds},
    ELECTION_TIMEOUT_MS = {raft.election_timeout_ms},
    BROADCAST_TIMEOUT_MS = {raft.heartbeat_ms},
    XMLRPC_TIMEOUT_MS = {raft.rpc_timeout_ms}
]
PEER = [ LISTEN_ADDRESS = "0.0.0.0", PORT = {naming.PEER_PORT}, DIRECTORY = "/etc/one/peers" ]
ADMIN = [ LISTEN_ADDRESS = "0.0.0.0", PORT = {naming.ADMIN_PORT} ]
{_api_tls(zone)}\
RAFT_LEADER_HOOK = [ COMMAND = "kubernetes", ARGUMENTS = "leader {route} {naming.API_PORT}" ]
RAFT_FOLLOWER_HOOK = [ COMMAND = "kubernetes", ARGUMENTS = "follower {route} {naming.API_PORT}" ]
"""


def _api_tls(zone: OneZone) -> str:
    if not zone.spec.tls.enabled:
        return ""
    names = {
        "CERTIFICATE": naming.TLS_CERTIFICATE_KEY,
        "KEY": naming.TLS_PRIVATE_KEY,
        "CA": naming.AUTHORITY_KEY,
    }
    items = [f'{item} = "{naming.TLS_DIRECTORY}/{name}"' for item, name in names.items()]
    return f"API_TLS = [ {', '.join(items)} ]\n"


def config_digest(zone: OneZone) -> str:
    """What the pod template carries, so that new text is a new template."""
    return digest(build_oned_conf(zone))


def build_config_map(zone: OneZone, *, bootstrap: str, founding: str = "") -> Manifest:
    """The ConfigMap.

    Args:
        zone: the zone.
        bootstrap: the server that may make the zone's database, empty once it exists.
        founding: what ``onedb prepare`` does with the database before a server starts, as JSON.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(zone, naming.config_map_name(zone.name)),
        "data": {
            naming.CONFIG_KEY: build_oned_conf(zone),
            naming.BOOTSTRAP_KEY: bootstrap,
            **({naming.FOUNDING_KEY: founding} if founding else {}),
        },
    }
