"""oned.conf and the environment as frozen settings.

``settings`` says what can be configured, ``kinds`` which values are right, ``reader`` reads the
file and ``environment`` the process's variables. Nothing here opens a database or a socket.
"""

from oned.config.environment import Environment, load_environment
from oned.config.kinds import AUTO, SOLO
from oned.config.reader import DEFAULT_PATH, default_text, load_config, parse_config
from oned.config.settings import (
    AdminSettings,
    ApiTlsSettings,
    Config,
    DatabaseSettings,
    FederationSettings,
    HookSettings,
    LogSettings,
    PeerSettings,
    RaftSettings,
    XmlRpcSettings,
)

__all__ = [
    "AUTO",
    "DEFAULT_PATH",
    "SOLO",
    "AdminSettings",
    "ApiTlsSettings",
    "Config",
    "DatabaseSettings",
    "Environment",
    "FederationSettings",
    "HookSettings",
    "LogSettings",
    "PeerSettings",
    "RaftSettings",
    "XmlRpcSettings",
    "default_text",
    "load_config",
    "load_environment",
    "parse_config",
]
