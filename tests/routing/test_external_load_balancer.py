"""HAProxy, configured as docs/how-to/external-load-balancer.md says, sends calls to the leader."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from balanced_client import Client

from benchmarks.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "external-load-balancer.md"
FAILOVER_SECONDS = 20.0
HAND_OVERS = 3
CHECK_SECONDS = 0.5
"""The page has HAProxy ask so often."""

LONGEST_CALL_SECONDS = 1.0
"""While the lead changes hands a call waits for half a second at most, and the machine is busy."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def zone(*words: object) -> None:
    command = [sys.executable, "-m", "oned", "zone", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Zone:
    """Three processes of this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def servers(self) -> list[dict[str, Any]]:
        return json.loads((self.directory / "zone.json").read_text())["servers"]

    def session(self) -> str:
        return (self.directory / "one_auth").read_text().strip()

    def leader(self) -> dict[str, Any]:
        """Who answers 200 at /leader, as the balancer asks."""
        end = time.monotonic() + FAILOVER_SECONDS
        while time.monotonic() < end:
            found = [each for each in self.servers() if status_of(each["admin_endpoint"]) == 200]
            if len(found) == 1:
                return found[0]
            time.sleep(0.05)
        raise AssertionError("no leader")


def status_of(admin: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(admin).netloc, timeout=1)
    try:
        connection.request("GET", "/leader")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path / "zone")
    zone("up", "--servers", 3, "--dir", made.directory)
    try:
        yield made
    finally:
        zone("down", "--dir", made.directory)


@pytest.fixture
def balancer(running: Zone, tmp_path: Path) -> Iterator[str]:
    """HAProxy before the zone; its ``host:port``."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("haproxy is missing: make deps installs it, from Debian")
    if program is None:
        pytest.skip("no haproxy: it is Debian's package of that name")
    block = re.search(r"```text\n(defaults\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    (port,) = free_ports(1)
    text, address = block[1], f"127.0.0.1:{port}"
    text = text.replace("192.0.2.10:2633", address).replace("check port 2636", "check")
    for number, server in enumerate(running.servers()):
        api = urlsplit(server["endpoint"]).netloc
        admin = urlsplit(server["admin_endpoint"]).port
        text = text.replace(f"192.0.2.1{number + 1}:2633", f"{api} port {admin}")
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    with (tmp_path / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-db", "-f", path], stdout=log, stderr=log)
        try:
            yield address
        finally:
            process.terminate()
            process.wait(timeout=20)


def allocate(address: str, session: str, name: str) -> bool:
    """One call through the balancer; False when it was refused or lost."""
    connection = http.client.HTTPConnection(address, timeout=5)
    body = xmlrpc.client.dumps((session, f'NAME="{name}"', 7), "one.document.allocate")
    try:
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            return False
        (answer,), _ = xmlrpc.client.loads(text)
        return bool(answer[0])
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def first_write(address: str, session: str, name: str) -> float:
    """Seconds until a call is answered."""
    started = time.monotonic()
    while time.monotonic() - started < FAILOVER_SECONDS:
        if allocate(address, session, name):
            return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"no write through the balancer within {FAILOVER_SECONDS} s")


def test_calls_follow_the_leader(running: Zone, balancer: str) -> None:
    session = running.session()
    first_write(balancer, session, "before")
    old = running.leader()
    os.kill(old["pid"], signal.SIGKILL)
    print(f"killed: {first_write(balancer, session, 'after-a-kill'):.2f} s")
    second = running.leader()
    assert second["name"] != old["name"]
    zone("up", "--dir", running.directory)
    os.kill(running.leader()["pid"], signal.SIGTERM)
    print(f"asked to stop: {first_write(balancer, session, 'after-a-stop'):.2f} s")
    assert allocate(balancer, session, "at rest")


def test_hand_over_fails_no_call(running: Zone, balancer: str) -> None:
    """Not even of a client that keeps its connection and never tries again."""
    session = running.session()
    first_write(balancer, session, "before")
    running.leader()
    with Client(balancer, session) as client:
        client.wait_for_answer_after(time.monotonic() + 2 * CHECK_SECONDS)
        for _ in range(HAND_OVERS):
            leader = running.leader()
            with xmlrpc.client.ServerProxy(leader["endpoint"]) as proxy:
                assert proxy.one.zone.transferleader(session, 0, -1)[0]
            assert running.leader()["name"] != leader["name"]
            client.wait_for_answer_after(time.monotonic() + 2 * CHECK_SECONDS)
    print(f"{HAND_OVERS} hand-overs: {client.answered} calls, longest {client.longest:.3f} s")
    assert client.failures == []
    assert client.longest < LONGEST_CALL_SECONDS
