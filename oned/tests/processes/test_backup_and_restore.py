"""``onedb`` with real servers: a zone from a backup, and OpenNebula's procedure to add a server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_zone import LocalZone

from oned.cli import local_zone as shipped

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SECONDS = 60
DOCUMENT_TYPE = 7
INSTALLED = "snapshot installed here"


def onedb(*arguments: object, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from oned.cli.onedb import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def managed(zone: LocalZone) -> shipped.LocalZone:
    """The zone as ``oned zone`` itself sees it."""
    found = shipped.LocalZone(zone.directory)
    assert found.load()
    return found


def database(zone: LocalZone, name: str) -> Path:
    return zone.directory / name / "var" / "one.db"


def allocate(zone: LocalZone, server: dict, *names: str) -> None:
    for name in names:
        zone.client(server).document.allocate(f'NAME="{name}"', DOCUMENT_TYPE)


def documents(zone: LocalZone, server: dict) -> list[str]:
    pool = zone.client(server).documentpool.info(-2, -1, -1, DOCUMENT_TYPE)
    return sorted(document.get_NAME() for document in pool.get_DOCUMENT())


def until(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


def test_a_backup_of_a_follower_becomes_a_zone_of_its_own(tmp_path):
    zone, other = LocalZone(tmp_path / "zone"), LocalZone(tmp_path / "other", servers=1)
    path = tmp_path / "zone.bck"
    try:
        zone.up()
        leader = zone.leader()
        allocate(zone, leader, "kept-0", "kept-1")
        follower = next(server for server in zone.listed() if server["name"] != leader["name"])
        until(
            lambda: zone.status(follower)["applied"] == zone.status(leader)["applied"],
            "the follower has applied all",
        )
        onedb("backup", path, "-s", database(zone, follower["name"]))
        allocate(zone, leader, "too late")
        assert "is whole" in onedb("verify", path)
    finally:
        zone.down()
    try:
        other.up()
        (server,) = other.listed()
        other.down()
        inside = managed(other)
        name = server["name"]
        environment = inside.servers[name].environment(
            auth_file=inside.auth_file, zone_endpoint=server["endpoint"], bootstrap=""
        )
        configuration = other.directory / name / "oned.conf"
        onedb(
            *("restore", path, "-f", "--first-server", "-c", configuration), environment=environment
        )
        # Users and passwords are those of the backup.
        inside.auth_file.write_text((zone.directory / "one_auth").read_text())
        other.up()
        assert documents(other, server) == ["kept-0", "kept-1"]
        registered = other.client(server).zone.info(0).get_SERVER_POOL().get_SERVER()
        assert [one.get_NAME() for one in registered] == [name]
        allocate(other, server, "new")
        other.servers = 3  # and it grows like any other
        other.up()
        assert documents(other, other.leader()) == ["kept-0", "kept-1", "new"]
    finally:
        other.down()


def test_a_server_is_added_from_a_backup_of_the_leader(tmp_path):
    """The procedure of OpenNebula's documentation; ours needs no backup, and takes one."""
    zone = LocalZone(tmp_path / "zone", servers=2)
    try:
        zone.up()
        inside = managed(zone)
        first, second = zone.listed()
        zone.client(first).zone.delserver(0, second["id"])
        os.kill(second["pid"], signal.SIGTERM)
        until(
            lambda: not inside.servers[second["name"]].is_running(second["pid"]), "the server stops"
        )
        allocate(zone, first, "before")
        path = tmp_path / "leader.bck"
        onedb("backup", path, "-s", database(zone, first["name"]))
        allocate(zone, first, "after")
        onedb("restore", path, "-f", "-s", database(zone, second["name"]))
        log = zone.directory / second["name"] / "oned.log"
        installed_before = log.read_text().count(INSTALLED)
        inside.start(second["name"])
        inside.register(second["name"])
        inside.wait_until_voter(second["name"])
        inside.save()
        until(
            lambda: zone.status(second)["applied"] == zone.status(first)["applied"],
            "the new server has applied all",
        )
        assert documents(zone, second) == ["after", "before"]
        assert log.read_text().count(INSTALLED) == installed_before
    finally:
        zone.down()
