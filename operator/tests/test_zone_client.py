"""The servers' side of the operator: XML-RPC and ``/status`` over real HTTP."""

from __future__ import annotations

import ssl
import xmlrpc.client

import pytest
from aiohttp import web

from onezone_operator import naming
from onezone_operator.errors import ZoneError, ZoneRefused, ZoneUnreachable
from onezone_operator.kube.authority import create_authority, issue_api_certificate
from onezone_operator.zone import ApiAddress, ZoneClient
from onezone_operator.zone.codec import build_server_template, decode_answer, parse_report

HERE = ApiAddress("127.0.0.1", "zone-0.example")

STATUS = {
    "version": "0.1.0",
    "zone_uuid": "u",
    "server_id": 0,
    "name": "zone-0",
    "disk": "d",
    "state": "leader",
    "term": 3,
    "voted_for": 0,
    "leader_id": 0,
    "commit": 10,
    "applied": 10,
    "log_index": 10,
    "log_term": 3,
    "serving": True,
    "initialised": True,
    "configuration_committed": True,
    "members": [
        {
            "id": 0,
            "name": "zone-0",
            "endpoint": "http://zone-0/RPC2",
            "peer_endpoint": "zone-0:2635",
            "voter": True,
            "match": 10,
            "lag": 0,
            "last_contact_seconds": 0.04,
        },
        {
            "id": 1,
            "name": "zone-1",
            "endpoint": "http://zone-1/RPC2",
            "voter": False,
            "match": None,
            "lag": None,
            "last_contact_seconds": None,
        },
    ],
}


@pytest.fixture
async def server(unused_tcp_port_factory, monkeypatch):
    """One HTTP server that stands for both ports of a server."""
    calls = []
    answers = {"status": STATUS, "call": [True, 7, 0]}

    async def status(request):
        return web.json_response(answers["status"])

    async def call(request):
        parameters, method = xmlrpc.client.loads(await request.read())
        calls.append((method, *parameters))
        text = xmlrpc.client.dumps((answers["call"],), methodresponse=True)
        return web.Response(text=text, content_type="text/xml")

    application = web.Application()
    application.add_routes([web.get("/status", status), web.post("/RPC2", call)])
    runner = web.AppRunner(application)
    await runner.setup()
    port = unused_tcp_port_factory()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setattr(naming, "ADMIN_PORT", port)
    monkeypatch.setattr(naming, "API_PORT", port)
    yield calls, answers
    await runner.cleanup()


@pytest.fixture
async def client():
    async with ZoneClient(status_seconds=2, call_seconds=2) as client:
        yield client


async def test_reports_are_read_at_once_and_silence_is_absence(server, client):
    reports = await client.read_reports({"zone-0": "127.0.0.1", "zone-1": "127.0.0.2"})
    assert set(reports) == {"zone-0"}
    report = reports["zone-0"]
    assert (report.state, report.term, report.serving) == ("leader", 3, True)
    assert [member.voter for member in report.members] == [True, False]


async def test_server_under_another_name_is_absent(server, client):
    assert await client.read_reports({"zone-5": "127.0.0.1"}) == {}


async def test_leadership_is_handed_over_and_the_answer_is_who_leads(server, client):
    calls, answers = server
    assert await client.transfer_leadership(HERE, "oneadmin:x", server_id=-1) == 7
    assert calls == [("one.zone.transferleader", "oneadmin:x", 0, -1)]
    answers["call"] = [False, "Server 2 (zone-2) is too far behind", 0x800]
    with pytest.raises(ZoneRefused, match="too far behind"):
        await client.transfer_leadership(HERE, "oneadmin:x", server_id=2)
    answers["call"] = [True, "zone-2", 0]
    with pytest.raises(ZoneError, match="no id"):
        await client.transfer_leadership(HERE, "oneadmin:x", server_id=2)


async def test_servers_are_added_and_deleted(server, client):
    calls, _ = server
    await client.add_server(
        HERE, "oneadmin:x", name="zone-1", endpoint="http://e/RPC2", peer="e:2635"
    )
    await client.delete_server(HERE, "oneadmin:x", server_id=4)
    vector = 'SERVER = [ NAME = "zone-1", ENDPOINT = "http://e/RPC2", ENDPOINT_PEER = "e:2635" ]'
    assert calls == [
        ("one.zone.addserver", "oneadmin:x", 0, vector),
        ("one.zone.delserver", "oneadmin:x", 0, 4),
    ]


async def test_refusal_carries_the_servers_words_and_not_the_password(server, client):
    _, answers = server
    answers["call"] = [False, "[one.zone.delserver] SERVER not found in zone", 0x2000, -1]
    with pytest.raises(ZoneRefused, match="SERVER not found in zone") as caught:
        await client.delete_server(HERE, "oneadmin:secret", server_id=4)
    assert "secret" not in str(caught.value)


@pytest.fixture
async def https_server(tmp_path, unused_tcp_port, monkeypatch):
    """A server with a certificate of an authority; the calls that came, and the authority."""
    calls = []

    async def call(request):
        calls.append(xmlrpc.client.loads(await request.read()))
        text = xmlrpc.client.dumps(([True, 7, 0],), methodresponse=True)
        return web.Response(text=text, content_type="text/xml")

    authority = create_authority("7e1f2f5c-5a3f-4a0a-9c3e-0d8a5a0f3b11")
    values = issue_api_certificate(authority, hosts=(HERE.host,))
    for name, value in values.items():
        (tmp_path / name).write_bytes(value)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    application = web.Application()
    application.add_routes([web.post("/RPC2", call)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port, ssl_context=context).start()
    monkeypatch.setattr(naming, "API_PORT", unused_tcp_port)
    yield calls, values["ca.crt"].decode()
    await runner.cleanup()


async def test_https_server_proves_its_name(https_server, client):
    calls, authority = https_server
    await client.delete_server(
        ApiAddress("127.0.0.1", HERE.host, authority), "oneadmin:x", server_id=4
    )
    assert len(calls) == 1


@pytest.mark.parametrize("case", ["other name", "other authority", "no authority", "plain http"])
async def test_password_goes_to_nobody_else(https_server, client, case):
    calls, authority = https_server
    other = create_authority("7e1f2f5c-5a3f-4a0a-9c3e-0d8a5a0f3b11")["tls.crt"].decode()
    address = {
        "other name": ApiAddress("127.0.0.1", "zone-1.example", authority),
        "other authority": ApiAddress("127.0.0.1", HERE.host, other),
        "no authority": ApiAddress("127.0.0.1", HERE.host, ""),
        "plain http": HERE,
    }[case]
    with pytest.raises(ZoneError):
        await client.delete_server(address, "oneadmin:x", server_id=4)
    assert calls == []


async def test_silence_is_unreachable(client, unused_tcp_port, monkeypatch):
    monkeypatch.setattr(naming, "API_PORT", unused_tcp_port)
    with pytest.raises(ZoneUnreachable):
        await client.delete_server(HERE, "oneadmin:secret", server_id=4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<methodResponse/>",
        xmlrpc.client.dumps((3,), methodresponse=True).encode(),
    ],
)
def test_answers_that_are_none(body):
    with pytest.raises(ZoneError):
        decode_answer(body)


def test_fault_is_a_refusal():
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(-503, "no such method")).encode()
    with pytest.raises(ZoneRefused, match="no such method"):
        decode_answer(body)


@pytest.mark.parametrize(
    "change",
    [{"term": "3"}, {"serving": 1}, {"members": [{}]}, {"name": None}, {"state": None}],
)
def test_status_that_is_not_as_agreed(change):
    with pytest.raises(ZoneError):
        parse_report({**STATUS, **change})


def test_template_of_a_server():
    text = build_server_template(name="a", endpoint="http://a/RPC2", peer="a:2635")
    assert text == 'SERVER = [ NAME = "a", ENDPOINT = "http://a/RPC2", ENDPOINT_PEER = "a:2635" ]'
