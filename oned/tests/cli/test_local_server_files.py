"""Files, ports and processes of a local zone; the zone itself is tested with real servers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oned import pki
from oned.cli import local_commands, local_server
from oned.cli.local_server import LocalServer, Ports, choose_ports, create_server, read_status, stop
from oned.cli.main import oned
from oned.cli.resource import CommandError
from oned.config import AUTO, Config

LEAVES_A_THREAD = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
print(".", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def authority(tmp_path):
    return pki.create_authority(tmp_path / "authority")


def test_server_gets_configuration_and_certificate(tmp_path, authority):
    server = create_server(
        tmp_path / "server-0", authority, Ports(20001, 20002, 20003), election_timeout_ms=400
    )
    config = server.config
    assert (config.port, config.peer.port, config.admin.port) == (20001, 20002, 20003)
    assert config.federation.server_id == AUTO
    assert (config.raft.election_timeout_ms, config.raft.broadcast_timeout_ms) == (400, 60)
    assert config.warnings == ()
    identity = pki.identity(config.peer.directory / "server-0.crt")
    assert identity == pki.PeerIdentity(authority.zone_uuid, "server-0")
    assert server.endpoint == "http://127.0.0.1:20001/RPC2"


def test_edited_configuration_and_certificate_are_kept(tmp_path, authority):
    ports = Ports(20001, 20002, 20003)
    server = create_server(tmp_path / "a", authority, ports, election_timeout_ms=None)
    assert server.config.raft == Config().raft
    server.config.path.write_text(server.config.path.read_text().replace("20001", "20005"))
    certificate = (server.config.peer.directory / "a.crt").read_bytes()
    server = create_server(tmp_path / "a", authority, ports, election_timeout_ms=10)
    assert server.config.port == 20005
    assert (server.config.peer.directory / "a.crt").read_bytes() == certificate


def test_environment_is_the_servers_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE_XMLRPC", "http://elsewhere/RPC2")
    monkeypatch.setenv("ONED_BOOTSTRAP", "elsewhere")
    server = LocalServer("server-1", tmp_path, Config())
    environment = server.environment(
        auth_file=Path("/a/one_auth"), zone_endpoint="http://127.0.0.1:1/RPC2", bootstrap=""
    )
    given = {k: v for k, v in environment.items() if k.startswith(("ONE_", "ONED_"))}
    assert given == {
        "ONED_SERVER_NAME": "server-1",
        "ONED_SERVER_ENDPOINT": "http://127.0.0.1:2633/RPC2",
        "ONED_SERVER_PEER": "127.0.0.1:2635",
        "ONED_ZONE_ENDPOINT": "http://127.0.0.1:1/RPC2",
        "ONED_VAR": str(tmp_path / "var"),
        "ONE_AUTH": "/a/one_auth",
    }


def test_ports_are_derived_or_free():
    # Below those that zones choose for themselves: other ones may run on this machine.
    assert choose_ports(2, base=15000, taken=()) == Ports(15020, 15022, 15023)
    with (
        socket.create_server(("127.0.0.1", 0)) as busy,
        pytest.raises(CommandError, match="is in use"),
    ):
        choose_ports(0, base=busy.getsockname()[1], taken=())
    with pytest.raises(CommandError, match="out of range"):
        choose_ports(9, base=65500, taken=())
    first = choose_ports(0, base=None, taken=())
    second = choose_ports(1, base=None, taken=(first.api, first.peer, first.admin))
    assert len({first.api, first.peer, first.admin, second.api, second.peer, second.admin}) == 6


def test_no_free_port_is_an_error(monkeypatch):
    monkeypatch.setattr(local_server, "_is_free", lambda port: False)
    with pytest.raises(CommandError, match="No free ports"):
        choose_ports(0, base=None, taken=())


def test_nobody_answers_on_the_admin_port():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    assert read_status(port) is None


@pytest.mark.integration
def test_process_is_known_by_its_configuration_and_stopped(tmp_path):
    path = tmp_path / "oned.conf"
    path.write_text("PORT = 20001\n")
    server = local_server.load_server(tmp_path)
    ready = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('.', flush=True); "
    with subprocess.Popen(
        [sys.executable, "-c", f"{ready} sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as deaf:
        deaf.stdout.readline()
        assert server.is_running(deaf.pid)
        assert not server.is_running(os.getpid())
        assert not server.is_running(-1)
        assert stop([(server, deaf.pid)], grace_seconds=0.2) == [tmp_path.name]
        assert deaf.wait(10) == -signal.SIGKILL
    assert not server.is_running(deaf.pid)


@pytest.mark.integration
def test_process_has_not_ended_before_its_last_thread(tmp_path):
    """Of one that is killed in a sync, the first thread may be gone long before the others are."""
    (tmp_path / "oned.conf").write_text("PORT = 20001\n")
    server = local_server.load_server(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", LEAVES_A_THREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as left:
        left.stdout.readline()
        state = Path(f"/proc/{left.pid}/stat")
        end = time.monotonic() + 10
        while state.read_bytes().rpartition(b")")[2].split()[0] != b"Z":
            assert time.monotonic() < end
            time.sleep(0.01)
        assert server.is_running(left.pid)
        left.stdin.close()
        left.wait(10)
    assert not server.is_running(left.pid)


@pytest.mark.integration
def test_server_that_fails_is_reported_with_its_log(tmp_path, run):
    """Its state directory is no directory: the server ends, and no zone is recorded."""
    zone = tmp_path / "zone"
    zone.mkdir()
    authority = pki.create_authority(zone / "authority")
    server = create_server(
        zone / "server-0",
        authority,
        choose_ports(0, base=None, taken=()),
        election_timeout_ms=None,
    )
    (server.directory / "var").rmdir()
    (server.directory / "var").write_text("in the way")
    result = run(oned, "zone", "up", "--dir", zone, "--servers", 1, failure=1)
    assert result.code == 1
    assert "server-0: its process ended. The end of" in result.err
    assert str(server.log) in result.err
    assert not (zone / "zone.json").exists()


def test_zone_commands_need_a_zone(tmp_path, run):
    for command in ("down", "status"):
        result = run(oned, "zone", command, "--dir", tmp_path / "none", failure=1)
        assert (result.code, result.out) == (1, "")
        assert str(tmp_path / "none") in result.err


def test_broken_zone_file_is_refused(tmp_path, run):
    (tmp_path / "zone.json").write_text('{"servers": 3}')
    result = run(oned, "zone", "status", "--dir", tmp_path, failure=1)
    assert result.code == 1
    assert "is not readable as a zone" in result.err


def test_a_zone_does_not_shrink_by_starting_it(tmp_path, authority, run):
    servers = []
    for number in range(2):
        ports = Ports(20100 + 10 * number, 20102 + 10 * number, 20103 + 10 * number)
        server = create_server(
            tmp_path / f"server-{number}", authority, ports, election_timeout_ms=None
        )
        servers.append(
            {
                "name": server.name,
                "id": number,
                "endpoint": server.endpoint,
                "admin_endpoint": server.admin_endpoint,
                "pid": -1,
            }
        )
    (tmp_path / "zone.json").write_text(json.dumps({"zone_uuid": "x", "servers": servers}))
    result = run(oned, "zone", "up", "--dir", tmp_path, "--servers", "1", failure=1)
    assert result.code == 1
    assert "onezone server-del" in result.err
    status = run(oned, "zone", "status", "--dir", tmp_path, failure=1)
    assert status.code == 1
    assert [line.split()[:3] for line in status.out.splitlines()] == [
        ["ID", "NAME", "STATE"],
        ["0", "server-0", "down"],
        ["1", "server-1", "down"],
    ]


def test_one_command_at_a_time(tmp_path, run):
    with local_commands._locked(tmp_path):
        result = run(oned, "zone", "down", "--dir", tmp_path, failure=1)
    assert (result.code, result.err) == (
        1,
        f"Another oned zone command is at work in {tmp_path}\n",
    )
