"""A server is fenced while clients write: it hands over and takes no part, and comes back."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

import pytest
from local_zone import LocalZone, Writer
from test_leader_killed_twenty_times import wait_until_equal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

FENCED_SECONDS = 15
"""The file is looked at every second; the rest is for a machine that is busy."""


def wait_for_state(zone: LocalZone, server: dict, *states: str) -> dict:
    end = time.monotonic() + FENCED_SECONDS
    while time.monotonic() < end:
        status = zone.status(server)
        if status is not None and status["state"] in states:
            return status
        time.sleep(0.05)
    raise AssertionError(f"{server['name']} is not {states}: {status}")


def answer(server: dict, path: str) -> int:
    try:
        with urllib.request.urlopen(server["admin_endpoint"].rstrip("/") + path, timeout=2) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code


def refuses_calls(zone: LocalZone, server: dict) -> bool:
    try:
        zone.client(server).zone.info(0)
    except OSError:
        return True
    return False


def test_leader_is_fenced_under_load_and_comes_back(tmp_path, capsys):
    zone = LocalZone(tmp_path)
    zone.up()
    writer = Writer(zone, 0)
    try:
        leader = zone.leader()
        fence = zone.directory / leader["name"] / "var" / "fenced"
        assert fence.parent.is_dir()
        writer.start()
        time.sleep(0.5)  # load is what it happens under
        term = zone.status(leader)["term"]
        fence.write_text("true\n")
        status = wait_for_state(zone, leader, "fenced")
        assert (status["serving"], status["leader_id"]) == (False, -1)
        assert len(status["members"]) == 3
        answers = {path: answer(leader, path) for path in ("/livez", "/healthz", "/readyz")}
        assert answers == {"/livez": 200, "/healthz": 200, "/readyz": 503}
        assert answer(leader, "/leader") == 503
        assert answer(leader, "/metrics") == 200
        assert refuses_calls(zone, leader)
        other = zone.leader()
        assert other["name"] != leader["name"]
        # Handed over, not timed out: exactly one term later.
        assert zone.status(other)["term"] == term + 1
        log_index, count = status["log_index"], len(writer.acknowledged)
        end = time.monotonic() + FENCED_SECONDS
        while len(writer.acknowledged) < count + 50:
            assert time.monotonic() < end, "writes do not go on without the fenced server"
            time.sleep(0.05)
        assert zone.status(leader)["log_index"] == log_index
        assert zone.status(leader)["term"] == status["term"]
        fence.unlink()
        wait_for_state(zone, leader, "follower", "leader")
        writer.stop()
        assert writer.failure is None
        wait_until_equal(zone)
        with capsys.disabled():
            print(f"\n{len(writer.acknowledged)} acknowledged writes around a fenced leader")
    finally:
        writer.stopping.set()
        zone.down()
    first, *others = [zone.tables(server["name"]) for server in zone.listed()]
    for each in others:
        assert each == first
    assert writer.acknowledged.items() <= {r[0]: r[1] for r in first["document_pool"]}.items()


def test_server_that_starts_fenced_stays_out(tmp_path):
    zone = LocalZone(tmp_path)
    zone.up()
    try:
        follower = next(s for s in zone.listed() if s["name"] != zone.leader()["name"])
        fence = zone.directory / follower["name"] / "var" / "fenced"
        fence.write_text("false")
        assert zone.status(follower)["state"] == "follower"
        fence.write_text("true")
        wait_for_state(zone, follower, "fenced")
        before = zone.status(follower)
        zone.kill(follower)
        # It is not done before all servers vote again.
        up = threading.Thread(target=zone.up)
        up.start()
        status = wait_for_state(zone, follower, "fenced")
        assert status["initialised"]
        assert (status["server_id"], status["disk"]) == (before["server_id"], before["disk"])
        fence.write_text("")
        wait_for_state(zone, follower, "follower", "leader")
        up.join()
    finally:
        zone.down()
