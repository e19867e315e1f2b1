"""The public port: HTTP around the flow of calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web

from oned.api import backups, methods
from oned.api.calls import Services
from oned.api.flow import Envelope, Flow, RequestHook
from oned.api.forwarding import (
    CONSISTENCY_HEADER,
    HOPS_HEADER,
    HOPS_MAX,
    LINEARIZABLE,
    NOT_RUN_HEADER,
    Forwarder,
)
from oned.api.ports import Front
from oned.api.registry import Registry
from oned.api.xmlrpc import Fault, FaultCode, write_fault
from oned.config import Config
from oned.tls import Certificates

PATH = "/RPC2"

BODY_MAX = 8 * 2**20
"""Bytes of a request, whatever MESSAGE_SIZE allows: a change goes through the log in one entry."""

STOP_SECONDS = 2.0
"""How long a stop waits for calls under way; who is not answered by then is told so."""

LINGER_SECONDS = 0.3
"""How long a stop goes on answering on open connections, each for the last time.

A connection that is closed as its client sends the next call leaves it without an answer.
"""

_POLL_SECONDS = 0.01
_GRACE_SECONDS = 0.5
"""How long it waits then for the last answers to be written."""

_NOT_RUN = {NOT_RUN_HEADER: "1"}

_CONTENT_TYPE = "text/xml"
_log = structlog.get_logger()


class ApiServer:
    """XML-RPC on ``LISTEN_ADDRESS:PORT``.

    Args:
        front: the replicated database.
        config: oned.conf.
        requests: called once a call with method, outcome and seconds.
        backup: called once a backup with outcome, seconds and bytes.
        registry: the methods; all of this server when not given.
        forwarder: for calls that the leader must answer.
        certificates: with them the port speaks https, and nothing else.
    """

    def __init__(
        self,
        front: Front,
        config: Config,
        *,
        requests: RequestHook | None = None,
        backup: backups.Hook | None = None,
        registry: Registry | None = None,
        forwarder: Forwarder | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._config = config
        self._certificates = certificates
        self._forwarder = forwarder or Forwarder(
            context=None if certificates is None else certificates.client
        )
        services = Services(front, config)
        self._flow = Flow(services, registry or methods.all_methods(), self._forwarder, requests)
        self._backups = backups.Backups(front, services.authenticator, backup)
        self._body_max = min(config.xmlrpc.message_size, BODY_MAX)
        self._calls = 0
        self._under_way: set[asyncio.Task[Any]] = set()
        self._all_answered = asyncio.Event()
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        limits = self._config.xmlrpc
        server = web.Server(
            self._handle,
            request_factory=self._request,
            access_log=None,
            keepalive_timeout=limits.keepalive_timeout_seconds,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE_SECONDS)
        await self._runner.setup()
        self._site = web.TCPSite(
            self._runner,
            self._config.listen_address,
            self._config.port,
            backlog=limits.max_conn_backlog,
            ssl_context=None if self._certificates is None else self._certificates.server,
        )
        await self._site.start()
        if self._certificates is not None:
            self._certificates.start()
        _log.info(
            "listening for calls",
            address=self._config.listen_address,
            port=self.port,
            scheme=self._config.api_scheme,
        )

    async def stop(self) -> None:
        """Stop listening, and wait a little for calls under way; the others are told so."""
        if self._runner is not None:
            if self._site is not None:
                await self._site.stop()
            await self._settle_calls()
            await self._runner.cleanup()
            self._runner = None
        await self._forwarder.close()
        if self._certificates is not None:
            await self._certificates.stop()

    async def _settle_calls(self) -> None:
        """Every call under way has an answer: its own, or that nobody knows it."""
        assert self._runner is not None
        self._stopping = True
        server, loop = self._runner.server, asyncio.get_running_loop()
        lingers_until = loop.time() + LINGER_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                # The HTTP server has no event for this.
                while (  # noqa: ASYNC110
                    server is not None and server.connections and loop.time() < lingers_until
                ):
                    await asyncio.sleep(_POLL_SECONDS)
                while self._under_way:
                    self._all_answered.clear()
                    await self._all_answered.wait()
        self._flow.is_stopping = True
        for task in list(self._under_way):
            task.cancel()
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=_GRACE_SECONDS)

    @property
    def port(self) -> int:
        """The port in use, also when it was chosen by the system."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any
    ) -> web.BaseRequest:
        """A request whose body is bounded while it is read."""
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._body_max,
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == backups.PATH:
            return await self._backups.answer(request)
        if request.path != PATH:
            return web.Response(status=404, text=f"Calls are taken at {PATH}\n", headers=_NOT_RUN)
        if request.method != "POST":
            return web.Response(
                status=405,
                text="Calls are sent with POST\n",
                headers={"Allow": "POST", **_NOT_RUN},
            )
        if self._calls >= self._config.xmlrpc.max_conn:
            return web.Response(
                status=503,
                text="Too many calls, try again\n",
                headers={"Retry-After": "1", **_NOT_RUN},
            )
        task = request.task
        self._calls += 1
        # It goes on when its client hangs up: half a call is never done.
        self._under_way.add(task)
        try:
            response = await self._answer(request)
        finally:
            self._calls -= 1
            self._under_way.discard(task)
            if not self._under_way:
                self._all_answered.set()
        if self._stopping:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if (request.content_length or 0) > self._body_max:
            return self._too_large()
        try:
            body = self._body_at_once(request)
            if body is None:
                async with asyncio.timeout(self._config.xmlrpc.timeout_seconds):
                    body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._too_large()
        except TimeoutError:
            return web.Response(
                status=408, text="The request did not arrive in time\n", headers=_NOT_RUN
            )
        headers = request.headers
        answer = await self._flow.answer(
            Envelope(
                body,
                hops=_hops(headers.get(HOPS_HEADER)),
                linearizable=headers.get(CONSISTENCY_HEADER, "").lower() == LINEARIZABLE,
            )
        )
        return web.Response(body=answer, content_type=_CONTENT_TYPE)

    def _body_at_once(self, request: web.BaseRequest) -> bytes | None:
        """The body, when all of it came with the headers, as that of most calls does.

        Raises:
            HTTPRequestEntityTooLarge: it is longer than a request may be.
        """
        content = request.content
        if not content.is_eof():
            return None
        body = content.read_nowait()
        if len(body) > self._body_max:
            raise web.HTTPRequestEntityTooLarge(self._body_max, len(body))
        return body

    def _too_large(self) -> web.Response:
        fault = Fault(FaultCode.LIMIT, f"A request has {self._body_max} bytes at most")
        response = web.Response(body=write_fault(fault), content_type=_CONTENT_TYPE)
        response.force_close()
        return response


def _hops(text: str | None) -> int:
    """How often a call was sent on; what cannot be understood counts as too often."""
    if text is None:
        return 0
    return int(text) if text in ("1", "2") else HOPS_MAX
