"""`kubectl onezone` on a real API server says the same whether the operator runs or not."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import onezones
import pytest
import timeouts
import yaml

pytestmark = timeouts.limit(420)

PROGRAMS = Path(sys.executable).parent
"""Where `make deps` puts kubectl's plugin."""


def onezone(zone: onezones.Zone, *words: object, stdin: str | None = None) -> str:
    """What the plugin prints, called as a user calls it."""
    done = subprocess.run(
        ["kubectl", "onezone", *map(str, words), "-n", zone.namespace],
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
        input=stdin, capture_output=True, text=True, timeout=timeouts.CALL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(params=["operator up", "operator down"])
def operator(request: pytest.FixtureRequest, zone: onezones.Zone) -> Iterator[str]:
    """The operator as it is, and at 0 replicas."""
    if request.param == "operator up":
        yield request.param
        return
    lab.scale_operator(0)
    yield request.param
    lab.scale_operator(1)


def check_status(zone: onezones.Zone) -> None:
    """Health, leader and every server, as a table and for a program."""
    leader = zone.leader()
    table = onezone(zone, "status", zone.name)
    lab.step("\n" + table)
    assert "Health:   Healthy" in table
    shown = {line.split()[0]: line.split()[1] for line in table.splitlines()[-3:]}
    assert shown == {server: "leader" if server == leader else "follower" for server in zone.pods()}
    data: dict[str, Any] = json.loads(onezone(zone, "status", zone.name, "-o", "json"))
    assert data == yaml.safe_load(onezone(zone, "status", zone.name, "-o", "yaml"))
    assert zone.name in onezone(zone, "status")


def check_explain(zone: onezones.Zone) -> None:
    """Growing is told step by step, and nothing is written."""
    before = zone.get()
    manifest = onezones.example("three-servers")
    manifest["metadata"]["namespace"] = zone.namespace
    manifest["spec"] = {**before["spec"], "replicas": 5}
    told = onezone(zone, "explain", "-f", "-", stdin=json.dumps(manifest))
    lab.step("\n" + told)
    assert told.index(f"{zone.name}-3") < told.index(f"{zone.name}-4")
    assert zone.get()["spec"] == before["spec"]


def check_report(zone: onezones.Zone, path: Path) -> None:
    """A zip with everything but the password."""
    onezone(zone, "report", zone.name, "-o", path)
    password = zone.session().partition(":")[2].encode()
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for server in zone.pods():
        assert any(server in name for name in files), f"nothing of {server}: {sorted(files)}"
    assert not [name for name, content in files.items() if password in content]


def check_logs(zone: onezones.Zone) -> None:
    """The last line of each server."""
    lines = onezone(zone, "logs", zone.name, "--tail", 1).splitlines()
    assert sorted(line.split()[0] for line in lines) == [f"[{each}]" for each in zone.pods()]
    one = onezone(zone, "logs", zone.name, "--server", 1, "--tail", 1)
    assert json.loads(one)["server"] == f"{zone.name}-1"


def test_looks_at_a_zone(operator: str, zone: onezones.Zone, tmp_path: Path) -> None:
    """status, explain, report and logs."""
    lab.step(operator)
    check_status(zone)
    check_explain(zone)
    check_report(zone, tmp_path / "report.zip")
    check_logs(zone)
