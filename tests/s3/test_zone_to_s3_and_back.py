"""A running zone is backed up into a bucket, and founded anew from it; all of it is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from local_zone import LocalZone

from oned.cli import local_zone as shipped

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SECONDS = 90
DOCUMENT_TYPE = 7
REPORT_BYTES = 3 * 1024
PROGRAM = (sys.executable, "-c", "from oned.cli.onedb import main; main()")


def onedb(*arguments: object, environment: dict[str, str], code: int = 0) -> str:
    """What it prints; no secret of ``environment`` may be in it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ONE_", "ONED_", "AWS_"))}
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=inherited | environment,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert environment.get(name, "\0") not in said
    assert "Traceback" not in said
    return said


def allocate(zone: LocalZone, server: dict, name: str) -> None:
    zone.client(server).document.allocate(f'NAME="{name}"', DOCUMENT_TYPE)


def documents(zone: LocalZone, server: dict) -> list[str]:
    pool = zone.client(server).documentpool.info(-2, -1, -1, DOCUMENT_TYPE)
    return sorted(document.get_NAME() for document in pool.get_DOCUMENT())


def until(condition, what: str):
    """What the condition comes to, once that is something."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)
    return found


def status_of(zone: LocalZone, server: dict) -> dict:
    """None is what there is of a server that takes more than a second, on a busy machine."""
    return until(lambda: zone.status(server), "it answers")


def test_a_zone_goes_into_a_bucket_and_comes_back(s3, tmp_path):
    zone = LocalZone(tmp_path / "zone")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    report = tmp_path / "report"
    report.touch()
    location = f"{s3.bucket('zone')}/nightly/zone-1.bck"
    try:
        zone.up()
        leader = zone.leader()
        allocate(zone, leader, "kept")
        follower = next(s for s in zone.listed() if s["name"] != leader["name"])
        until(
            lambda: status_of(zone, follower)["applied"] == status_of(zone, leader)["applied"],
            "the follower has applied all",
        )
        status = status_of(zone, follower)
        environment = s3.environment() | {"ONE_AUTH": str(zone.directory / "one_auth")}
        options = ("--server", follower["endpoint"], "--to", location, "--verify")
        options += ("--report", report, "--scratch", scratch)
        said = onedb("backup", *options, environment=environment)
        assert zone.session.partition(":")[2] not in said
        told = json.loads(report.read_text())
        assert len(report.read_bytes()) <= REPORT_BYTES
        assert told.pop("seconds") > 0
        assert told.pop("completed").endswith("Z")
        assert len(told.pop("sha256")) == 64
        size = told.pop("size")
        assert told == {
            "location": location,
            "zone_uuid": status["zone_uuid"],
            "index": status["applied"],
            "server": follower["endpoint"],
            "verified": True,
        }
        assert list(scratch.iterdir()) == []

        folder = location.rpartition("/")[0]
        (listed,) = json.loads(onedb("backup-list", "-j", folder, environment=environment))
        assert (listed["location"], listed["size"]) == (location, size)
        said = onedb("verify", location, "--start", "--scratch", scratch, environment=environment)
        assert "a server works with it" in said
        # Nothing is replaced by chance, and the report says so.
        said = onedb("backup", *options, environment=environment, code=1)
        assert json.loads(report.read_text()).keys() == {"error"}
        assert "exists" in json.loads(report.read_text())["error"]
        wrong = environment | {"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"}
        onedb("backup", *options, environment=wrong, code=1)
        assert "wrong-secret-value" not in report.read_text()
        with_metrics = f"{follower['admin_endpoint']}/metrics"
        metrics = subprocess.run(
            ["curl", "-s", with_metrics], capture_output=True, text=True, check=True
        ).stdout
        assert 'oned_backups_total{result="success"} 3.0' in metrics
        assert f"oned_backup_last_size_bytes {float(size)}" in metrics

        allocate(zone, leader, "too late")
        zone.down()
        founding = {"id": "restore-1", "server": follower["name"], "source": location}
        inside = shipped.LocalZone(zone.directory)
        assert inside.load()
        (zone.directory / "one_auth").write_text("oneadmin:another-password\n")
        for name, server in inside.servers.items():
            own = server.environment(
                auth_file=inside.auth_file, zone_endpoint=server.endpoint, bootstrap=""
            )
            asked = {"ONED_FOUNDING": json.dumps(founding)} | s3.environment()
            said = onedb("prepare", "--config", server.config.path, environment=own | asked)
            assert ("with the backup" in said) == (name == follower["name"])
        inside.start(follower["name"])
        inside.save()
        assert documents(zone, zone.leader()) == ["kept"]
        zone.up()
        for server in zone.listed():
            until(
                lambda s=server: (
                    [m["voter"] for m in status_of(zone, s)["members"]] == [True, True, True]
                ),
                "all are voters again",
            )
            assert documents(zone, server) == ["kept"]
    finally:
        zone.down()
    for _ in range(2):
        onedb("backup-delete", location, environment=environment)
    assert json.loads(onedb("backup-list", "-j", folder, environment=environment)) == []
