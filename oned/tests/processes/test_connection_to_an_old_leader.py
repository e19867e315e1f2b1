"""A client whose connection leads to a server that leads no more goes on over that connection."""

from __future__ import annotations

import http.client
import os
import signal
import time
import xmlrpc.client
from urllib.parse import urlsplit

import pytest
from local_zone import LocalZone

from oned.cli.local_zone import leads

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SERVED_AGAIN_SECONDS = 1.0
"""From the old leader's waking up: it steps down at once, and hears of its successor with the next
heartbeat."""


def allocate(connection: http.client.HTTPConnection, session: str, name: str) -> tuple[bool, str]:
    body = xmlrpc.client.dumps((session, f'NAME="{name}"', 7), "one.document.allocate")
    connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
    (answer,), _ = xmlrpc.client.loads(connection.getresponse().read())
    return answer[0], str(answer[1])


def test_calls_are_forwarded_over_the_connection_that_is_open(tmp_path, capsys):
    zone = LocalZone(tmp_path)
    zone.up()
    try:
        old = zone.leader()
        kept = http.client.HTTPConnection(urlsplit(old["endpoint"]).netloc, timeout=10)
        assert allocate(kept, zone.session, "before")[0]
        socket = kept.sock
        os.kill(old["pid"], signal.SIGSTOP)
        others = [server for server in zone.listed() if server["name"] != old["name"]]
        deadline = time.monotonic() + 20
        while not any(leads(zone.status(each) or {}) for each in others):
            assert time.monotonic() < deadline, "no successor"
            time.sleep(0.05)
        os.kill(old["pid"], signal.SIGCONT)
        woken, number, refused = time.monotonic(), 0, []
        while True:
            number += 1
            done, text = allocate(kept, zone.session, f"after-{number}")
            passed = time.monotonic() - woken
            if done:
                break
            refused.append(text)
            assert passed < SERVED_AGAIN_SECONDS, refused
        with capsys.disabled():
            print(
                f"\nserved again {passed * 1000:.0f} ms after waking up, refused before: {refused}"
            )
        assert passed < SERVED_AGAIN_SECONDS
        assert kept.sock is socket, "the connection was not kept"
        assert zone.status(old)["state"] == "follower"
        kept.close()
    finally:
        os.kill(old["pid"], signal.SIGCONT)
        zone.down()
