"""``ZoneApi`` over aiohttp. Servers are reached at their pods' addresses: names may be slow to
appear, and a Service might lead elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from onezone_operator import naming
from onezone_operator.errors import ZoneError, ZoneUnreachable
from onezone_operator.models.observed import ServerReport
from onezone_operator.zone.codec import (
    build_server_template,
    decode_answer,
    encode_call,
    parse_report,
)
from onezone_operator.zone.ports import ApiAddress

__all__ = ["ZoneClient"]

_ANSWER_MAX = 1024 * 1024
"""Bytes: a status of nine servers is a few thousand."""

_ZONE_ID = 0
"""The id of a standalone zone within itself."""


class ZoneClient:
    """Connections to the servers of all zones. Use as an async context manager.

    Args:
        status_seconds: deadline of a question for the status.
        call_seconds: deadline of an XML-RPC call.
        may_write: called before each XML-RPC call; raises when this process may not make it.
    """

    def __init__(
        self,
        *,
        status_seconds: float,
        call_seconds: float,
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        self._may_write = may_write
        self._status_timeout = aiohttp.ClientTimeout(total=status_seconds)
        self._call_timeout = aiohttp.ClientTimeout(total=call_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Proxies of the environment are not asked: pods are reached directly.
        self._session = aiohttp.ClientSession(trust_env=False)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def read_reports(self, addresses: Mapping[str, str]) -> dict[str, ServerReport]:
        """See ``ZoneApi``. A server that answers under another name is absent too."""
        names = list(addresses)
        answers = await asyncio.gather(
            *(self._read_report(addresses[name]) for name in names), return_exceptions=True
        )
        reports = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, ZoneError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            if answer.name == name:
                reports[name] = answer
        return reports

    async def add_server(
        self, address: ApiAddress, session: str, *, name: str, endpoint: str, peer: str
    ) -> None:
        """See ``ZoneApi``."""
        template = build_server_template(name=name, endpoint=endpoint, peer=peer)
        await self._call(address, "one.zone.addserver", session, _ZONE_ID, template)

    async def delete_server(self, address: ApiAddress, session: str, *, server_id: int) -> None:
        """See ``ZoneApi``."""
        await self._call(address, "one.zone.delserver", session, _ZONE_ID, server_id)

    async def transfer_leadership(
        self, address: ApiAddress, session: str, *, server_id: int
    ) -> int:
        """See ``ZoneApi``."""
        answer = await self._call(address, "one.zone.transferleader", session, _ZONE_ID, server_id)
        if not isinstance(answer, int):
            raise ZoneError("one.zone.transferleader answers with no id")
        return answer

    async def _read_report(self, address: str) -> ServerReport:
        url = f"http://{_host(address)}:{naming.ADMIN_PORT}/status"
        body = await self._request("GET", url, deadline=self._status_timeout)
        try:
            data = json.loads(body)
        except ValueError as error:
            raise ZoneError(f"{url} is no JSON") from error
        return parse_report(data)

    async def _call(self, address: ApiAddress, method: str, *parameters: str | int) -> Any:
        self._may_write()
        scheme = "http" if address.authority is None else "https"
        url = f"{scheme}://{_host(address.address)}:{naming.API_PORT}/RPC2"
        body = await self._request(
            "POST",
            url,
            deadline=self._call_timeout,
            data=encode_call(method, *parameters),
            tls={} if address.authority is None else _tls(address.host, address.authority),
        )
        return decode_answer(body)

    async def _request(
        self,
        verb: str,
        url: str,
        *,
        deadline: aiohttp.ClientTimeout,
        data: bytes | None = None,
        tls: Mapping[str, Any] | None = None,
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("ZoneClient is used outside of its context")
        headers = {"Content-Type": "text/xml"} if data is not None else {}
        try:
            async with self._session.request(
                verb,
                url,
                data=data,
                headers=headers,
                timeout=deadline,
                allow_redirects=False,
                **(tls or {}),
            ) as response:
                body = await response.content.read(_ANSWER_MAX + 1)
                while not response.content.at_eof() and len(body) <= _ANSWER_MAX:
                    body += await response.content.read(_ANSWER_MAX + 1 - len(body))
                status = response.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ZoneUnreachable(f"{url}: {type(error).__name__} {error}".rstrip()) from error
        if len(body) > _ANSWER_MAX:
            raise ZoneError(f"{url} answers with more than {_ANSWER_MAX} bytes")
        if status != 200:  # noqa: PLR2004 - OK
            raise ZoneError(f"{url} answers {status}")
        return body


def _tls(host: str, authority: str) -> dict[str, Any]:
    """The server is called at its pod's address, and proves the name that it is registered with.

    Raises:
        ZoneError: what it is held against is no certificate.
    """
    try:
        # Not create_default_context: to that, an empty text means the system's authorities.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authority)
        # As servers among each other: what is there is trusted, be it a root or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except (ssl.SSLError, ValueError) as error:
        raise ZoneError("ca.crt beside the API's certificate is unusable") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return {"ssl": context, "server_hostname": host}


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
