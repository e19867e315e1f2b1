"""``one.system.*``: version and configuration."""

from __future__ import annotations

from oned.api.calls import Call
from oned.api.registry import Registry, Where
from oned.constants import OPENNEBULA_VERSION
from oned.state.callers import ONEADMIN
from oned.template import Vector

_SECRET_IN_DB = ("BACKEND", "SERVER", "PORT", "USER", "PASSWD", "DB_NAME")
_MASK = "***"


def register(registry: Registry) -> None:
    """Declare the two methods."""
    registry.read(
        "one.system.version", _version, where=Where.LEADER, summary="The OpenNebula version"
    )
    registry.read(
        "one.system.config",
        _config,
        where=Where.LEADER,
        summary="The effective oned.conf as XML, the database's keys masked",
    )


async def _version(_call: Call) -> str:
    return OPENNEBULA_VERSION


async def _config(call: Call) -> str:
    template = call.config.to_template()
    database = template.vector("DB")
    if database and call.caller.gid != ONEADMIN:
        masked = {name: _MASK if name in _SECRET_IN_DB else database[name] for name in database}
        template.set("DB", Vector(masked))
    return template.to_xml("OPENNEBULA_CONFIGURATION")
