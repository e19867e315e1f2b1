"""How a call runs: who answers it, what is forwarded, and what callers are told when it fails."""

import asyncio
import xmlrpc.client
from dataclasses import replace

import aiohttp
import pyone
import pytest
from aiohttp import web

from oned.api import flow
from oned.api import server as server_module
from oned.api.forwarding import HOPS_HEADER, Forwarder
from oned.api.server import ApiServer
from oned.errors import Busy, MembershipPending, NotLeader, OutcomeUnknown, Rejected
from oned.raft.types import NO_SERVER, Configuration, Role, ServerId
from oned.state.entry import Change
from oned.state.zones import Zone

from .conftest import ONEADMIN, Client, make_database, member  # type: ignore[import-not-found]

pytestmark = pytest.mark.integration


async def post(port, body, **headers):
    """Status and body of a raw request."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/RPC2", data=body, headers=headers) as response,
    ):
        return response.status, await response.read()


def encode(method, *parameters):
    return xmlrpc.client.dumps((ONEADMIN, *parameters), method).encode()


def decode(body):
    (answer,), _ = xmlrpc.client.loads(body)
    return answer


@pytest.fixture
async def zone(config):
    """Two servers: 0 leads, 1 follows and has the same rows."""
    databases = [make_database(member(0)), make_database(member(0))]
    servers = [ApiServer(database, config) for database in databases]
    for api in servers:
        await api.start()
    members = Configuration(
        tuple(
            member(n, endpoint=f"http://127.0.0.1:{api.port}/RPC2") for n, api in enumerate(servers)
        )
    )
    for database in databases:
        database.members = members
    follower = databases[1]
    follower.state = follower.state._replace(server_id=ServerId(1), role=Role.FOLLOWER)
    yield list(zip(servers, databases, strict=True))
    for api in servers:
        await api.stop()
    for database in databases:
        database.close()


async def test_a_follower_forwards_writes_with_the_callers_session(zone):
    (_, leader), (follower, followers_database) = zone
    one = Client(follower.port, ONEADMIN)
    assert await one("user.allocate", "alice", "secret", "core") == 2
    assert (leader.applied, followers_database.applied) == (1, 0)
    with pytest.raises(pyone.OneInternalException, match="NAME is already taken by USER 2"):
        await one("user.allocate", "alice", "secret", "core")
    assert await one("system.version") == "7.4.0"


async def test_a_follower_reads_its_own_tables(zone):
    (leader, _), (follower, database) = zone
    await Client(leader.port, ONEADMIN)("group.allocate", "lab")
    with pytest.raises(pyone.OneNoExistsException):
        await Client(follower.port, ONEADMIN)("group.info", 100)
    assert database.barriers == 0
    body = encode("one.group.info", 100)
    _, answer = await post(follower.port, body, **{"X-One-Consistency": "linearizable"})
    assert decode(answer)[0] is True


async def test_a_follower_authenticates_before_it_forwards(zone):
    (_, leader), (follower, _) = zone
    with pytest.raises(pyone.OneAuthenticationException):
        await Client(follower.port, "oneadmin:wrong")("group.allocate", "lab")
    assert leader.applied == 0


async def test_reads_on_the_leader_are_linearizable(one, database):
    await one("zone.info", 0)
    assert database.barriers == 1
    await one("zone.raftstatus")
    assert database.barriers == 1


async def test_without_a_leader_reads_go_on_and_writes_say_so(one, database):
    database.state = database.state._replace(role=Role.FOLLOWER, leader_id=NO_SERVER)
    for call in (("system.version",), ("group.allocate", "lab"), ("acl.info",)):
        with pytest.raises(pyone.OneInternalException) as error:
            await one(*call)
        assert str(error.value).endswith("Cannot process request, no leader found")
    assert (await one("zone.info", 0)).ID == 0
    assert (await one("zone.raftstatus")).STATE == 2


async def test_candidates_and_new_leaders_say_so(one, database):
    database.state = database.state._replace(role=Role.CANDIDATE)
    with pytest.raises(pyone.OneInternalException, match="oned cluster in election mode"):
        await one("group.allocate", "lab")
    database.state = database.state._replace(role=Role.LEADER, serving=False)
    with pytest.raises(pyone.OneInternalException, match="oned cluster is replicating log"):
        await one("group.allocate", "lab")
    assert (await one("zone.info", 0)).ID == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotLeader(""), "no leader found"),
        (Busy(""), "too many changes are in flight"),
        (MembershipPending(""), "another change of the zone's servers is under way"),
        (Rejected("UNIQUE"), "Nothing was changed"),
        (OutcomeUnknown(""), "Outcome unknown: leadership was lost"),
    ],
)
async def test_what_became_of_a_change_is_said_exactly(one, database, error, text, monkeypatch):
    monkeypatch.setattr(flow, "SUCCESSOR_TIMEOUT_SECONDS", 0.05)
    database.error = error
    with pytest.raises(pyone.OneInternalException) as raised:
        await one("group.allocate", "lab")
    assert text in str(raised.value)
    assert "fail" not in str(raised.value).lower()


async def test_a_leader_that_lost_office_sends_the_call_on(zone):
    (leader, database), (_, successor) = zone
    successor.state = successor.state._replace(
        role=Role.LEADER, term=successor.state.term + 1, leader_id=ServerId(1)
    )

    async def lose(change, *, term, configuration=None):
        database.follow(ServerId(1))
        raise NotLeader("deposed")

    database.propose = lose
    assert await Client(leader.port, ONEADMIN)("group.allocate", "lab") == 100
    assert (database.applied, successor.applied) == (0, 1)


async def test_a_leader_hands_over_before_it_is_deleted(zone):
    (leader, database), (_, successor) = zone
    for each in (database, successor):
        each.apply(zone_with_two_servers(each))
    database.can_hand_over = True
    successor.state = successor.state._replace(
        role=Role.LEADER, term=successor.state.term + 1, leader_id=ServerId(1)
    )
    assert await Client(leader.port, ONEADMIN)("zone.delserver", 0, 0) == 0
    assert [m.server_id for m in successor.members.members] == [1]
    assert database.applied == 1


def zone_with_two_servers(database):
    zone = Zone.load(database, 0)
    zone.add_server(1, {"NAME": "zone-1", "ENDPOINT": "http://zone-1:2633/RPC2"})
    return Change((zone.update(),))


async def test_calls_do_not_go_round_in_circles(zone):
    (_, database), (follower, _) = zone
    database.follow(ServerId(1))
    with pytest.raises(pyone.OneInternalException, match="no leader found"):
        await asyncio.wait_for(Client(follower.port, ONEADMIN)("group.allocate", "lab"), 5)
    _, answer = await post(follower.port, encode("one.group.allocate", "x"), **{HOPS_HEADER: "x"})
    assert "no leader found" in decode(answer)[1]


async def serve(handler):
    """A peer that misbehaves; returns its runner and endpoint."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/RPC2"


@pytest.mark.parametrize("trouble", ["silence", "hang up", "error"])
async def test_a_lost_answer_to_a_write_is_an_unknown_outcome(database, config, trouble):
    release = asyncio.Event()

    async def handler(request):
        await request.read()
        if trouble == "silence":
            await release.wait()
        elif trouble == "hang up":
            request.transport.abort()
        return web.Response(status=500)

    runner, endpoint = await serve(handler)
    api = ApiServer(database, config, forwarder=Forwarder(timeout_seconds=1.0))
    await api.start()
    database.members = Configuration((member(0), member(1, endpoint=endpoint)))
    database.follow(ServerId(1))
    one = Client(api.port, ONEADMIN)
    with pytest.raises(pyone.OneInternalException) as error:
        await one("group.allocate", "lab")
    assert str(error.value).startswith("[one.group.allocate] Outcome unknown: the ")
    assert "failed" not in str(error.value)
    # A read has no outcome to be unknown.
    with pytest.raises(pyone.OneInternalException, match="Cannot process request, the "):
        await one("system.version")
    release.set()
    await api.stop()
    await runner.cleanup()


async def test_a_leader_that_cannot_be_reached_was_not_asked(one, database, unused_tcp_port):
    endpoint = f"http://127.0.0.1:{unused_tcp_port}/RPC2"
    database.members = Configuration((member(0), member(1, endpoint=endpoint)))
    database.follow(ServerId(1))
    with pytest.raises(pyone.OneInternalException) as error:
        await one("group.allocate", "lab")
    assert str(error.value).endswith("Cannot process request, the leader cannot be reached")


async def test_calls_on_one_object_do_not_overwrite_each_other(one, database):
    await one("document.allocate", 'NAME="a"', 1)
    await asyncio.gather(*[one("document.update", 0, f'A{n}="{n}"', 1) for n in range(20)])
    assert len((await one("document.info", 0)).TEMPLATE) == 20


async def test_names_and_ids_are_given_once_under_concurrency(one, database):
    results = await asyncio.gather(
        *[one("user.allocate", "alice", "secret", "core") for _ in range(8)],
        return_exceptions=True,
    )
    assert sorted(r for r in results if isinstance(r, int)) == [2]
    ids = await asyncio.gather(*[one("document.allocate", f'NAME="{n}"', 1) for n in range(20)])
    assert sorted(ids) == list(range(20))


async def test_an_id_is_not_given_again_after_a_change_of_term(one, database):
    assert await one("document.allocate", 'NAME="a"', 1) == 0
    await one("document.delete", 0)
    database.state = database.state._replace(term=database.state.term + 1)
    assert await one("document.allocate", 'NAME="a"', 1) == 1


async def test_faults(server):
    for body, code in (
        (encode("one.no.such"), -506),
        (encode("one.document.info"), -501),
        (encode("one.document.info", "0"), -501),
        (encode("one.zone.enable", 0, 1), -501),
        (encode("one.user.allocate", "a", "b", "", ["x"]), -501),
        (xmlrpc.client.dumps((), "one.zone.info").encode(), -501),
        (xmlrpc.client.dumps((1,), "one.zone.info").encode(), -501),
        (b"<methodCall", -503),
    ):
        status, answer = await post(server.port, body)
        assert status == 200
        with pytest.raises(xmlrpc.client.Fault) as error:
            decode(answer)
        assert error.value.faultCode == code, body


async def test_parameters_too_many_are_ignored(server):
    _, answer = await post(server.port, encode("one.zone.info", 0, False, "extra", 1.5))
    assert decode(answer)[0] is True


async def test_introspection(server):
    async def ask(method, *parameters):
        body = xmlrpc.client.dumps(parameters, method).encode()
        return decode((await post(server.port, body))[1])

    names = await ask("system.listMethods")
    assert "one.user.info" in names
    assert "system.methodHelp" in names
    assert await ask("system.methodSignature", "one.user.info") == [
        ["array", "string", "int"],
        ["array", "string", "int", "boolean"],
    ]
    assert await ask("system.methodHelp", "one.user.info") == "One user as XML"
    with pytest.raises(xmlrpc.client.Fault, match="not defined"):
        await ask("system.methodHelp", "one.no.such")


async def test_http(server, monkeypatch):
    url = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession() as session:
        for path, method, status in (("/", "POST", 404), ("/RPC2", "GET", 405)):
            async with session.request(method, url + path) as response:
                assert response.status == status
        body = encode("one.zone.info", 0)
        for headers in ({}, {"Content-Type": "application/json"}):
            async with session.post(
                f"{url}/RPC2", data=body, headers=headers, skip_auto_headers=["Content-Type"]
            ) as response:
                assert response.content_type == "text/xml"
                assert decode(await response.read())[0] is True


async def test_oversized_requests_are_limit_faults(server):
    server._body_max = 1000
    for data in (b"x" * 1001, chunks()):
        status, answer = await post(server.port, data)
        assert status == 200
        with pytest.raises(xmlrpc.client.Fault) as error:
            decode(answer)
        assert error.value.faultCode == -509


async def chunks():
    for _ in range(11):
        yield b"x" * 100


async def test_a_flood_is_told_to_come_back(server):
    server._calls = server._config.xmlrpc.max_conn
    status, _ = await post(server.port, encode("one.zone.info", 0))
    assert status == 503
    server._calls = 0


async def test_calls_are_counted_without_made_up_names(server, one):
    await one("zone.info", 0)
    await post(server.port, encode("one.no.such"))
    with pytest.raises(pyone.OneNoExistsException):
        await one("zone.info", 9)
    assert [(method, outcome) for method, outcome, _ in server.calls] == [
        ("one.zone.info", "success"),
        ("unknown", "fault"),
        ("one.zone.info", "no_exists"),
    ]


async def test_secrets_stay_out_of_the_log(database, config, capsys):
    noisy = replace(config, log=replace(config.log, debug_level=5))
    api = ApiServer(database, noisy)
    await api.start()
    one = Client(api.port, ONEADMIN)
    await one("user.allocate", "alice", "hush1", "core")
    await one("user.passwd", 2, "hush2")
    await one("user.chauth", 2, "core", "hush3")
    token = await one("user.login", "oneadmin", "hush4", 60)
    with pytest.raises(pyone.OneAuthenticationException):
        await Client(api.port, "alice:hush5")("user.info", -1)
    await api.stop()
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "alice" in text
    assert "hush" not in text
    assert "opennebula" not in text
    assert token == "hush4"


async def test_an_unexpected_error_is_answered_without_details(one, database, monkeypatch):
    def explode(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(server_module.methods.zones.Zone, "load", explode)
    with pytest.raises(pyone.OneInternalException) as error:
        await one("zone.raftstatus")
    assert str(error.value) == ("[one.zone.raftstatus] Internal error, see the log of this server")


async def test_an_empty_database_says_that_it_is_empty(config, database):
    for table in ("user_pool", "zone_pool"):
        database.connection.execute(f"DELETE FROM {table}")
    database.state = database.state._replace(role=Role.FOLLOWER, serving=False)
    api = ApiServer(database, config)
    await api.start()
    with pytest.raises(pyone.OneInternalException, match="no copy of the zone's database"):
        await Client(api.port, ONEADMIN)("zone.info", 0)
    await api.stop()
