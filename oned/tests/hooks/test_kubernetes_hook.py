"""The kubernetes hook over real TLS, against a server that keeps a slice as the API server does."""

import asyncio
import contextlib
import copy
import ssl
from collections import deque
from dataclasses import replace

import pytest
import structlog
from aiohttp import web

from oned import pki
from oned.config import Environment
from oned.errors import ConfigError
from oned.hooks import kubernetes
from oned.hooks.kubernetes import KubernetesHook
from oned.hooks.resident import Backoff, Occasion, Side
from oned.hooks.route import LEADER_ANNOTATION, TERM_ANNOTATION

pytestmark = pytest.mark.integration

PATH = "/apis/discovery.k8s.io/v1/namespaces/one/endpointslices/zone-leader"
TOKEN = "token-of-the-pod"


class ApiServer:
    """GET and PUT of one EndpointSlice, with optimistic locking and faults on demand."""

    def __init__(self, tls):
        self.tls = tls
        self.tokens = {TOKEN}
        self.faults = deque()  # one for each request to come: a status, "hang" or "drop"
        self.before_put = None
        self.requests = []
        self.connections = set()
        self.changed = asyncio.Condition()
        self.object = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "zone-leader", "namespace": "one", "resourceVersion": "1"},
            "addressType": "IPv4",
            "endpoints": None,
            "ports": None,
        }

    async def start(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.url = f"https://127.0.0.1:{self.runner.addresses[0][1]}"

    async def handle(self, request):
        async with self.changed:
            self.requests.append(request.method)
            self.connections.add(request.transport.get_extra_info("peername"))
            self.changed.notify_all()
        fault = self.faults.popleft() if self.faults else None
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "drop":
            request.transport.abort()
            return web.Response()
        if fault:
            return self.status(fault, "out of order")
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self.status(401, "Unauthorized")
        if request.path != PATH:
            return self.status(404, "not found")
        if request.method == "GET":
            return web.json_response(self.object)
        assert request.method == "PUT"
        assert request.query["fieldManager"] == "oned"
        body = await request.json()
        if self.before_put is not None:
            self.before_put()
        if body["metadata"]["resourceVersion"] != self.object["metadata"]["resourceVersion"]:
            return self.status(409, "the object has been modified")
        await self.put(body)
        return web.json_response(self.object)

    @staticmethod
    def status(code, message):
        return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)

    async def put(self, body):
        version = int(self.object["metadata"]["resourceVersion"])
        async with self.changed:
            self.object = copy.deepcopy(body)
            self.object["metadata"]["resourceVersion"] = str(version + 1)
            self.changed.notify_all()

    def touch(self):
        """Another writer changes something of no importance."""
        version = int(self.object["metadata"]["resourceVersion"])
        self.object["metadata"]["resourceVersion"] = str(version + 1)

    async def until(self, condition):
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    def addresses(self):
        return [a for each in self.object["endpoints"] or [] for a in each["addresses"]]

    def fence(self):
        annotations = self.object["metadata"].get("annotations", {})
        return annotations.get(TERM_ANNOTATION), annotations.get(LEADER_ANNOTATION)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(kubernetes, "ASSERT_SECONDS", 0.02)
    monkeypatch.setattr(kubernetes, "RETRY", Backoff(0.01, 0.05))
    # Not quick: an answer that is late on a busy machine must not count as none.
    monkeypatch.setattr(kubernetes, "REQUEST_SECONDS", 5.0)
    monkeypatch.setattr(kubernetes, "RELEASE_SECONDS", 5.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("api")
    authority = pki.create_authority(directory / "ca")
    pki.issue_server(authority, "api", hosts=["127.0.0.1"], directory=directory)
    return directory


@pytest.fixture
async def api(certificates):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "api.crt", certificates / "api.key")
    server = ApiServer(tls)
    await server.start()
    yield server
    await server.runner.cleanup()


@pytest.fixture
def account(tmp_path, certificates):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "namespace").write_text("one")
    (tmp_path / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    return tmp_path


def environment(number=0, **changes):
    name = f"zone-{number}"
    facts = Environment(
        server_name=name,
        server_endpoint=f"http://{name}:2633/RPC2",
        server_peer=f"{name}:2635",
        zone_endpoint="http://zone:2633/RPC2",
        node_name=f"worker-{number}",
        pod_name=name,
        pod_ip=f"10.0.0.{number + 1}",
        namespace="one",
    )
    return replace(facts, **changes)


async def until(condition):
    """For what is not heard of at the API server."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def leading(api, account, number=0, term=3, hook=None, **changes):
    hook = hook or KubernetesHook(environment(number, **changes), account, api.url)
    hook.check(["leader", "zone-leader"])
    occasion = Occasion(Side.LEADER, term, number, f"zone-{number}")
    task = asyncio.create_task(hook.run(["leader", "zone-leader"], occasion))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await hook.close()


async def test_leader_points_the_slice_at_its_pod(api, account):
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        assert api.fence() == ("3", "zone-0")
        assert api.object["endpoints"][0]["nodeName"] == "worker-0"
        assert api.object["ports"] == [{"name": "api", "port": 2633, "protocol": "TCP"}]


async def test_asserting_is_quiet_and_over_one_connection(api, account):
    async with leading(api, account):
        await api.until(lambda: len(api.requests) >= 8)
        assert len(api.connections) == 1
    assert api.requests[:2] == ["GET", "PUT"]
    assert set(api.requests[2:8]) == {"GET"}


async def test_route_that_nobody_confirms_is_measured(api, account):
    """Longer and longer while the API server fails, not at all where another server leads."""
    hook = KubernetesHook(environment(), account, api.url)
    assert hook.unconfirmed_seconds() is None
    async with leading(api, account, hook=hook):
        await api.until(lambda: api.requests.count("GET") > 2)
        await until(lambda: hook.unconfirmed_seconds() < 0.1)
        api.faults.extend([500] * 1000)
        failing = len(api.requests)
        await api.until(lambda: len(api.requests) > failing + 8)
        late = hook.unconfirmed_seconds()
        assert late > 0.1
        api.faults.clear()
        await until(lambda: hook.unconfirmed_seconds() < late)
        await api.put(
            {
                **api.object,
                "metadata": api.object["metadata"]
                | {"annotations": {TERM_ANNOTATION: "9", LEADER_ANNOTATION: "zone-2"}},
            }
        )
        await until(lambda: hook.unconfirmed_seconds() is None)


async def test_a_foreign_hand_is_repaired(api, account):
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        await api.put({**api.object, "endpoints": []})
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_stepping_down_takes_the_server_out_and_leaves_the_fence(api, account):
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
    assert api.addresses() == []
    assert api.fence() == ("3", "zone-0")


async def test_stepping_down_leaves_the_next_leader_alone(api, account):
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        async with leading(api, account, number=1, term=4) as newer:
            await api.until(lambda: api.addresses() == ["10.0.0.2"])
            first = api.object
            assert not newer.done()
            await api.until(lambda: len(api.requests) > 12)
            assert api.object is first


async def test_leader_of_an_earlier_term_stops_asserting(api, account):
    async with leading(api, account, number=1, term=4):
        await api.until(lambda: api.addresses() == ["10.0.0.2"])
        with structlog.testing.capture_logs() as logs:
            async with leading(api, account, term=3) as older:
                await asyncio.wait_for(older, 10)
        assert api.addresses() == ["10.0.0.2"]
        assert [line["seen_term"] for line in logs if "another leader" in line["event"]] == [4]


async def test_lost_races_are_decided_again(api, account):
    races = 2

    def race():
        nonlocal races
        if races:
            races -= 1
            api.touch()

    api.before_put = race
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
    assert api.requests[:6] == ["GET", "PUT"] * 3


async def test_race_lost_against_a_later_leader_is_lost_for_good(api, account):
    def race():
        api.touch()
        api.object["metadata"]["annotations"] = {TERM_ANNOTATION: "9", LEADER_ANNOTATION: "zone-2"}

    api.before_put = race
    async with leading(api, account) as task:
        await asyncio.wait_for(task, 10)
    assert api.fence() == ("9", "zone-2")
    assert api.addresses() == []


async def test_endless_races_pause_and_go_on(api, account):
    api.before_put = api.touch
    async with leading(api, account):
        await api.until(lambda: api.requests.count("PUT") > kubernetes.CONFLICTS_MAX + 1)
        api.before_put = None
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


@pytest.mark.parametrize("fault", [500, 429, 403, 404, 302, "drop", "hang"])
async def test_failures_are_tried_again(api, account, fault, monkeypatch):
    if fault == "hang":
        monkeypatch.setattr(kubernetes, "REQUEST_SECONDS", 0.3)
    api.faults.extend([fault, fault, fault])
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_failed_write_is_tried_again(api, account):
    api.faults.extend([None, 500, None, "drop"])
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_trouble_is_logged_once_and_without_the_token(api, account):
    api.faults.extend([403] * 5)
    with structlog.testing.capture_logs() as logs:
        async with leading(api, account):
            await api.until(lambda: api.addresses() == ["10.0.0.1"])
    (line,) = [line for line in logs if "not written" in line["event"]]
    assert "403 out of order" in line["error"]
    assert TOKEN not in str(logs)


async def test_renewed_token_is_used(api, account):
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        api.tokens = {"renewed"}
        await api.put({**api.object, "endpoints": []})
        (account / "token").write_text("renewed")
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_api_server_of_another_authority_gets_no_token(api, account, tmp_path):
    pki.create_authority(tmp_path / "other")
    trusted = (account / "ca.crt").read_bytes()
    (account / "ca.crt").write_bytes((tmp_path / "other" / "ca.crt").read_bytes())
    with structlog.testing.capture_logs() as logs:
        async with leading(api, account):
            await until(lambda: logs)
            assert "certificate" in logs[0]["error"].lower()
            assert api.requests == []
            (account / "ca.crt").write_bytes(trusted)  # the authority was renewed
            await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_missing_service_account_is_said_and_waited_for(api, account):
    (account / "token").unlink()
    with structlog.testing.capture_logs() as logs:
        async with leading(api, account):
            await until(lambda: logs)
            assert "token cannot be read" in logs[0]["error"]
            (account / "token").write_text(TOKEN)
            await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_a_server_that_steps_down_leaves_the_route_until_it_ends(api, account):
    async with leading(api, account) as task:
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert api.addresses() == ["10.0.0.1"]
    assert api.addresses() == []


async def test_ending_is_quick_when_the_api_server_hangs(api, account, monkeypatch):
    monkeypatch.setattr(kubernetes, "RELEASE_SECONDS", 0.2)
    loop = asyncio.get_running_loop()
    async with leading(api, account):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])
        api.faults.extend(["hang"] * 3)
        started = loop.time()
    assert loop.time() - started < 1


async def test_namespace_of_the_service_account(api, account):
    async with leading(api, account, namespace=""):
        await api.until(lambda: api.addresses() == ["10.0.0.1"])


async def test_follower_does_nothing(api, account):
    hook = KubernetesHook(environment(), account, api.url)
    occasion = Occasion(Side.FOLLOWER, 3, 0, "zone-0")
    await hook.run(["follower", "zone-leader"], occasion)
    await hook.close()
    assert api.requests == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "leader|follower"),
        (["leader"], "leader|follower"),
        (["boss", "zone-leader"], "boss"),
        (["leader", "../secrets/x"], "EndpointSlice's name"),
        (["leader", "zone-leader", "0"], "1 to 65535"),
        (["leader", "zone-leader", "-1"], "1 to 65535"),
        (["leader", "zone-leader", "99999999"], "1 to 65535"),
        (["leader", "zone-leader", "1", "2"], "leader|follower"),
    ],
)
def test_wrong_arguments(account, arguments, text):
    with pytest.raises(ConfigError) as caught:
        KubernetesHook(environment(), account, "https://x").check(arguments)
    assert text in str(caught.value)


def test_outside_of_a_pod(account):
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        KubernetesHook(environment(), account, environ={}).check(["leader", "a"])
    with pytest.raises(ConfigError, match="ONED_POD_IP"):
        KubernetesHook(environment(pod_ip=""), account, "https://x").check(["leader", "a"])


def test_api_server_from_the_pods_environment(account):
    for host, url in (("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")):
        environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}
        assert KubernetesHook(environment(), account, environ=environ)._url == url
