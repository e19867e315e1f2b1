"""A small HTTP server that answers like the Kubernetes API, from the world of ``operator_world``.

It refuses every write that is no dry run and that a test does not allow, so that a test of the
plugin sees any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import xmlrpc.client
from pathlib import Path
from typing import Any

from aiohttp import web
from operator_cluster import merge_patch
from operator_world import NAMESPACE, World

from onezone_operator.errors import ZoneError
from onezone_operator.kube.ports import KINDS
from onezone_operator.zone.ports import ApiAddress

_KIND_OF = {resource.plural: kind for kind, resource in KINDS.items()}


class KubeServer:
    """Serve with ``start``; ``kubeconfig`` is what a client logs in with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.logs: dict[str, bytes] = {}
        self.forbidden: set[str] = set()
        """Kinds that the user may not read."""
        self.written: list[str] = []
        """Dry runs; anything else that would write is answered with 405."""
        self.writable: set[str] = set()
        """Kinds that a test allows to be written."""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, directory: Path) -> Path:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        kubeconfig = directory / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t0ken"}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
            ],
        }
        await asyncio.to_thread(kubeconfig.write_text, json.dumps(content))
        return kubeconfig

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer t0ken":
            return _failure(401, "Unauthorized")
        parts = request.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = None
        if parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        kind, *rest = _KIND_OF[parts[0]], *parts[1:]
        if kind in self.forbidden:
            return _failure(403, f"{parts[0]} is forbidden")
        if rest[1:] == ["proxy", "RPC2"]:
            return await self._call_server(rest[0], await request.read())
        if kind in self.writable and "dryRun" not in request.query and request.method != "GET":
            return await self._write(request, kind, rest)
        if request.method in {"PUT", "POST"}:
            return await self._dry_run(request, kind, rest)
        if request.method != "GET":
            self.written.append(f"{request.method} {request.path}")
            return _failure(405, "this test allows no writes")
        if not rest:
            return self._list(kind, namespace, request.query.get("labelSelector", ""))
        return self._get(kind, namespace, rest, request)

    async def _write(self, request: web.Request, kind: str, rest: list[str]) -> web.Response:
        self.written.append(f"{request.method} {request.path}")
        body: dict[str, Any] = await request.json()
        if request.method == "POST":
            name = body["metadata"]["name"]
            if (kind, name) in self.world.objects:
                return _failure(409, f"{name} exists")
            self.world.put(kind, name, body)
        else:
            name = rest[0]
            live = self.world.objects.get((kind, name))
            if live is None:
                return _failure(404, f'{kind} "{name}" not found')
            version = body.get("metadata", {}).pop("resourceVersion", None)
            if version not in {None, live["metadata"]["resourceVersion"]}:
                return _failure(409, "the object has been modified")
            merge_patch(live, body)
            self.world.touch(live)
        return web.json_response(self.world.objects[(kind, name)])

    async def _call_server(self, place: str, body: bytes) -> web.Response:
        """An XML-RPC call through the pod proxy, answered by the model of the zone."""
        *scheme, name, port = place.split(":")
        assert port == "2633"
        assert scheme == (["https"] if self.world.zone().spec.tls.enabled else [])
        (session, zone, server), method = xmlrpc.client.loads(body)
        assert (method, zone) == ("one.zone.transferleader", 0)
        address = self.world.objects[("Pod", name)]["status"]["podIP"]
        try:
            leader = await self.world.transfer_leadership(
                ApiAddress(address, name), session, server_id=server
            )
            answer = [True, leader, 0]
        except ZoneError as error:
            answer = [False, str(error), 0x800]
        text = xmlrpc.client.dumps((answer,), methodresponse=True)
        return web.Response(text=text, content_type="text/xml")

    def _list(self, kind: str, namespace: str | None, selector: str) -> web.Response:
        items = []
        key, _, value = selector.partition("=")
        for (each, _), live in self.world.objects.items():
            labels = live["metadata"].get("labels") or {}
            is_wanted = not key or labels.get(key, "") == value
            if each == kind and namespace in {None, NAMESPACE} and is_wanted:
                items.append(live)
        return web.json_response({"kind": f"{kind}List", "metadata": {}, "items": items})

    def _get(
        self, kind: str, namespace: str | None, rest: list[str], request: web.Request
    ) -> web.Response:
        name, *subresource = rest
        name, _, port = name.partition(":")
        live = self.world.objects.get((kind, name))
        if live is None or namespace != NAMESPACE:
            return _failure(404, f'{kind} "{name}" not found')
        if subresource == ["proxy", "status"]:
            assert port == "2636"
            if name not in self.world.running():
                return _failure(503, "error trying to reach service: connection refused")
            report = dataclasses.asdict(self.world._report(name))
            certificates = {
                which: {
                    "fingerprint": each["fingerprint"],
                    "authorities": sorted(each["authorities"]),
                    "refused": each["is_refused"],
                }
                for which, each in report["certificates"].items()
            }
            return web.json_response({**report, "database": "ok", "certificates": certificates})
        if subresource == ["log"]:
            text = self.logs.get(name, b"")
            tail = int(request.query.get("tailLines", 1000))
            return web.Response(body=b"".join(text.splitlines(keepends=True)[-tail:]))
        return web.json_response(live)

    async def _dry_run(self, request: web.Request, kind: str, rest: list[str]) -> web.Response:
        self.written.append(f"{request.method} {request.path}?{request.query_string}")
        if request.query.get("dryRun") != "All":
            return _failure(405, "this test allows no writes")
        body: dict[str, Any] = await request.json()
        if body["spec"].get("replicas", 3) % 2 == 0:
            return _failure(422, "OneZone is invalid: spec: replicas must be odd")
        live = self.world.objects.get((kind, body["metadata"]["name"]), {"metadata": {}})
        if (live["metadata"] == {}) == (request.method == "PUT"):
            return _failure(404, "not found")
        uid = live["metadata"].get("uid", "dry")
        generation = live["metadata"].get("generation", 0) + 1
        body["metadata"] |= {"uid": uid, "generation": generation}
        return web.json_response(body)


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message}, status=status)
