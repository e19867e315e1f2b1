"""A zone of real processes, as `oned zone up` makes it, and clients that write to it."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
import xmlrpc.client
from pathlib import Path

import pyone

UP_SECONDS = 60


class LocalZone:
    """`oned zone up` in a directory, and what one can do to its processes."""

    def __init__(self, directory: Path, servers: int = 3) -> None:
        self.directory = directory
        self.servers = servers

    def oned(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "oned", "zone", *arguments, "--dir", str(self.directory)],
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def up(self) -> None:
        self.oned("up", "--servers", str(self.servers))

    def down(self) -> None:
        self.oned("down")

    def listed(self) -> list[dict]:
        return json.loads((self.directory / "zone.json").read_text())["servers"]

    @property
    def session(self) -> str:
        return (self.directory / "one_auth").read_text().strip()

    def client(self, server: dict, session: str | None = None) -> pyone.OneServer:
        """Without a ``timeout``: pyone's is none of its calls, but one of all other sockets of this
        process, in the tests that follow, too.
        """
        return pyone.OneServer(server["endpoint"], session=session or self.session)

    def status(self, server: dict) -> dict | None:
        url = server["admin_endpoint"].rstrip("/") + "/status"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException):  # the latter when it dies as it answers
            return None

    def leader(self, seconds: float = 20.0) -> dict:
        """The server that leads and serves, in the highest term."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = [(s, self.status(s)) for s in self.listed()]
            leading = [
                (status["term"], server["name"], server)
                for server, status in found
                if status and status["state"] == "leader" and status["serving"]
            ]
            if leading:
                return max(leading)[2]
            time.sleep(0.02)
        raise AssertionError("no leader")

    def kill(self, server: dict) -> None:
        """It is gone afterwards, with its ports: in a sync it dies only when the disk answers."""
        process = os.pidfd_open(server["pid"])
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            ended, _, _ = select.select([process], [], [], UP_SECONDS)
            assert ended, f"{server['name']} does not die"
        finally:
            os.close(process)

    def tables(self, name: str) -> dict[str, list[tuple]]:
        """All rows of the replicated tables of a stopped server."""
        (path,) = (self.directory / name).rglob("one.db")
        connection = sqlite3.connect(path)
        tables = [
            *("user_pool", "group_pool", "zone_pool", "document_pool", "acl"),
            *("pool_control", "system_attributes", "user_quotas", "group_quotas"),
        ]
        rows = {t: sorted(connection.execute(f"SELECT * FROM {t}").fetchall()) for t in tables}
        connection.close()
        return rows


class Writer(threading.Thread):
    """Allocates documents all along, and remembers which ones were acknowledged."""

    def __init__(self, zone: LocalZone, number: int) -> None:
        super().__init__(daemon=True)
        self.zone, self.number = zone, number
        self.acknowledged: dict[int, str] = {}
        self.last_success = time.monotonic()
        self.stopping = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        servers = self.zone.listed()
        count = turn = 0
        while not self.stopping.is_set():
            count += 1
            name = f"writer-{self.number}-{count}"
            client = self.zone.client(servers[turn % len(servers)])
            try:
                oid = client.document.allocate(f'NAME="{name}"\nPAYLOAD="{"x" * 200}"', 7)
                self.acknowledged[int(oid)] = name
                self.last_success = time.monotonic()
            except (pyone.OneException, OSError, xmlrpc.client.Error):
                turn += 1
                self.stopping.wait(0.02)
            except Exception as error:  # noqa: BLE001 (what no client should ever see)
                self.failure = error
                turn += 1
                self.stopping.wait(0.02)

    def stop(self) -> None:
        self.stopping.set()
        self.join(15)
