"""A user's view of the cluster: everything of ``KubeApi``, and what only people ask for.

Lists over namespaces, logs, servers through the API server's pod proxy, and dry runs. Logged in as
the user is, by kubeconfig. What the user may not read is noted and looks absent, but for OneZones
and pods.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from onezone_operator import naming
from onezone_operator.errors import Forbidden, KubeError, NotFound, OperatorError, Unavailable
from onezone_operator.kube.client import KubeClient
from onezone_operator.kube.ports import KINDS
from onezone_operator.models.observed import Manifest

__all__ = ["KubeReader"]

_CHUNK = 64 * 1024
_NEEDED = frozenset({naming.KIND, "Pod"})
_ZONES_MAX = 2000
"""Zones that one list shows."""


class KubeReader(KubeClient):
    """Use as an async context manager.

    Attributes:
        namespace: the one of the kubeconfig's context.
        forbidden: kinds that the user may not read: what is absent of them may be there.
    """

    def __init__(
        self,
        *,
        request_seconds: float,
        kubeconfig: Path | None = None,
        context: str | None = None,
    ) -> None:
        super().__init__(request_seconds=request_seconds)
        self._kubeconfig = str(kubeconfig) if kubeconfig is not None else None
        self._context = context
        self.namespace = "default"
        self.forbidden: set[str] = set()

    async def _log_in(self, configuration: Configuration) -> None:
        try:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=self._kubeconfig,
                context=self._context,
                client_configuration=configuration,
                persist_config=False,
            )
            contexts, current = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
                config_file=self._kubeconfig
            )
        except (OSError, ValueError, TypeError) as error:
            raise OperatorError(f"the kubeconfig is unreadable: {error}") from error
        chosen = next((each for each in contexts if each["name"] == self._context), current)
        self.namespace = (chosen.get("context") or {}).get("namespace") or "default"

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """See ``KubeApi``; what may not be read is ``NotFound``, and its kind ``forbidden``."""
        try:
            return await super().get(kind, namespace, name)
        except Forbidden as error:
            if kind in _NEEDED:
                raise
            self.forbidden.add(kind)
            raise NotFound(str(error)) from error

    async def list_objects(self, kind: str, namespace: str, *, selector: str) -> list[Manifest]:
        """See ``KubeApi``; of what may not be read there is none, and its kind ``forbidden``."""
        try:
            return await super().list_objects(kind, namespace, selector=selector)
        except Forbidden:
            if kind in _NEEDED:
                raise
            self.forbidden.add(kind)
            return []

    async def list_zones(self, namespace: str | None) -> list[Manifest]:
        """The OneZones of a namespace, or of all."""
        if namespace is not None:
            path = KINDS[naming.KIND].path(namespace)
        else:
            path = f"/apis/{naming.API_VERSION}/{naming.PLURAL}"
        answer = await self._call("GET", path, query=[("limit", str(_ZONES_MAX))])
        items: list[Manifest] = answer.get("items") or []
        return items

    async def list_events(self, namespace: str) -> list[Manifest]:
        """The newest events of a namespace, whatever they are about."""
        answer = await self._call("GET", KINDS["Event"].path(namespace), query=[("limit", "2000")])
        items: list[Manifest] = answer.get("items") or []
        return items

    async def dry_run(self, manifest: Manifest, *, exists: bool) -> Manifest:
        """The object as it would be stored: defaults filled in, rules checked, nothing written.

        Raises:
            Invalid: the API server refuses it; its words.
        """
        metadata = manifest["metadata"]
        name = metadata["name"] if exists else None
        return await self._call(
            "PUT" if exists else "POST",
            KINDS[manifest["kind"]].path(metadata["namespace"], name),
            body=manifest,
            query=[("dryRun", "All"), ("fieldManager", "kubectl-onezone")],
        )

    async def read_status(self, namespace: str, pod: str) -> Any:
        """``/status`` of a server, through the API server.

        Raises:
            KubeError: it does not answer, or may not be asked.
        """
        path = KINDS["Pod"].path(namespace, f"{pod}:{naming.ADMIN_PORT}", "proxy/status")
        return await self._call("GET", path)

    async def call_server(
        self, namespace: str, pod: str, body: bytes, *, scheme: str = "http"
    ) -> bytes:
        """An XML-RPC call on a server, through the API server, which looks at no certificate.

        Raises:
            KubeError: it does not answer, or may not be asked. What the call was to change may
                have been changed.
        """
        place = f"https:{pod}" if scheme == "https" else pod
        path = KINDS["Pod"].path(namespace, f"{place}:{naming.API_PORT}", "proxy/RPC2")
        client = self._require()
        request = await client.param_serialize(
            "POST",
            path,
            header_params={"Content-Type": "text/xml"},
            body=body.decode(),
            auth_settings=["BearerToken"],
        )
        try:
            response = await client.call_api(*request, _request_timeout=self._timeout)
            answer = await response.read()  # type: ignore[no-untyped-call]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{path}: {type(error).__name__} {error}".rstrip()) from error
        if response.status in {401, 403}:
            raise Forbidden(f"POST {path}: you may not create pods/proxy")
        if response.status != 200 or answer is None:  # noqa: PLR2004 - OK
            raise Unavailable(f"POST {path}: HTTP {response.status}")
        return bytes(answer)

    async def stream_log(
        self,
        namespace: str,
        pod: str,
        *,
        follow: bool,
        tail: int | None = None,
        limit_bytes: int | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """A server's log, in pieces of whole bytes, not of whole lines."""
        query = [("container", naming.CONTAINER), ("follow", str(follow).lower())]
        query += [("previous", "true")] if previous else []
        query += [("tailLines", str(tail))] if tail is not None else []
        query += [("limitBytes", str(limit_bytes))] if limit_bytes is not None else []
        path = KINDS["Pod"].path(namespace, pod, "log")
        client = self._require()
        request = await client.param_serialize(
            "GET", path, query_params=query, auth_settings=["BearerToken"]
        )
        total = None if follow else self._timeout.total
        timeout = aiohttp.ClientTimeout(total=total, connect=self._timeout.connect)
        try:
            response = await client.call_api(*request, _request_timeout=timeout)
            if response.status != 200:  # noqa: PLR2004 - OK
                text = (await response.read())[:300].decode(errors="replace")  # type: ignore[no-untyped-call]
                raise KubeError(f"the log of {pod}: {response.status} {text}")
            async for chunk in response.response.content.iter_chunked(_CHUNK):
                yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the log of {pod}: {type(error).__name__} {error}") from error
