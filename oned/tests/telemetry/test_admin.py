import aiohttp
import pytest

from oned.errors import ConfigError
from oned.telemetry.admin import AdminServer
from oned.telemetry.metrics import Metrics

pytestmark = pytest.mark.integration

STATUS = {
    "version": "0.1.0",
    "server_id": 0,
    "state": "leader",
    "term": 3,
    "leader_id": 0,
    "commit": 10,
    "applied": 10,
    "log_index": 10,
    "log_base": 0,
    "serving": True,
    "database": "ok",
    "staleness_seconds": 0.0,
    "initialised": True,
    "configuration_committed": True,
    "snapshots": {"sending": {}, "receiving": False, "received_bytes": 0},
    "certificates": {},
    "members": [],
}


class Server:
    def __init__(self):
        self.status = dict(STATUS)
        self.healthy = True
        self.admin = AdminServer(
            "127.0.0.1", 0, lambda: self.status, Metrics(process=False), lambda: self.healthy
        )

    async def get(self, path, method="GET"):
        url = f"http://127.0.0.1:{self.admin.port()}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


@pytest.fixture
async def server():
    server = Server()
    await server.admin.start()
    yield server
    await server.admin.stop()


async def test_serving_leader_is_all_green(server):
    assert await server.get("/healthz") == (200, {"healthy": True})
    assert await server.get("/readyz") == (200, {"ready": True})
    assert await server.get("/leader") == (200, {"leader": True, "term": 3, "leader_id": 0})
    assert await server.get("/status") == (200, STATUS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "follower", "leader_id": 1}, None),
        ({"state": "solo", "leader_id": -1}, None),
        ({"state": "follower", "leader_id": -1}, "no leader is known"),
        ({"state": "candidate", "leader_id": -1, "serving": False}, "standing for election"),
        ({"state": "follower", "initialised": False}, "not initialised"),
        ({"database": "stuck"}, "the disk does not answer"),
        ({"database": "full", "initialised": False}, "no space left"),
        ({"serving": False}, "does not serve yet"),
    ],
)
async def test_readiness_says_why_not(server, changes, reason):
    server.status |= changes
    code, body = await server.get("/readyz")
    assert code == (200 if reason is None else 503)
    assert (reason or "") in body.get("reason", "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "follower", "leader_id": 2}, "this server is follower"),
        ({"serving": False}, "does not serve yet"),
    ],
)
async def test_leader_is_503_elsewhere(server, changes, reason):
    server.status |= changes
    code, body = await server.get("/leader")
    assert code == 503
    assert reason in body["reason"]
    assert body["leader_id"] == server.status["leader_id"]


async def test_unhealthy(server):
    server.healthy = False
    code, body = await server.get("/healthz")
    assert code == 503
    assert "database" in body["reason"]
    assert await server.get("/livez") == (200, {"live": True})


async def test_metrics_are_of_the_moment(server):
    code, text = await server.get("/metrics")
    assert code == 200
    assert "oned_term 3.0" in text
    server.status["term"] = 4
    assert "oned_term 4.0" in (await server.get("/metrics"))[1]


async def test_unknown_path_method_and_failure_are_json(server):
    assert (await server.get("/nothing"))[0] == 404
    assert (await server.get("/leader", "POST"))[0] == 405
    assert (await server.get("/leader", "HEAD"))[0] == 200
    server.status = {"password": "x"}
    assert await server.get("/readyz") == (500, {"error": "internal error, see the log"})


async def test_taken_port_is_a_clear_error(server):
    other = AdminServer("127.0.0.1", server.admin.port(), dict, Metrics(), lambda: True)
    with pytest.raises(ConfigError, match="ADMIN: cannot listen"):
        await other.start()
    await other.stop()


async def test_port_is_free_after_a_stop(server):
    port = server.admin.port()
    await server.admin.stop()
    with pytest.raises(RuntimeError):
        server.admin.port()
    again = AdminServer("127.0.0.1", port, lambda: STATUS, Metrics(), lambda: True)
    await again.start()
    await again.stop()
