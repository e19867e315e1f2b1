"""``oned zone up`` and ``down``: a zone of real processes."""

import json
import os
import signal

import pytest

from oned.cli.local_zone import LocalZone
from oned.cli.main import oned
from oned.cli.onezone import onezone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture
def zone(tmp_path, run):
    directory = tmp_path / "zone"
    yield directory
    if (directory / "zone.json").exists():
        run(oned, "zone", "down", "--dir", directory, failure=1)


def entries(directory):
    return {
        item["name"]: item for item in json.loads((directory / "zone.json").read_text())["servers"]
    }


def kill(directory, name):
    """Kill a server of the zone and wait until the kernel has taken it away."""
    local = LocalZone(directory)
    assert local.load()
    pid = local.entries[name].pid
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
    os.close(descriptor)
    assert not local.servers[name].is_running(pid)


def test_zone_comes_up_is_repaired_grows_and_goes_down(zone, run, monkeypatch):
    up = run(oned, "zone", "up", "--dir", zone, "--servers", 2, failure=1)
    assert (up.code, up.err) == (0, "")
    first = entries(zone)
    assert [item["id"] for item in first.values()] == [0, 1]
    assert (zone / "one_auth").stat().st_mode & 0o777 == 0o600

    monkeypatch.setenv("ONE_AUTH", str(zone / "one_auth"))
    monkeypatch.setenv("ONE_XMLRPC", first["server-1"]["endpoint"])
    shown = json.loads(run(onezone, "show", "0", "-j").out)["ZONE"]["SERVER_POOL"]["SERVER"]
    assert sorted(server["STATE"] for server in shown) == ["2", "3"]
    assert {server["NAME"] for server in shown} == set(first)

    kill(zone, "server-0")
    assert run(oned, "zone", "status", "--dir", zone, failure=1).code == 1
    again = run(oned, "zone", "up", "--dir", zone, "--servers", 3, failure=1)
    assert (again.code, again.err) == (0, "")
    second = entries(zone)
    assert second["server-0"]["pid"] != first["server-0"]["pid"]
    assert second["server-1"]["pid"] == first["server-1"]["pid"]
    assert [item["id"] for item in second.values()] == [0, 1, 2]
    assert run(oned, "zone", "status", "--dir", zone, failure=1).code == 0

    down = run(oned, "zone", "down", "--dir", zone, failure=1)
    assert (down.code, down.out) == (0, "server-0: stopped\nserver-1: stopped\nserver-2: stopped\n")
    assert {item["pid"] for item in entries(zone).values()} == {-1}
