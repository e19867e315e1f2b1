"""``GET /backup``: who gets one, one at a time, and a stream that was cut is seen as cut."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import socket
from base64 import b64encode
from contextlib import asynccontextmanager

import pytest

from oned.api import backups
from oned.api.server import ApiServer
from oned.cli.client import Client, ClientError
from oned.errors import StorageError
from oned.raft.types import Configuration, Index, Term
from oned.storage.export import Export
from oned.storage.snapshot import Header

SIZE = 24 << 20
"""More than the sockets between the two hold, so that who does not read holds it up."""

ONEADMIN = "oneadmin:opennebula"
USERS = 1


@pytest.fixture
def backup(database, tmp_path):
    """What the database gives as its backup, and how often it was taken and given back."""
    path = tmp_path / "zone.bck"
    path.write_bytes(os.urandom(SIZE))
    header = Header(1, "zone", Index(7), Term(1), Configuration())
    export = Export(header, hashlib.sha256(path.read_bytes()).hexdigest(), SIZE)
    database.taken = database.given_back = 0

    @asynccontextmanager
    async def give():
        database.taken += 1
        try:
            yield path, export
        finally:
            database.given_back += 1

    database.backup = give
    return path


@pytest.fixture
def results():
    return []


@pytest.fixture
async def server(database, config, backup, results):
    api = ApiServer(database, config, backup=lambda *facts: results.append(facts))
    await api.start()
    yield api
    await api.stop()


def ask(server, session: str | None, method: str = "GET", header: str = ""):
    """Status and headers of one request whose body is read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": header} if header else {}
    if session is not None:
        headers = {"Authorization": f"Basic {b64encode(session.encode()).decode()}"}
    try:
        connection.request(method, "/backup", headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def hold(server) -> socket.socket:
    """A request whose answer nobody reads."""
    waiting = socket.create_connection(("127.0.0.1", server.port), 10)
    token = b64encode(ONEADMIN.encode())
    waiting.sendall(
        b"GET /backup HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + token + b"\r\n\r\n"
    )
    return waiting


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_oneadmin_gets_all_of_it_with_its_checksum(server, backup, results, tmp_path):
    client = Client(f"http://127.0.0.1:{server.port}/RPC2", ONEADMIN)
    fetched = await asyncio.to_thread(client.fetch_backup, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == backup.read_bytes()
    assert (fetched.index, fetched.size) == ("7", SIZE)
    await until(lambda: results)
    ((outcome, seconds, size),) = results
    assert (outcome, size) == ("success", SIZE)
    assert seconds > 0


@pytest.mark.parametrize(
    ("session", "header"),
    [
        (None, ""),
        ("oneadmin:wrong", ""),
        ("nobody:opennebula", ""),
        ("", ""),
        (None, "Basic !!!"),
        (None, "Basic /w=="),
        (None, "Bearer b25lYWRtaW46b3Blbm5lYnVsYQ=="),
    ],
)
async def test_nobody_else_is_let_in(server, database, session, header):
    status, headers, body = await asyncio.to_thread(ask, server, session, header=header)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert len(body) < 100
    assert database.taken == 0


async def test_a_user_gets_none_and_one_of_the_group_oneadmin_does(server, one, database):
    user = await one("user.allocate", "user", "secret", "core", [USERS])
    status, _, body = await asyncio.to_thread(ask, server, "user:secret")
    assert (status, database.taken) == (403, 0)
    assert len(body) < 100
    await one("user.chgrp", user, 0)
    status, _, body = await asyncio.to_thread(ask, server, "user:secret")
    assert (status, len(body)) == (200, SIZE)


async def test_a_session_with_the_rights_of_one_group_gets_none(server, one, database):
    user = await one("user.allocate", "user", "secret", "core", [0])
    await one("user.addgroup", user, USERS)
    token = await one("user.login", "user", "", -1, USERS)
    status, _, _ = await asyncio.to_thread(ask, server, f"user:{token}")
    assert (status, database.taken) == (403, 0)


async def test_it_is_read_only(server, database):
    for method in ("POST", "DELETE", "HEAD"):
        status, headers, _ = await asyncio.to_thread(ask, server, ONEADMIN, method)
        assert (status, headers["Allow"]) == (405, "GET")
    assert database.taken == 0


async def test_one_at_a_time_and_who_hangs_up_lets_the_next_in(server, database, results):
    waiting = hold(server)
    try:
        await until(lambda: database.taken == 1)
        status, headers, body = await asyncio.to_thread(ask, server, ONEADMIN)
        assert (status, headers["Retry-After"]) == (503, "10")
        assert b"Another backup" in body
        assert database.taken == 1
    finally:
        waiting.close()
    await until(lambda: database.given_back == 1)
    assert [each[0] for each in results] == ["failed"]
    status, _, body = await asyncio.to_thread(ask, server, ONEADMIN)
    assert (status, len(body)) == (200, SIZE)


async def test_calls_are_answered_while_a_backup_waits_for_its_client(server, one, database):
    waiting = hold(server)
    try:
        await until(lambda: database.taken == 1)
        assert (await one("zone.info", 0)).get_ID() == 0
        assert database.given_back == 0
    finally:
        waiting.close()
    await until(lambda: database.given_back == 1)


async def test_who_takes_nothing_is_given_up(server, database, results, monkeypatch):
    monkeypatch.setattr(backups, "STALL_SECONDS", 0.3)
    waiting = hold(server)
    try:
        await until(lambda: database.given_back == 1)
        assert [each[0] for each in results] == ["failed"]
    finally:
        waiting.close()


async def test_a_backup_that_cannot_be_made_says_why(server, database, results):
    @asynccontextmanager
    async def refuse():
        raise StorageError("this server holds no zone yet")
        yield

    database.backup = refuse
    client = Client(f"http://127.0.0.1:{server.port}/RPC2", ONEADMIN)
    with pytest.raises(ClientError, match=r"gives no backup: .*this server holds no zone yet"):
        await asyncio.to_thread(client.fetch_backup, backups.PATH)
    assert results[0][0] == "failed"


@pytest.mark.parametrize("trouble", ["short", "changed"])
async def test_what_did_not_arrive_whole_is_no_backup(server, backup, tmp_path, trouble):
    """The file is cut or changed under the server: after the headers nothing else can tell it."""
    with backup.open("r+b") as file:
        if trouble == "short":
            file.truncate(SIZE // 2)
        else:
            file.seek(SIZE // 2)
            file.write(bytes(16))
    client = Client(f"http://127.0.0.1:{server.port}/RPC2", ONEADMIN, timeout_seconds=5)
    with pytest.raises(ClientError):
        await asyncio.to_thread(client.fetch_backup, tmp_path / "fetched")
