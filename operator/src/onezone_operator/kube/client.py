"""``KubeApi`` over ``kubernetes.aio``: raw JSON in and out, typed errors, one deadline a call.

The generated models are not used: the operator's manifests are plain data, and an object must
come back exactly as the server sent it for drift to be seen.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from onezone_operator.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KindUnknown,
    KubeError,
    NotFound,
    OperatorError,
    Unavailable,
)
from onezone_operator.kube.ports import KINDS
from onezone_operator.models.observed import Manifest

__all__ = ["KubeClient"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_ERRORS: dict[int, type[KubeError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    400: Invalid,
    422: Invalid,
}
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_LIST_LIMIT = 500
"""Objects of one zone never come near this; a larger answer is a wrong selector."""
_OK, _GONE = 200, 410
_WATCH_GRACE_SECONDS = 10.0
"""A watch that stays silent so long after its end has lost its connection."""
_BOOKMARK_SECONDS = 90.0
"""…and so has one that heard nothing for longer: a bookmark comes every minute."""
_KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Half a minute after a peer that went without a word the kernel ends the connection."""
_EVENT_MAX = 4 * 1024 * 1024
"""Bytes: etcd keeps no larger object than 1.5 MiB."""


class KubeClient:
    """A connection to the API server. Use as an async context manager.

    Args:
        request_seconds: deadline of a call.
        note_call: told of every call: HTTP verb, resource, the answer's status (or
            ``unavailable``), seconds.
    """

    def __init__(
        self,
        *,
        request_seconds: float,
        note_call: Callable[[str, str, str, float], None] = lambda *_: None,
    ) -> None:
        self._note_call = note_call
        self._timeout = aiohttp.ClientTimeout(total=request_seconds, connect=3.0)
        self._client: ApiClient | None = None

    async def __aenter__(self) -> Self:
        """Log in: by service account in a pod, else by kubeconfig.

        Raises:
            OperatorError: neither is there, or it is unusable.
        """
        configuration = Configuration()
        try:
            await self._log_in(configuration)
        except config.ConfigException as error:
            raise OperatorError(f"no way to log in to Kubernetes: {error}") from error
        self._client = ApiClient(configuration=configuration)
        return self

    async def _log_in(self, configuration: Configuration) -> None:
        if _SERVICE_ACCOUNT.exists():  # noqa: ASYNC240 - once, at start
            config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration, persist_config=False
            )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """See ``KubeApi``."""
        return await self._call("GET", KINDS[kind].path(namespace, name))

    async def list_objects(self, kind: str, namespace: str, *, selector: str) -> list[Manifest]:
        """See ``KubeApi``."""
        answer = await self._call(
            "GET",
            KINDS[kind].path(namespace),
            query=[("labelSelector", selector), ("limit", str(_LIST_LIMIT))],
        )
        if answer.get("metadata", {}).get("continue"):
            raise Unavailable(f"more than {_LIST_LIMIT} {kind} objects match {selector}")
        items: list[Manifest] = answer.get("items") or []
        return items

    async def list_all(
        self, kind: str, namespace: str | None, query: list[tuple[str, str]]
    ) -> tuple[list[Manifest], str]:
        """All objects that the query selects, as they are now, and the version of that list.

        Not of a cache of the API server's: its answer is as new as anything written before.
        """
        items: list[Manifest] = []
        page = [*query, ("limit", str(_LIST_LIMIT))]
        while True:
            answer = await self._call("GET", KINDS[kind].path(namespace), query=page)
            items += answer.get("items") or []
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", "0"))
            page = [*query, ("limit", str(_LIST_LIMIT)), ("continue", metadata["continue"])]

    async def watch(
        self,
        kind: str,
        namespace: str | None,
        query: list[tuple[str, str]],
        *,
        version: str,
        seconds: float,
    ) -> AsyncIterator[Manifest]:
        """Events after a version, with bookmarks; ends after about so many seconds.

        Raises:
            Gone: the version is too old: list again.
            KubeError: it could not begin, or broke off.
        """
        path = KINDS[kind].path(namespace)
        client = self._require()
        request = await client.param_serialize(
            "GET",
            path,
            query_params=[
                *query,
                ("watch", "true"),
                ("allowWatchBookmarks", "true"),
                ("resourceVersion", version),
                ("timeoutSeconds", str(max(1, int(seconds)))),
            ],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        silence = min(seconds, _BOOKMARK_SECONDS) + _WATCH_GRACE_SECONDS
        timeout = aiohttp.ClientTimeout(connect=3.0, sock_read=silence)
        started, status = time.monotonic(), "unavailable"
        try:
            # It answers at once, unless it is asked over a connection that is dead.
            async with asyncio.timeout(self._timeout.total):
                response = await client.call_api(*request, _request_timeout=timeout)
            status = str(response.status)
            self._note_call("WATCH", _resource(path), status, time.monotonic() - started)
            if response.status != _OK:
                text = (await response.read())[:300].decode(errors="replace")  # type: ignore[no-untyped-call]
                raise _ERRORS.get(response.status, Unavailable)(f"watch {path}: {text}")
            _keep_alive(response.response)
            async for line in _lines(response.response.content):
                yield _event(line, path)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if status == "unavailable":
                self._note_call("WATCH", _resource(path), status, time.monotonic() - started)
            raise Unavailable(f"watch {path}: {type(error).__name__} {error}".rstrip()) from error

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """See ``KubeApi``."""
        metadata = manifest["metadata"]
        return await self._call(
            "PATCH",
            KINDS[manifest["kind"]].path(metadata["namespace"], metadata["name"]),
            body=manifest,
            query=[("fieldManager", manager), ("force", "true")],
            content_type=_APPLY_PATCH,
        )

    async def create(self, manifest: Manifest, *, manager: str) -> Manifest:
        """See ``KubeApi``."""
        return await self._call(
            "POST",
            KINDS[manifest["kind"]].path(manifest["metadata"]["namespace"]),
            body=manifest,
            query=[("fieldManager", manager)],
        )

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: dict[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
    ) -> Manifest:
        """See ``KubeApi``."""
        return await self._call(
            "PATCH",
            KINDS[kind].path(namespace, name, subresource),
            body=change,
            query=[("fieldManager", manager)],
            content_type=_MERGE_PATCH,
        )

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        version: str | None = None,
        orphans: bool = False,
    ) -> None:
        """See ``KubeApi``."""
        conditions = {"uid": uid} | ({} if version is None else {"resourceVersion": version})
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        if orphans:
            options["propagationPolicy"] = "Orphan"
        await self._call("DELETE", KINDS[kind].path(namespace, name), body=options)

    def _require(self) -> ApiClient:
        if self._client is None:
            raise RuntimeError("KubeClient is used outside of its context")
        return self._client

    async def _call(
        self,
        verb: str,
        path: str,
        *,
        body: Manifest | None = None,
        query: list[tuple[str, str]] | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        client = self._require()
        request = await client.param_serialize(
            verb,
            path,
            query_params=query or [],
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        started, status = time.monotonic(), "unavailable"
        try:
            response = await client.call_api(*request, _request_timeout=self._timeout)
            data = await response.read()  # type: ignore[no-untyped-call]
            status = str(response.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{verb} {path}: {type(error).__name__} {error}".rstrip()) from error
        finally:
            self._note_call(verb, _resource(path), status, time.monotonic() - started)
        answer = _decode(data)
        if not 200 <= response.status <= 299:  # noqa: PLR2004 - HTTP's own classes
            text = answer.get("message") or response.reason
            kind = _ERRORS.get(response.status, Unavailable)
            if kind is NotFound and answer.get("kind") != "Status":
                # Nobody serves the path: an object that is missing is told of by a Status.
                kind = KindUnknown
            raise kind(f"{verb} {path}: {text}", str(text))
        return answer


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel ask now and then whether the other end is there."""
    transport = response.connection.transport if response.connection is not None else None
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE.items():
        if hasattr(socket, option):  # not every system lets one say how often
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: a Secret's or a ConfigMap's is longer than aiohttp allows by itself."""
    pending = bytearray()
    async for chunk in content.iter_any():
        pending += chunk
        if b"\n" not in chunk:
            if len(pending) > _EVENT_MAX:
                raise Unavailable(f"an event of more than {_EVENT_MAX} bytes")
            continue
        *whole, rest = bytes(pending).split(b"\n")
        pending = bytearray(rest)
        for line in whole:
            if line:
                yield line


def _event(line: bytes, path: str) -> Manifest:
    event = _decode(line)
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        kind = Gone if status.get("code") == _GONE else Unavailable
        raise kind(f"watch {path}: {status.get('message', '')}")
    return event


def _resource(path: str) -> str:
    """The plural in ``/api/v1/…`` or ``/apis/<group>/<version>/…``, with a namespace or without."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:  # noqa: PLR2004 - and a name
        parts = parts[2:]
    return parts[0] if parts else "unknown"


def _decode(data: bytes | None) -> Manifest:
    try:
        answer = json.loads(data or b"{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
