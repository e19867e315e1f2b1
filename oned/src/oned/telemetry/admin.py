"""The admin port: health, readiness, leadership, status and metrics over plain HTTP.

Probes of Kubernetes, external load balancers and Prometheus ask here. It reads, it never changes
anything, and shows no secrets. Each refusal says why, since a probe's log is often all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from oned.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oned.telemetry.metrics import Metrics

__all__ = ["AdminServer", "readiness"]

SHUTDOWN_SECONDS = 1.0
"""How long open scrapes may hold up a stop."""

DATABASE = {
    "stuck": "the disk does not answer",
    "full": "there is no space left on its disk",
    "failed": "the disk fails, or somebody else holds the file",
    "damaged": "it is damaged, and replaced by a copy from the leader",
}
"""What a probe is told of each trouble that ``/status`` has a word for."""

_log = structlog.get_logger()


def readiness(status: Mapping[str, Any]) -> str | None:
    """Why a server is not ready, or None when it answers calls usefully."""
    state = status["state"]
    if state == "fenced":
        return "the server is fenced: it takes no part in its zone"
    if status["database"] != "ok":
        return f"the database cannot be written: {DATABASE[status['database']]}"
    if not status["initialised"]:
        return "the database is not initialised: waiting for a snapshot from the leader"
    if state == "candidate":
        return "standing for election: no leader is known"
    if state == "follower" and status["leader_id"] < 0:
        return "no leader is known"
    if not status["serving"]:
        return f"the {state} does not serve yet: its log is not applied"
    return None


class AdminServer:
    """Serves the admin port until stopped.

    Args:
        host: address to listen on.
        port: 0 for any; ``port()`` tells which.
        status: what ``/status`` shows; must be quick and not block.
        metrics: brought up to date from ``status`` at each scrape.
        healthy: whether the process and its database are well; False makes ``/healthz`` fail.
    """

    def __init__(
        self,
        host: str,
        port: int,
        status: Callable[[], Mapping[str, Any]],
        metrics: Metrics,
        healthy: Callable[[], bool],
    ) -> None:
        self._host = host
        self._port = port
        self._status = status
        self._metrics = metrics
        self._healthy = healthy
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        app = web.Application(middlewares=[_explain])
        app.add_routes(
            [
                web.get("/livez", self._get_livez),
                web.get("/healthz", self._get_healthz),
                web.get("/readyz", self._get_readyz),
                web.get("/leader", self._get_leader),
                web.get("/status", self._get_status),
                web.get("/metrics", self._get_metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"ADMIN: cannot listen on {self._host}:{self._port}: {error.strerror}"
            ) from error
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; harmless when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def port(self) -> int:
        """The port listened on."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the admin port is not open")
        return int(self._runner.addresses[0][1])

    async def _get_livez(self, _request: web.Request) -> web.Response:
        """That it answers is all that counts: a restart mends no disk."""
        return web.json_response({"live": True})

    async def _get_healthz(self, _request: web.Request) -> web.Response:
        if self._healthy():
            return web.json_response({"healthy": True})
        return _refusal("healthy", "the database cannot be written, or the server stopped working")

    async def _get_readyz(self, _request: web.Request) -> web.Response:
        reason = readiness(self._status())
        if reason is None:
            return web.json_response({"ready": True})
        return _refusal("ready", reason)

    async def _get_leader(self, _request: web.Request) -> web.Response:
        status = self._status()
        facts = {"term": status["term"], "leader_id": status["leader_id"]}
        if status["state"] in ("leader", "solo") and status["serving"]:
            return web.json_response({"leader": True, **facts})
        reason = (
            "this server leads but does not serve yet"
            if status["state"] == "leader"
            else f"this server is {status['state']}"
        )
        return _refusal("leader", reason, **facts)

    async def _get_status(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self._status()))

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        self._metrics.observe_status(self._status())
        body, content_type = self._metrics.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})


def _refusal(what: str, reason: str, **facts: object) -> web.Response:
    return web.json_response({what: False, "reason": reason, **facts}, status=503)


@web.middleware
async def _explain(
    request: web.Request, handler: Callable[[web.Request], Any]
) -> web.StreamResponse:
    """Turn every failure into a JSON body; what it was goes to the log, not to the caller."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return web.json_response(
            {"error": error.reason}, status=error.status, headers=_allowed(error)
        )
    except Exception:  # noqa: BLE001 - the root of a request
        _log.exception("admin request failed", path=request.path)
        return web.json_response({"error": "internal error, see the log"}, status=500)
    return response


def _allowed(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
