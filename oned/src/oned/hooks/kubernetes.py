"""The resident ``kubernetes`` hook: points the zone's leader Service at this pod.

    RAFT_LEADER_HOOK = [ COMMAND = "kubernetes", ARGUMENTS = "leader zone-leader" ]

The Service has no selector; its one EndpointSlice is written here, by the leader, with the pod's
own token and compare-and-swap. ``route`` decides, this module reads and writes. It asserts the
slice again and again while the server leads, so that a lost call or a foreign hand is repaired.

A server that steps down leaves the slice as it is: it forwards calls, and a route that leads
nowhere until the next leader has written would refuse them. Only a server that ends takes itself
out, if nobody else has been put in by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from oned import constants
from oned.errors import ConfigError, HookError
from oned.hooks.resident import Backoff, Side
from oned.hooks.route import Keep, Me, Write, Yield, decide, decide_release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oned.config import Environment
    from oned.hooks.resident import Occasion

__all__ = ["KubernetesHook"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's ``token``, ``ca.crt`` and ``namespace``."""

ASSERT_SECONDS = 2.0
"""Between looks at the slice while leading."""

REQUEST_SECONDS = 1.0
"""For one call: a connection to an API server that died must not cost more than that."""

RELEASE_SECONDS = 1.0
"""For the best effort of a server that ends while the route still leads to it."""

RETRY = Backoff(first=0.05, most=0.5)
CONFLICTS_MAX = 5
"""Lost races in a row before we pause: each was won by somebody, so that this ends by itself."""

REPEAT_SECONDS = 60.0
"""The same trouble is logged again after this time only."""

ANSWER_BYTES = 1024 * 1024
FIELD_MANAGER = "oned"

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PORT_MAX = 65535
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Request:
    """What the arguments ask for."""

    side: Side
    endpoint_slice: str
    port: int


class _Conflict(Exception):
    """Somebody wrote the slice since we read it."""


class KubernetesHook:
    """Writes the leader's EndpointSlice.

    Args:
        environment: of the server; the pod's name, address, node and namespace are needed.
        directory: of the service account.
        url: of the API server; from ``KUBERNETES_SERVICE_HOST`` and ``_PORT`` if None.
    """

    def __init__(
        self,
        environment: Environment,
        directory: Path = SERVICE_ACCOUNT,
        url: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environment = environment
        self._directory = directory
        self._url = url if url is not None else _api_server(environ)
        self._session: aiohttp.ClientSession | None = None
        self._trouble: tuple[str, float] = ("", 0.0)
        self._led: tuple[_Request, int, Me] | None = None
        self._confirmed: float | None = None

    def unconfirmed_seconds(self) -> float | None:
        """For how long nobody has seen the route lead here; None while another one leads."""
        if self._confirmed is None:
            return None
        return asyncio.get_running_loop().time() - self._confirmed

    def check(self, arguments: Sequence[str]) -> None:
        """Refuse wrong arguments, and a server that is in no pod; see ``Resident``."""
        if _parse(arguments).side is Side.FOLLOWER:
            return
        if not self._url:
            raise ConfigError("the kubernetes hook needs KUBERNETES_SERVICE_HOST and _PORT: a pod")
        try:
            ipaddress.ip_address(self._environment.pod_ip)
        except ValueError as error:
            raise ConfigError(
                "the kubernetes hook needs the pod's address in ONED_POD_IP, "
                f"not {self._environment.pod_ip!r}"
            ) from error

    async def run(self, arguments: Sequence[str], occasion: Occasion) -> None:
        """Assert the slice until cancelled or another leader of a higher term has it."""
        request = _parse(arguments)
        if request.side is Side.FOLLOWER:
            return
        me = Me(
            name=occasion.server_name,
            address=self._environment.pod_ip,
            port=request.port,
            pod=self._environment.pod_name or occasion.server_name,
            namespace=self._namespace(),
            node=self._environment.node_name,
        )
        log = _log.bind(hook="kubernetes", slice=request.endpoint_slice, term=occasion.term)
        self._led = (request, occasion.term, me)
        self._confirmed = asyncio.get_running_loop().time()
        try:
            await self._hold(request, occasion.term, me, log)
        finally:
            self._confirmed = None

    async def close(self) -> None:
        """Take this server out of the route if it is still there, and hang up."""
        led, self._led = self._led, None
        if led is not None:
            await self._release(*led)
        await self._hang_up()

    async def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _hold(self, request: _Request, term: int, me: Me, log: Any) -> None:
        pauses = iter(RETRY)
        while True:
            try:
                decision = await self._assert(request, term, me)
            except HookError as error:
                self._report(str(error), log)
                await asyncio.sleep(next(pauses))
                continue
            pauses = iter(RETRY)
            self._trouble = ("", 0.0)
            match decision:
                case Yield(seen, leader):
                    log.warning("route left to another leader", seen_term=seen, leader=leader)
                    return
                case Write():
                    log.info("route points here", address=me.address, port=me.port)
                case Keep():
                    pass
            self._confirmed = asyncio.get_running_loop().time()
            await asyncio.sleep(ASSERT_SECONDS)

    async def _assert(self, request: _Request, term: int, me: Me) -> Write | Keep | Yield:
        for _ in range(CONFLICTS_MAX):
            endpoint_slice = await self._call("GET", request)
            decision = decide(endpoint_slice, term=term, me=me)
            if isinstance(decision, Write):
                try:
                    await self._call("PUT", request, decision.slice)
                except _Conflict:
                    continue
            return decision
        raise HookError(f"the EndpointSlice changed {CONFLICTS_MAX} times under our hands")

    async def _release(self, request: _Request, term: int, me: Me) -> None:
        log = _log.bind(hook="kubernetes", slice=request.endpoint_slice, term=term)
        with contextlib.suppress(TimeoutError, HookError, _Conflict):
            async with asyncio.timeout(RELEASE_SECONDS):
                decision = decide_release(await self._call("GET", request), term=term, me=me)
                if isinstance(decision, Write):
                    await self._call("PUT", request, decision.slice)
                    log.info("route no longer points here")
                return
        log.info("route not taken back, the next leader takes it")

    async def _call(
        self, method: str, request: _Request, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request to the API server.

        Raises:
            HookError: it could not be made, or was refused.
            _Conflict: the object has changed since it was read.
        """
        path = (
            f"{self._url}/apis/discovery.k8s.io/v1/namespaces/{self._namespace()}"
            f"/endpointslices/{request.endpoint_slice}"
        )
        try:
            async with self._connection().request(
                method,
                path,
                json=body,
                params={"fieldManager": FIELD_MANAGER} if body is not None else None,
                headers={"Authorization": f"Bearer {self._token()}"},
                allow_redirects=False,
            ) as answer:
                content = await answer.content.read(ANSWER_BYTES)
                while chunk := await answer.content.read(ANSWER_BYTES):
                    content += chunk
                    if len(content) > ANSWER_BYTES:
                        raise HookError(f"{method} {path}: answer too long")
        except aiohttp.ClientSSLError as error:
            await self._hang_up()  # the authority may have been renewed: read it again
            raise HookError(f"{method} {path}: {error}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HookError(f"{method} {path}: {str(error) or 'no answer in time'}") from error
        if answer.status == 409:  # noqa: PLR2004
            raise _Conflict
        if answer.status != 200:  # noqa: PLR2004
            raise HookError(f"{method} {path}: {answer.status} {_reason(content)}")
        return _parsed_slice(content, f"{method} {path}")

    def _connection(self) -> aiohttp.ClientSession:
        """The session whose connection stays open between calls and between terms."""
        if self._session is None or self._session.closed:
            tls: ssl.SSLContext | bool = True
            if self._url.startswith("https:"):
                tls = _tls(self._directory / "ca.crt")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=2, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _token(self) -> str:
        # Read each time: Kubernetes replaces it about every hour, and it is in memory anyway.
        path = self._directory / "token"
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise HookError(f"{path} cannot be read: {type(error).__name__}") from error
        if not token or not token.isprintable():
            raise HookError(f"{path} holds no token")
        return token

    def _namespace(self) -> str:
        if self._environment.namespace:
            return self._environment.namespace
        path = self._directory / "namespace"
        try:
            namespace = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise HookError(f"{path} cannot be read, nor is ONED_NAMESPACE set") from error
        if not _NAME.fullmatch(namespace):
            raise HookError(f"{path} holds no namespace")
        return namespace

    def _report(self, trouble: str, log: Any) -> None:
        """Log a trouble once, and again now and then while it lasts."""
        now = asyncio.get_running_loop().time()
        if trouble != self._trouble[0] or now - self._trouble[1] > REPEAT_SECONDS:
            self._trouble = (trouble, now)
            log.warning("route not written, trying again", error=trouble)


def _parse(arguments: Sequence[str]) -> _Request:
    usage = 'ARGUMENTS of the kubernetes hook are "leader|follower <endpointslice> [port]"'
    given = f"not {' '.join(arguments)!r}"
    if not 2 <= len(arguments) <= 3 or arguments[0] not in (Side.LEADER, Side.FOLLOWER):  # noqa: PLR2004
        raise ConfigError(f"{usage}, {given}")
    if not _NAME.fullmatch(arguments[1]):
        raise ConfigError(f"{usage}; {arguments[1]!r} cannot be an EndpointSlice's name")
    port = constants.RPC_PORT
    if len(arguments) > 2:  # noqa: PLR2004
        text = arguments[2]
        port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0  # noqa: PLR2004
        if not 1 <= port <= _PORT_MAX:
            raise ConfigError(f"{usage}; port is 1 to {_PORT_MAX}, not {text!r}")
    return _Request(Side(arguments[0]), arguments[1], port)


def _api_server(environ: Mapping[str, str]) -> str:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return ""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _tls(authority: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(authority))
    except (OSError, ssl.SSLError) as error:
        raise HookError(f"{authority} is no usable authority: {error}") from error
    # Authorities of clusters made by older tools lack extensions that Python 3.13 asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _parsed_slice(content: bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise HookError(f"{what}: the answer is no JSON") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("metadata"), dict):
        raise HookError(f"{what}: the answer is no EndpointSlice")
    return parsed


def _reason(content: bytes) -> str:
    """What the API server says in its Status object, or the beginning of what it sent."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(content).get("message", ""))[:300]
    return content[:100].decode(errors="replace")
