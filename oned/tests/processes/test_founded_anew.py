"""A zone that lost its majority goes on with the longest log; real servers, stopped and started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyone
import pytest
from local_zone import LocalZone

from oned.cli import local_zone as shipped

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SECONDS = 60
DOCUMENT_TYPE = 7


def until(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


def managed(zone: LocalZone) -> shipped.LocalZone:
    found = shipped.LocalZone(zone.directory)
    assert found.load()
    return found


def prepare(zone: LocalZone, name: str, founding: dict | None, *options: str) -> str:
    """``onedb prepare`` as the init container of this server runs it."""
    server = managed(zone).servers[name]
    environment = server.environment(
        auth_file=zone.directory / "one_auth", zone_endpoint=server.endpoint, bootstrap=""
    )
    if founding is not None:
        environment["ONED_FOUNDING"] = json.dumps(founding)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from oned.cli.onedb import main; main()", "prepare"),
            *("--config", str(server.config.path), *options),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def allocate(zone: LocalZone, server: dict, *names: str) -> None:
    for name in names:
        zone.client(server).document.allocate(f'NAME="{name}"', DOCUMENT_TYPE)


def documents(zone: LocalZone, server: dict) -> list[str]:
    pool = zone.client(server).documentpool.info(-2, -1, -1, DOCUMENT_TYPE)
    return sorted(document.get_NAME() for document in pool.get_DOCUMENT())


def write_that_nobody_confirms(zone: LocalZone, leader: dict, name: str) -> None:
    """A change that ends up in the log of the leader alone."""
    before = zone.status(leader)["log_index"]

    def call() -> None:
        with pytest.raises((pyone.OneException, OSError)):
            zone.client(leader).document.allocate(f'NAME="{name}"', DOCUMENT_TYPE)

    caller = threading.Thread(target=call)
    caller.start()
    until(lambda: zone.status(leader)["log_index"] > before, "the leader has written it")
    status = zone.status(leader)
    assert status["commit"] <= before
    zone.kill(leader)
    caller.join(SECONDS)
    assert not caller.is_alive()


def test_a_lost_quorum_goes_on_with_the_longest_log(tmp_path):
    zone = LocalZone(tmp_path / "zone")
    try:
        # So long a leader goes on without the others, and takes a change that nobody confirms.
        zone.oned("up", "--servers", "3", "--election-timeout-ms", "3000")
        leader = zone.leader()
        allocate(zone, leader, "acknowledged-0", "acknowledged-1")
        others = [s for s in zone.listed() if s["name"] != leader["name"]]
        for server in others:
            zone.kill(server)
        write_that_nobody_confirms(zone, leader, "unconfirmed")

        held = {
            s["name"]: json.loads(prepare(zone, s["name"], None, "--preview"))
            for s in zone.listed()
        }
        longest = max(held, key=lambda name: (held[name]["term"], held[name]["index"]))
        assert longest == leader["name"]
        assert held[longest]["index"] > max(
            each["index"] for name, each in held.items() if name != longest
        )

        before = zone.session
        (zone.directory / "one_auth").write_text("oneadmin:another-password\n")
        founding = {"id": "recover-1", "server": longest, "source": None, "drop": False}
        for server in zone.listed():
            said = prepare(zone, server["name"], founding)
            is_founder = server["name"] == longest
            assert ("begins anew" in said) == is_founder, said
            assert ("empty database" in said) == (not is_founder), said
            assert "Nothing to prepare" in prepare(zone, server["name"], founding)

        # Even the one that was once told to make the zone waits for it now.
        inside = managed(zone)
        inside.start(others[0]["name"], bootstrap=True)
        inside.save()
        first = next(s for s in zone.listed() if s["name"] == others[0]["name"])
        until(lambda: zone.status(first) is not None, "it answers")
        assert zone.status(first)["initialised"] is False
        assert zone.status(first)["state"] != "leader"
        os.kill(first["pid"], signal.SIGTERM)
        until(lambda: zone.status(first) is None, "it stops")

        inside.start(longest)
        inside.save()
        founder = zone.leader()
        assert founder["name"] == longest
        assert [m["name"] for m in zone.status(founder)["members"]] == [longest]
        with pytest.raises(pyone.OneException):
            zone.client(founder, before).zone.info(0)
        expected = ["acknowledged-0", "acknowledged-1", "unconfirmed"]
        assert documents(zone, founder) == expected

        zone.up()  # the others join as learners, and become voters
        allocate(zone, founder, "after")
        for server in zone.listed():
            until(
                lambda s=server: (
                    zone.status(s)["applied"] == zone.status(zone.leader())["applied"]
                    and all(m["voter"] for m in zone.status(s)["members"])
                    and len(zone.status(s)["members"]) == 3
                ),
                f"{server['name']} is a voter that has applied all",
            )
            assert documents(zone, server) == sorted([*expected, "after"])
        for server in others:
            kept = zone.directory / server["name"] / "var" / "one.db.replaced-recover-1"
            assert kept.exists()
        # The founder may go now like any other.
        zone.kill(founder)
        assert documents(zone, zone.leader()) == sorted([*expected, "after"])
    finally:
        zone.down()


def test_a_volume_of_nobody_founds_nothing(tmp_path):
    zone = LocalZone(tmp_path / "zone", servers=1)
    try:
        zone.up()
        zone.down()
        name = zone.listed()[0]["name"]
        database = zone.directory / name / "var" / "one.db"
        for file in database.parent.glob("one.db*"):
            file.unlink()
        with pytest.raises(AssertionError, match="no zone in"):
            prepare(zone, name, {"id": "a", "server": name, "source": None, "drop": False})
        assert not Path(database).exists()
    finally:
        zone.down()
