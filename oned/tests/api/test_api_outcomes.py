"""Every call runs once at most inside the zone, and nobody is told more than what is known.

The leaders here are sockets that misbehave on purpose and count what reaches them.
"""

import asyncio
import contextlib
import xmlrpc.client

import aiohttp
import pyone
import pytest

from oned.api import server as server_module
from oned.api.forwarding import NOT_RUN_HEADER, Forwarder
from oned.api.registry import Registry
from oned.api.server import ApiServer
from oned.errors import NotLeader, OutcomeUnknown
from oned.raft.types import Configuration, ServerId
from oned.state.entry import Statement

from .conftest import ONEADMIN, Client, member  # type: ignore[import-not-found]

pytestmark = pytest.mark.integration

ANSWER = xmlrpc.client.dumps(((True, 100, 0),), methodresponse=True).encode()


def http(body=ANSWER, status="200 OK", length=None, **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Leader:
    """A leader that does with a request what ``behave`` says; counts calls and connections."""

    def __init__(self, behave) -> None:
        self.behave = behave
        self.calls: list[bytes] = []
        self.headers: list[str] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/RPC2"

    async def _serve(self, reader, writer) -> None:
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _converse(self, reader, writer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line.partition(":")[2])
                    for line in head.splitlines()
                    if line.lower().startswith("content-length")
                )
                self.calls.append(await reader.readexactly(length))
                self.headers.append(head.lower())
                if await self.behave(writer) == "stop":
                    break


@contextlib.asynccontextmanager
async def follower_of(leader, database, config, *, timeout_seconds=2.0):
    """A server that takes ``leader`` for its leader."""
    api = ApiServer(database, config, forwarder=Forwarder(timeout_seconds=timeout_seconds))
    await api.start()
    database.members = Configuration((member(0), member(1, endpoint=leader.endpoint)))
    database.follow(ServerId(1))
    try:
        yield Client(api.port, ONEADMIN)
    finally:
        await api.stop()


async def refused(one, *call) -> str:
    with pytest.raises(pyone.OneException) as error:
        await one(*call)
    return str(error.value)


async def answer(writer, data) -> None:
    writer.write(data)
    await writer.drain()


async def die(writer) -> str:
    writer.transport.abort()
    return "stop"


async def hang_up(writer) -> str:
    return "stop"


async def keep_silent(writer) -> None:
    await asyncio.sleep(5)


def answering(data):
    async def behave(writer):
        await answer(writer, data)

    return behave


def cut_short(data):
    async def behave(writer):
        await answer(writer, data)
        return "stop"

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(die, id="dies"),
        pytest.param(hang_up, id="hangs up"),
        pytest.param(keep_silent, id="answers too late"),
        pytest.param(cut_short(http(length=10_000)), id="breaks off its answer"),
        pytest.param(answering(http(b"", "500 Internal Server Error")), id="fails"),
        pytest.param(answering(http(b"", "502 Bad Gateway")), id="a proxy lost it"),
        pytest.param(answering(http(b"", "503 Service Unavailable")), id="a proxy gave up"),
        pytest.param(
            answering(http(b"", "307 Temporary Redirect", Location="http://127.0.0.1:1/")),
            id="points elsewhere",
        ),
        pytest.param(cut_short(b"no HTTP at all\r\n\r\n"), id="talks nonsense"),
    ],
)
async def test_a_call_that_reached_the_leader_runs_once_and_its_outcome_is_unknown(
    database, config, behave
):
    async with Leader(behave) as leader, follower_of(leader, database, config) as one:
        text = await refused(one, "group.allocate", "lab")
        assert text.startswith("[one.group.allocate] Outcome unknown: the ")
        assert "fail" not in text.lower()
        await asyncio.sleep(0.1)
        assert len(leader.calls) == 1
        assert leader.connections == 1


async def test_a_leader_that_says_that_it_did_not_run_a_call_is_believed(database, config):
    busy = http(b"", "503 Service Unavailable", **{NOT_RUN_HEADER: "1"})
    async with Leader(answering(busy)) as leader, follower_of(leader, database, config) as one:
        text = await refused(one, "group.allocate", "lab")
        assert text.endswith("Cannot process request, the leader answered HTTP 503")


async def test_an_idle_connection_that_closes_as_the_call_goes_out_is_not_tried_again(
    database, config
):
    """HTTP clients like to repeat a request on a new connection then: it may have run."""
    seen = asyncio.Event()

    async def answer_once(writer):
        if not seen.is_set():
            seen.set()
            return await answer(writer, http())
        return await die(writer)

    async with Leader(answer_once) as leader, follower_of(leader, database, config) as one:
        assert await one("group.allocate", "first") == 100
        text = await refused(one, "group.allocate", "second")
        assert "Outcome unknown: the connection to the leader was lost" in text
        await asyncio.sleep(0.1)
        assert len(leader.calls) == 2
        assert leader.connections == 1


async def test_an_idle_connection_that_was_closed_before_costs_nothing(database, config):
    async def answer_and_close(writer):
        await answer(writer, http())
        return "stop"

    async with Leader(answer_and_close) as leader, follower_of(leader, database, config) as one:
        for number in range(5):
            assert await one("group.allocate", f"lab-{number}") == 100
            await asyncio.sleep(0.05)
        assert len(leader.calls) == 5
        assert leader.connections == 5


async def test_a_read_whose_answer_is_lost_has_no_outcome_to_be_unknown(database, config):
    async with Leader(die) as leader, follower_of(leader, database, config) as one:
        text = await refused(one, "system.version")
        assert text.endswith("Cannot process request, the connection to the leader was lost")


async def test_a_call_that_is_sent_on_keeps_its_wish_for_what_is_true_now(database, config):
    """This server's leader does not confirm anything, so that the call itself goes to it."""
    body = xmlrpc.client.dumps((ONEADMIN, 0), "one.zone.info").encode()
    async with Leader(answering(http())) as leader:
        api = ApiServer(database, config)
        await api.start()
        database.members = Configuration((member(0), member(1, endpoint=leader.endpoint)))
        database.follow(ServerId(1))
        async with aiohttp.ClientSession() as session:
            for wish in ({}, {"X-One-Consistency": "linearizable"}):
                url = f"http://127.0.0.1:{api.port}/RPC2"
                async with session.post(url, data=body, headers=wish) as response:
                    assert response.status == 200
        await api.stop()
        assert len(leader.calls) == 1
        assert "x-one-consistency: linearizable" in leader.headers[0]


# --- on the server that runs the call ----------------------------------------------


class Gate:
    """Holds changes up until it is opened; how they end is what ``end`` does."""

    def __init__(self, database) -> None:
        self.open, self.reached, self.count = asyncio.Event(), asyncio.Event(), 0
        self._propose = database.propose
        database.propose = self

    async def __call__(self, change, *, term, configuration=None) -> None:
        self.count += 1
        self.reached.set()
        await self.open.wait()
        await self._propose(change, term=term, configuration=configuration)


def raw_call(port, method, *parameters):
    body = xmlrpc.client.dumps((ONEADMIN, *parameters), method).encode()
    return b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def test_a_client_that_hangs_up_leaves_no_half_call_and_no_lock(server, one, database):
    await one("document.allocate", 'NAME="a"', 1)
    gate, before = Gate(database), database.applied
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw_call(server.port, "one.document.update", 0, 'A="1"', 1))
    await gate.reached.wait()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    gate.open.set()
    # The lock on the document is free again, and the change was made once.
    await asyncio.wait_for(one("document.update", 0, 'B="2"', 1), 5)
    assert database.applied == before + 2
    assert gate.count == 2
    assert set((await one("document.info", 0)).TEMPLATE) == {"A", "B"}


async def test_calls_under_way_at_a_stop_are_answered(database, config):
    api = ApiServer(database, config)
    await api.start()
    gate, one = Gate(database), Client(api.port, ONEADMIN)
    call = asyncio.create_task(one("group.allocate", "lab"))
    await gate.reached.wait()
    stop = asyncio.create_task(api.stop())
    await asyncio.sleep(0.1)
    gate.open.set()
    assert await call == 100
    await stop


async def test_calls_that_a_stop_cannot_wait_for_are_told_that_their_outcome_is_unknown(
    database, config, monkeypatch
):
    monkeypatch.setattr(server_module, "STOP_SECONDS", 0.3)
    api = ApiServer(database, config)
    await api.start()
    gate, one = Gate(database), Client(api.port, ONEADMIN)
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    database.read_barrier = wait
    write = asyncio.create_task(refused(one, "group.allocate", "lab"))
    read = asyncio.create_task(refused(one, "zone.info", 0))
    await gate.reached.wait()
    await waiting.wait()
    await api.stop()
    assert "Outcome unknown: this server stops" in await write
    assert (await read).endswith("Cannot process request, this server stops")
    assert database.applied == 0


async def test_what_goes_wrong_after_the_change_is_not_told_as_a_failure(database, config, capsys):
    registry = Registry()

    async def change(call) -> None:
        await call.change(Statement("INSERT INTO system_attributes VALUES (?, ?)", ("once", "x")))

    async def explode(call):
        await change(call)
        raise RuntimeError("the answer cannot be made")

    async def twice(call):
        await change(call)
        await change(call)

    async def deposed(call):
        await change(call)
        raise NotLeader("so that it would be sent on")

    for handler in (explode, twice, deposed):
        registry.write(f"one.test.{handler.__name__}", handler)
    api = ApiServer(database, config, registry=registry)
    await api.start()
    for name in ("explode", "twice", "deposed"):
        text = await refused(Client(api.port, ONEADMIN), f"test.{name}")
        assert "Outcome unknown: the answer could not be made" in text
        assert database.applied == 1
        database.connection.execute("DELETE FROM system_attributes WHERE name = 'once'")
        database.applied = 0
    await api.stop()


async def test_an_unknown_outcome_is_not_sent_on(database, config):
    """Another leader is known already: it is not asked to do it again."""
    async with Leader(answering(http())) as leader:
        api = ApiServer(database, config)
        await api.start()
        database.members = Configuration((member(0), member(1, endpoint=leader.endpoint)))

        async def lose(change, *, term, configuration=None):
            database.follow(ServerId(1))
            raise OutcomeUnknown("leadership was lost")

        database.propose = lose
        text = await refused(Client(api.port, ONEADMIN), "group.allocate", "lab")
        assert "Outcome unknown: leadership was lost" in text
        await api.stop()
        assert leader.calls == []


async def test_a_refusal_waits_for_the_next_leader_and_is_sent_on_once(database, config):
    async with Leader(answering(http())) as leader:
        api = ApiServer(database, config)
        await api.start()
        database.members = Configuration((member(0), member(1, endpoint=leader.endpoint)))

        async def hand_over(change, *, term, configuration=None):
            asyncio.get_running_loop().call_later(0.2, database.follow, ServerId(1))
            raise NotLeader("this server hands over")

        database.propose = hand_over
        assert await Client(api.port, ONEADMIN)("group.allocate", "lab") == 100
        await api.stop()
        assert len(leader.calls) == 1
