"""etcd: three members of Debian's package, called over gRPC or over its JSON gateway."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.generator import Load
from benchmarks.processes import Child, free_ports, wait_until
from benchmarks.systems.system import PAYLOAD, SERVERS, Children, http_request

NAME_GRPC, NAME_JSON = "etcd, gRPC", "etcd, JSON"
_KEY = "client-{:03}"


def _field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes that are fewer than 2**14."""
    size = len(value)
    length = bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])  # noqa: PLR2004
    return bytes([number << 3 | 2]) + length + value


class Etcd(Children):
    """A cluster with default settings."""

    durability = "fdatasync on a majority (WAL)"

    def __init__(self, *, grpc: bool) -> None:
        super().__init__()
        self._grpc = grpc
        self._ports: dict[str, int] = {}
        self.name = NAME_GRPC if grpc else NAME_JSON
        self.interface = "gRPC KV/Put" if grpc else "HTTP POST /v3/kv/put (gateway)"

    def missing(self) -> str:
        return "" if shutil.which("etcd") else "apt-get install etcd-server"

    def version(self) -> str:
        done = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=False)
        return done.stdout.partition("\n")[0].rpartition(" ")[2]

    def start(self, directory: Path) -> None:
        directory.mkdir()
        ports = free_ports(2 * SERVERS)
        names = [f"etcd-{number}" for number in range(SERVERS)]
        self._ports = dict(zip(names, ports, strict=False))
        peers = dict(zip(names, ports[SERVERS:], strict=True))
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in peers.items())
        for name in names:
            client, peer = (f"http://127.0.0.1:{p[name]}" for p in (self._ports, peers))
            command = ["etcd", "--name", name, "--data-dir", str(directory / name)]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--initial-cluster", cluster, "--initial-cluster-state", "new"]
            self.children[name] = Child(command, directory / f"{name}.log")
            self.children[name].start()
        self.leader()

    def _post(self, server: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[server], timeout=2)
        try:
            connection.request("POST", path, b"{}")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        except (OSError, ValueError, http.client.HTTPException):
            return {}
        finally:
            connection.close()

    def leader(self) -> str:
        found: list[str] = []

        def leads() -> bool:
            for name in self.children:
                status = self._post(name, "/v3/maintenance/status")
                if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                    found.append(name)
            return bool(found)

        wait_until(leads, "led")
        return found[-1]

    def restart(self) -> None:
        for child in self.children.values():
            if child.has_ended():
                child.start()
        wait_until(
            lambda: all(self._post(n, "/v3/maintenance/status").get("leader") for n in self._ports),
            "whole",
        )

    def writes(self, server: str, clients: int) -> Load:
        keys = [_KEY.format(number) for number in range(clients)]
        port = self._ports[server]
        if self._grpc:
            value = _field(2, PAYLOAD.encode())
            calls = tuple(_field(1, key.encode()) + value for key in keys)
            return Load(port, calls, grpc_path="/etcdserverpb.KV/Put")
        bodies = [_json(key=key, value=PAYLOAD) for key in keys]
        calls = tuple(_request(port, "/v3/kv/put", body) for body in bodies)
        return Load(port, calls, b'"revision"')

    def reads(self, server: str, clients: int) -> dict[str, Load]:
        key, port = _KEY.format(0), self._ports[server]
        if self._grpc:
            call, serializable = _field(1, key.encode()), b"\x38\x01"
            return {
                kind: Load(port, (message,) * clients, grpc_path="/etcdserverpb.KV/Range")
                for kind, message in (
                    ("Range, leader, linearizable", call),
                    ("Range, leader, serializable", call + serializable),
                )
            }
        call = _request(port, "/v3/kv/range", _json(key=key))
        return {"Range, leader, linearizable": Load(port, (call,) * clients, b'"kvs"')}


def _json(**fields: str) -> bytes:
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in fields.items()}
    return json.dumps(encoded).encode()


def _request(port: int, path: str, body: bytes) -> bytes:
    return http_request(port, "POST", path, body, "application/json")
