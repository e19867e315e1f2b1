"""A leader that is asked to stop hands over so that its clients notice nothing, not even those that
know no other server.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
import urllib.request
import xmlrpc.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from local_zone import LocalZone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROUTE_SECONDS = 1.0
SERVED_SECONDS = 2 * ROUTE_SECONDS
"""For so long it answers: the route once for the leader, and once for the follower that it is."""

LONGEST_CALL_SECONDS = 0.9
"""Without a hand-over nobody would lead for an election timeout, a second or more; a call may wait
half a second for the next leader, and then for two disks.
"""


def call(connection: http.client.HTTPConnection, session: str, name: str) -> None:
    body = xmlrpc.client.dumps((session, f'NAME="{name}"', 7), "one.document.allocate")
    connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
    (answer,), _ = xmlrpc.client.loads(connection.getresponse().read())
    assert answer[0], answer[1]


def ask_state(server: dict) -> str:
    with urllib.request.urlopen(f"{server['admin_endpoint']}/status", timeout=5) as answer:
        return json.load(answer)["state"]


def start_again(zone: LocalZone) -> dict[str, subprocess.Popen[bytes]]:
    """The zone's servers with the variable in their environment."""
    started = {}
    for server in zone.listed():
        process = Path(f"/proc/{server['pid']}")
        words = process.joinpath("cmdline").read_text().rstrip("\0").split("\0")
        variables = process.joinpath("environ").read_text().rstrip("\0").split("\0")
        environment = dict(each.partition("=")[::2] for each in variables)
        zone.kill(server)
        with Path(zone.directory, f"{server['name']}.log").open("wb") as log:
            started[server["name"]] = subprocess.Popen(
                words,
                env={**environment, "ONED_ROUTE_SECONDS": str(ROUTE_SECONDS)},
                stdout=log,
                stderr=log,
            )
    return started


def test_calls_on_old_and_new_connections_are_answered(tmp_path):
    zone = LocalZone(tmp_path)
    zone.up()
    processes = start_again(zone)
    try:
        leader = zone.leader()
        where = urlsplit(leader["endpoint"]).netloc
        kept = http.client.HTTPConnection(where, timeout=5)
        call(kept, zone.session, "before")
        socket = kept.sock
        asked = time.monotonic()
        processes[leader["name"]].terminate()
        longest, number, led = 0.0, 0, 0.0
        while time.monotonic() - asked < SERVED_SECONDS:
            number += 1
            try:
                fresh = http.client.HTTPConnection(where, timeout=5)
                for connection in (kept, fresh):
                    started = time.monotonic()
                    call(connection, zone.session, f"stopping-{number}")
                    longest = max(longest, time.monotonic() - started)
                fresh.close()
                state = ask_state(leader)
            except (OSError, http.client.HTTPException):
                # What began in time and is refused afterwards breaks no promise.
                assert time.monotonic() - asked >= SERVED_SECONDS, "it stopped too early"
                break
            if kept.sock is not socket:  # nor does an answer that is the last one by then
                assert time.monotonic() - asked >= SERVED_SECONDS, "the connection was not kept"
                break
            if state == "leader":
                led = time.monotonic() - asked
        assert longest < LONGEST_CALL_SECONDS
        assert ROUTE_SECONDS / 2 < led < SERVED_SECONDS - 0.2
        assert zone.leader()["name"] != leader["name"]
        assert processes[leader["name"]].wait(timeout=10) == 0
        for connection in (kept, fresh):
            connection.close()
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
