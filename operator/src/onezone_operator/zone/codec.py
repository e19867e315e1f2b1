"""XML-RPC calls and answers as OpenNebula makes them, and ``/status`` as facts. Pure."""

from __future__ import annotations

import xmlrpc.client
from typing import Any, TypeVar
from xml.parsers.expat import ExpatError

from onezone_operator.errors import ZoneError, ZoneRefused
from onezone_operator.models.observed import Member, ReportedCertificate, ServerReport

__all__ = ["build_server_template", "decode_answer", "encode_call", "parse_report"]


_T = TypeVar("_T")


def encode_call(method: str, *parameters: str | int | bool) -> bytes:
    """The body of a call."""
    return xmlrpc.client.dumps(parameters, method).encode()


def decode_answer(body: bytes) -> Any:
    """The value of OpenNebula's answer ``[success, value or message, code, …]``.

    Raises:
        ZoneRefused: the server says no; its own words.
        ZoneError: this is no answer of OpenNebula.
    """
    try:
        (answer,), _ = xmlrpc.client.loads(body)
    except xmlrpc.client.Fault as error:
        raise ZoneRefused(f"{error.faultString} ({error.faultCode})") from error
    except (xmlrpc.client.Error, ExpatError, ValueError, TypeError, LookupError) as error:
        raise ZoneError("the server's answer is no XML-RPC") from error
    if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[0], bool):  # noqa: PLR2004
        raise ZoneError("the server's answer is not one of OpenNebula")
    if not answer[0]:
        raise ZoneRefused(str(answer[1]))
    return answer[1]


def build_server_template(*, name: str, endpoint: str, peer: str) -> str:
    """The SERVER vector that a server is added with. Names come from Kubernetes: no quotes."""
    return f'SERVER = [ NAME = "{name}", ENDPOINT = "{endpoint}", ENDPOINT_PEER = "{peer}" ]'


def parse_report(data: Any) -> ServerReport:
    """The facts in the JSON of ``/status`` (ARCHITECTURE.md).

    Raises:
        ZoneError: something is missing or of another type.
    """
    try:
        return ServerReport(
            name=_typed(data["name"], str),
            zone_uuid=data.get("zone_uuid") or "",
            server_id=_optional(data.get("server_id"), int),
            state=_typed(data["state"], str),
            term=_typed(data["term"], int),
            leader_id=_optional(data.get("leader_id"), int),
            commit=_typed(data["commit"], int),
            serving=_typed(data["serving"], bool),
            initialised=_typed(data["initialised"], bool),
            configuration_committed=_typed(data["configuration_committed"], bool),
            members=tuple(_parse_member(each) for each in data.get("members") or ()),
            version=str(data.get("version") or ""),
            log_index=_typed(data.get("log_index") or 0, int),
            log_term=_typed(data.get("log_term") or 0, int),
            database=str(data.get("database") or ""),
            certificates={
                str(which): _parse_certificate(each)
                for which, each in (data.get("certificates") or {}).items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ZoneError(f"/status is not as agreed: {error}") from error


def _parse_member(data: Any) -> Member:
    seconds = data.get("last_contact_seconds")
    return Member(
        id=_typed(data["id"], int),
        name=_typed(data["name"], str),
        endpoint=_typed(data["endpoint"], str),
        voter=_typed(data["voter"], bool),
        lag=_optional(data.get("lag"), int),
        last_contact_seconds=None if seconds is None else float(seconds),
    )


def _parse_certificate(data: Any) -> ReportedCertificate:
    return ReportedCertificate(
        fingerprint=_typed(data["fingerprint"], str),
        authorities=frozenset(_typed(each, str) for each in data["authorities"]),
        is_refused=_typed(data["refused"], bool),
    )


def _typed(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _optional(value: Any, kind: type[_T]) -> _T | None:
    return None if value is None else _typed(value, kind)
