"""The resident hook of Kubernetes: while this server leads, the zone's EndpointSlice names it.

A handful of REST calls with the pod's own token, over a connection that stays warm. What to
write is decided in ``route``; this module reads, writes with compare-and-swap, and does not
stop asserting the route until the role is over.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from oned.config import Environment
from oned.constants import RPC_PORT
from oned.errors import ConfigError, HookError
from oned.hooks.resident import Backoff, Occasion, Side
from oned.hooks.route import Keep, Me, Write, Yield, decide

__all__ = ["KubernetesHook"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts ``token``, ``ca.crt`` and ``namespace``."""

REQUEST_SECONDS = 1.0
ASSERT_SECONDS = 2.0
"""How often a leader looks whether the slice still names it."""

RETRY = Backoff(0.05, 2.0)
CONFLICTS = 5
"""Writes that may lose against another writer before the pause of a failure."""

_CONFLICT = 409
_PORTS = range(1, 1 << 16)

_log = structlog.get_logger()


class KubernetesHook:
    """Keeps the route of a zone.

    Args:
        environment: name, pod, address and node of this server.
        service_account: directory of token, authority and namespace.
        api: URL of the API server; from the pod's environment when None.
    """

    def __init__(
        self,
        environment: Environment,
        *,
        service_account: Path = SERVICE_ACCOUNT,
        api: str | None = None,
    ) -> None:
        self._environment = environment
        self._account = service_account
        self._api = api
        self._session: aiohttp.ClientSession | None = None

    def check(self, arguments: Sequence[str]) -> None:
        """Refuse arguments or an environment that can never work.

        Raises:
            ConfigError: with what is allowed.
        """
        usage = "the kubernetes hook takes: leader|follower ENDPOINTSLICE [PORT]"
        if not 2 <= len(arguments) <= 3 or arguments[0] not in tuple(Side):  # noqa: PLR2004
            raise ConfigError(usage)
        if len(arguments) == 3 and not (  # noqa: PLR2004
            arguments[2].isdecimal() and int(arguments[2]) in _PORTS
        ):
            raise ConfigError(f"{usage}; PORT is a number from 1 to 65535, not {arguments[2]}")
        if not self._environment.pod_ip:
            raise ConfigError("the kubernetes hook needs ONED_POD_IP, the address of the pod")

    async def run(self, arguments: Sequence[str], occasion: Occasion) -> None:
        """Hold the route while this server leads; on losing the role there is nothing to undo.

        Raises:
            HookError: a later leader has the route.
        """
        if occasion.side is not Side.LEADER:
            return
        port = int(arguments[2]) if len(arguments) > 2 else RPC_PORT  # noqa: PLR2004
        pauses = iter(RETRY)
        while True:
            try:
                await self._assert(arguments[1], occasion.term, self._me(port))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                _log.warning("route not written yet", slice=arguments[1], error=repr(error))
                await asyncio.sleep(next(pauses))
            else:
                pauses = iter(RETRY)
                await asyncio.sleep(ASSERT_SECONDS)

    async def close(self) -> None:
        """Let go of the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _me(self, port: int) -> Me:
        environment = self._environment
        return Me(
            name=environment.server_name,
            address=environment.pod_ip,
            pod=environment.pod_name or environment.server_name,
            namespace=self._namespace(),
            node=environment.node_name,
            port=port,
        )

    async def _assert(self, name: str, term: int, me: Me) -> None:
        """Make the slice name this server, unless a later leader has it."""
        for _ in range(CONFLICTS):
            observed = await self._request("GET", name)
            match decide(observed, term=term, me=me):
                case Keep():
                    return
                case Yield(later, leader):
                    raise HookError(f"the route is {leader}'s, of term {later}; ours is {term}")
                case Write(slice_):
                    if await self._write(name, slice_):
                        _log.info("route written", slice=name, term=term, address=me.address)
                        return
        raise TimeoutError(f"{CONFLICTS} writes lost against others")

    async def _write(self, name: str, slice_: dict[str, Any]) -> bool:
        """Write what was decided; False when somebody wrote since it was read."""
        try:
            await self._request("PUT", name, slice_)
        except aiohttp.ClientResponseError as error:
            if error.status == _CONFLICT:
                return False
            raise
        return True

    # --- the API server ----------------------------------------------------------------

    async def _request(
        self, method: str, name: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        namespace = self._namespace()
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"
        # The kubelet renews the token in place, so it is read each time.
        token = (self._account / "token").read_text().strip()
        async with self._connected().request(
            method, self._url() + path, json=body, headers={"Authorization": f"Bearer {token}"}
        ) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer

    def _namespace(self) -> str:
        return self._environment.namespace or (self._account / "namespace").read_text().strip()

    def _url(self) -> str:
        if self._api is not None:
            return self._api
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            authority = self._account / "ca.crt"
            trust = ssl.create_default_context(cafile=authority) if authority.exists() else None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust if trust is not None else True),
                timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
            )
        return self._session
