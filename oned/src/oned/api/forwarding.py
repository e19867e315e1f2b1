"""Calls that the leader must answer, sent on with the caller's own session.

A call is sent on once. When its answer is lost it may have been carried out, so that it is
never sent again from here: the caller is told, and decides.
"""

from __future__ import annotations

import ssl

import aiohttp

from oned.api.responses import internal, lost

HOPS_HEADER = "X-One-Hops"
"""How often a call was sent on; a call that goes round in circles ends with an error."""

CONSISTENCY_HEADER = "X-One-Consistency"
LINEARIZABLE = "linearizable"
"""What a caller wants of a read; a server that a call is sent on to must know it too."""

NOT_RUN_HEADER = "X-One-Not-Run"
"""On an HTTP error of ours: the call was not run. An error of a proxy proves nothing."""

HOPS_MAX = 2
"""Follower to leader, and to the successor of a leader that hands over meanwhile."""

TIMEOUT_SECONDS = 10.0
"""For the whole exchange, as in OpenNebula."""

CONNECT_TIMEOUT_SECONDS = 3.0
CONNECTIONS_MAX = 256
IDLE_SECONDS = 5.0
"""Shorter than what the other side allows, so that a reused connection is an open one."""

_OK = 200


class Forwarder:
    """An HTTP client to the other servers' endpoints.

    Args:
        timeout_seconds: for the whole exchange.
        context: what certificates of https endpoints are held against; the system's authorities
            when None.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._context = context
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds)
        )
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX,
                    keepalive_timeout=IDLE_SECONDS,
                    ssl=True if self._context is None else self._context,
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def forward(
        self, endpoint: str, body: bytes, *, hops: int, writes: bool, linearizable: bool = False
    ) -> bytes:
        """The answer of the server at ``endpoint``, byte by byte.

        Args:
            endpoint: its XML-RPC URL.
            body: the call as it came in.
            hops: how often it was sent on before.
            writes: whether it can change anything.
            linearizable: whether the caller wants to read what is true now.

        Raises:
            Failure: there is no answer. For a write that may have been carried out it says so.
        """
        headers = {"Content-Type": "text/xml", HOPS_HEADER: str(hops + 1)}
        if linearizable:
            headers[CONSISTENCY_HEADER] = LINEARIZABLE
        try:
            # aiohttp repeats a request by itself only for methods that HTTP calls idempotent,
            # of which POST is none.
            async with self._client().post(
                endpoint, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status == _OK:
                    return await response.read()
                if NOT_RUN_HEADER in response.headers:
                    raise internal(
                        f"Cannot process request, the leader answered HTTP {response.status}"
                    )
                raise lost(f"the leader answered HTTP {response.status}", writes=writes)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            # No connection: the call cannot have reached the leader.
            raise internal("Cannot process request, the leader cannot be reached") from None
        except TimeoutError:
            raise lost("the leader did not answer in time", writes=writes) from None
        except aiohttp.ClientError:
            raise lost("the connection to the leader was lost", writes=writes) from None
