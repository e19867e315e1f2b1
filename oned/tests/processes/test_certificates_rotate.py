"""Certificates of three real servers are changed under clients that call all the time.

Every call opens a new connection, and most go to a follower, which sends them on to the leader
over another one. None may fail, not once, and nobody may stand for election.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from local_zone import LocalZone

from oned import pki, tls
from oned.cli.client import Client, ClientError, load_authorities
from oned.pki import issuing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LOAD_SECONDS = 4 * tls.RELOAD_SECONDS + 5
"""Until all servers use what was written; looking is all that takes time."""

HOSTS = ("127.0.0.1", "localhost")
CLIENTS = 4
CALLS_MIN = 10
"""Calls of one client in one stage, below which nothing is shown."""


class Caller(threading.Thread):
    """Writes a document, reads the pool, on new connections; keeps every error."""

    def __init__(self, zone: LocalZone, number: int) -> None:
        super().__init__(daemon=True)
        self.zone, self.number = zone, number
        self.calls = 0
        self.errors: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        servers = self.zone.listed()
        while not self.stopping.is_set():
            endpoint = servers[(self.calls // 2 + self.number) % len(servers)]["endpoint"]
            try:
                client = Client(endpoint, self.zone.session, 15.0, trusted(self.zone))
                if self.calls % 2:
                    client.call("one.documentpool.info", -2, -1, -1, 7)
                else:
                    name = f"caller-{self.number}-{self.calls}"
                    client.call("one.document.allocate", f'NAME="{name}"', 7)
            except ClientError as error:
                self.errors.append(f"call {self.calls} at {endpoint}: {error}")
            self.calls += 1

    def stop(self) -> None:
        self.stopping.set()
        self.join(20)


def trusted(zone: LocalZone) -> ssl.SSLContext:
    """What a client trusts at this moment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context, zone.directory / "trusted")
    return context


@pytest.fixture(scope="module")
def zone(tmp_path_factory):
    zone = LocalZone(tmp_path_factory.mktemp("zone"))
    zone.oned("up", "--servers", "3", "--tls")
    for server in zone.listed():
        as_kubernetes_mounts(zone.directory / server["name"] / "tls")
    yield zone
    zone.down()


def as_kubernetes_mounts(directory: Path) -> None:
    """Files become links through ``..data``, which is a link itself."""
    first = directory / "..0"
    first.mkdir()
    (directory / "..data").symlink_to(first.name)
    for path in [each for each in directory.iterdir() if each.is_file()]:
        path.rename(first / path.name)
        path.symlink_to(f"..data/{path.name}")


def swap(directory: Path, change) -> None:
    """A new version of all files, put in place at once."""
    number = sum(each.name.startswith("..") for each in directory.iterdir())
    new = directory / f"..{number}"
    shutil.copytree(directory / "..data", new)
    change(new)
    (directory / "..next").symlink_to(new.name)
    (directory / "..next").replace(directory / "..data")


def place(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(content)
    temporary.replace(path)


def calls_since(callers: list[Caller], counts: list[int]) -> list[int]:
    return [caller.calls - count for caller, count in zip(callers, counts, strict=True)]


def certificates(zone: LocalZone) -> dict[str, dict]:
    return {server["name"]: zone.status(server)["certificates"] for server in zone.listed()}


def wait_until_loaded(zone: LocalZone, which: str, check) -> None:
    end = time.monotonic() + LOAD_SECONDS
    while not all(check(name, each[which]) for name, each in certificates(zone).items()):
        assert time.monotonic() < end, f"not loaded: {certificates(zone)}"
        time.sleep(0.1)


class Rotation:
    """The files of a zone, and what is in use."""

    def __init__(self, zone: LocalZone) -> None:
        self.zone = zone
        self.names = [server["name"] for server in zone.listed()]
        self.authority = pki.load_authority(zone.directory / "authority")

    def home(self, name: str) -> Path:
        return self.zone.directory / name

    def trust(self, *authorities: pki.Authority) -> None:
        """Clients first: whoever trusts more than is shown refuses nobody."""
        pem = b"".join(each.certificate_pem for each in authorities)
        place(self.zone.directory / "trusted" / "ca.crt", pem)
        for name in self.names:
            place(self.home(name) / "peers" / "ca.crt", pem)
            swap(self.home(name) / "tls", lambda new: (new / "ca.crt").write_bytes(pem))
        wanted = [pki.fingerprint(each.certificate) for each in authorities]
        for which in ("peer", "api"):
            wait_until_loaded(self.zone, which, lambda _, found: found["authorities"] == wanted)

    def issue(self, authority: pki.Authority) -> None:
        """New certificates for all, one server after the other."""
        wanted: dict[str, dict[str, str]] = {"peer": {}, "api": {}}
        for name in self.names:
            peer = pki.issue_server(
                authority, name, hosts=HOSTS, directory=self.home(name) / "peers"
            )
            wanted["peer"][name] = fingerprint(peer)
            swap(
                self.home(name) / "tls",
                lambda new: pki.issue_api(authority, hosts=HOSTS, directory=new),
            )
            wanted["api"][name] = fingerprint(self.home(name) / "tls" / "tls.crt")
        for which, fingerprints in wanted.items():
            wait_until_loaded(
                self.zone,
                which,
                lambda name, found, all_=fingerprints: found["fingerprint"] == all_[name],
            )


def fingerprint(path: Path) -> str:
    return pki.fingerprint(pki.read_authorities(path)[0])


def call_peer(zone: LocalZone, server: dict, context: ssl.SSLContext) -> int:
    """The HTTP status with which a server's peer port answers whoever has this certificate."""
    status = zone.status(server)
    host, _, port = status["members"][server["id"]]["peer_endpoint"].rpartition(":")
    request = urllib.request.Request(f"https://{host}:{port}/snapshot/{'0' * 64}")
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:
        return answer.status


def as_peer(zone: LocalZone, name: str) -> ssl.SSLContext:
    return tls.load_peer(zone.directory / name / "peers", name).client


def call_each_peer(zone: LocalZone) -> None:
    """New connections between servers, with the certificates on their disks."""
    servers = zone.listed()
    for server in servers:
        for other in servers:
            if other is not server:
                assert call_peer(zone, server, as_peer(zone, other["name"])) == 200


def terms(zone: LocalZone) -> set[int]:
    return {zone.status(server)["term"] for server in zone.listed()}


def test_nothing_fails_while_everything_is_rotated(zone, tmp_path):
    rotation = Rotation(zone)
    new = pki.create_authority(tmp_path / "new", rotation.authority.zone_uuid)
    stages = {
        "leaves": lambda: rotation.issue(rotation.authority),
        "both authorities": lambda: rotation.trust(rotation.authority, new),
        "leaves of the new authority": lambda: rotation.issue(new),
        "the new authority alone": lambda: rotation.trust(new),
    }
    zone.leader()
    before = terms(zone)
    old_peer = as_peer(zone, "server-1")
    callers = [Caller(zone, number) for number in range(CLIENTS)]
    for caller in callers:
        caller.start()
    report = []
    try:
        for stage, change in stages.items():
            calls = [caller.calls for caller in callers]
            change()
            call_each_peer(zone)
            # All servers may have looked at their files sooner than a busy machine makes the calls.
            end = time.monotonic() + LOAD_SECONDS
            while min(calls_since(callers, calls)) < CALLS_MIN and time.monotonic() < end:
                time.sleep(0.1)
            made = calls_since(callers, calls)
            report.append(f"{stage}: {sum(made)} calls")
            assert [error for caller in callers for error in caller.errors] == [], stage
            assert min(made) >= CALLS_MIN, stage
    finally:
        for caller in callers:
            caller.stop()
    print("\n" + "\n".join(report))
    assert [error for caller in callers for error in caller.errors] == []
    assert terms(zone) == before, "there was an election"
    with pytest.raises((ssl.SSLError, OSError)):
        call_peer(zone, zone.listed()[0], old_peer)
    # What is on the disks now is enough to start with, and to be let in.
    follower = next(s for s in zone.listed() if s["name"] != zone.leader()["name"])
    zone.kill(follower)
    zone.up()
    assert terms(zone) == before
    shutil.copytree(tmp_path / "new", zone.directory / "authority", dirs_exist_ok=True)


def test_expired_certificates_are_refused(zone, tmp_path, monkeypatch):
    authority = pki.load_authority(zone.directory / "authority")
    past = (datetime.now(UTC) - timedelta(days=9), datetime.now(UTC) - timedelta(days=1))
    before = certificates(zone)
    leader = zone.leader()
    other = next(s for s in zone.listed() if s["name"] != leader["name"])
    home = zone.directory / leader["name"]
    kept = {path: path.read_bytes() for path in (home / "peers").iterdir()}
    valid = as_peer(zone, leader["name"])
    with monkeypatch.context() as patched:
        patched.setattr(issuing, "validity", lambda _days: past)
        expired = pki.issue_server(authority, other["name"], hosts=HOSTS, directory=tmp_path)
        pki.issue_server(authority, leader["name"], hosts=HOSTS, directory=home / "peers")
        swap(home / "tls", lambda new: pki.issue_api(authority, hosts=HOSTS, directory=new))
    wait_until_loaded(
        zone,
        "api",
        lambda name, found: found["refused"] or name != leader["name"],
    )
    wait_until_loaded(
        zone,
        "peer",
        lambda name, found: found["refused"] or name != leader["name"],
    )
    after = certificates(zone)[leader["name"]]
    for which in ("api", "peer"):
        assert after[which] == before[leader["name"]][which] | {"refused": True}
    with urllib.request.urlopen(f"{leader['admin_endpoint']}/metrics", timeout=5) as answer:
        assert 'oned_certificate_refused{which="api"} 1.0' in answer.read().decode()
    # The one before serves on.
    assert Client(leader["endpoint"], zone.session, 5.0, trusted(zone)).call("one.zone.info", 0)
    assert call_peer(zone, other, valid) == 200
    # Whoever shows an expired one is not let in, although the right authority issued it.
    stranger = as_peer(zone, other["name"])
    stranger.load_cert_chain(expired, tmp_path / f"{other['name']}.key")
    with pytest.raises((ssl.SSLError, OSError)):
        call_peer(zone, leader, stranger)
    for path, content in kept.items():
        place(path, content)
    swap(home / "tls", lambda new: pki.issue_api(authority, hosts=HOSTS, directory=new))
    wait_until_loaded(zone, "api", lambda _, found: not found["refused"])
    wait_until_loaded(zone, "peer", lambda _, found: not found["refused"])


def test_port_speaks_https_and_nothing_else(zone):
    server = zone.leader()
    port = int(server["endpoint"].rpartition(":")[2].removesuffix("/RPC2"))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.sendall(b"GET /RPC2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    stranger = ssl.create_default_context()
    with pytest.raises(ClientError, match="CERTIFICATE_VERIFY_FAILED"):
        Client(server["endpoint"], zone.session, 5.0, stranger).call("one.zone.info", 0)
    listed = json.loads((zone.directory / "zone.json").read_text())["servers"]
    assert all(each["endpoint"].startswith("https://") for each in listed)
