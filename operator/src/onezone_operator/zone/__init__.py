"""The only I/O to a zone's servers: their ``/status``, and XML-RPC to change the server set."""

from onezone_operator.zone.client import ZoneClient
from onezone_operator.zone.ports import ApiAddress, ZoneApi

__all__ = ["ApiAddress", "ZoneApi", "ZoneClient"]
