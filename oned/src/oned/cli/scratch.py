"""A server that is started on a backup to see whether it works, and thrown away."""

from __future__ import annotations

import dataclasses
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from oned import founding
from oned.cli.client import ApiError, Client, ClientError
from oned.cli.local_server import ADDRESS, choose_ports
from oned.cli.resource import Session
from oned.config import Config, load_config, load_environment
from oned.errors import OnedError
from oned.state.callers import ONEADMIN
from oned.state.users import User
from oned.state.zones import LOCAL_ZONE
from oned.storage import backup
from oned.storage.snapshot import Header
from oned.storage.store import Store
from oned.template import Template, Vector

START_SECONDS = 300.0
"""How long the server may take to answer: it looks through the whole database first."""

STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_CALL_SECONDS = 30.0
_LOG_BYTES = 2000
_BY_SIGNAL = 128
_INHERITED_NOT = ("ONED_", "ONE_", "AWS_")


class BackupUnusable(OnedError):
    """No server works with the backup."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a server showed that was started on a backup.

    Attributes:
        header: the first line of the backup.
        users: how many there are.
    """

    header: Header
    users: int


def examine(path: Path, directory: Path) -> Examined:
    """Start a server of its own on the backup ``path``, and ask it for its zone and users.

    Args:
        path: the backup; it is only read.
        directory: where there is space for the database.

    Raises:
        StorageError: it is no backup, or not a whole one.
        BackupUnusable: no server starts with it, or it does not answer as one does.
    """
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=directory) as made:
        home = Path(made)
        expected = _restore(path, home)
        with _server(home) as client:
            calls = Session(lambda: client)
            zone = calls.document("one.zone.info", LOCAL_ZONE, False)
            users = calls.document("one.userpool.info")
            raft = calls.document("one.zone.raftstatus")
        answers = {
            "zone": (zone.findtext("ID"), str(LOCAL_ZONE)),
            "users": (str(len(users.findall("USER"))), str(expected.users)),
            "entry": (raft.findtext("COMMIT"), str(expected.header.index)),
        }
        for what, (found, held) in answers.items():
            if found != held:
                raise BackupUnusable(f"a server with the backup has {what} {found}, not {held}")
    return expected


def _restore(path: Path, home: Path) -> Examined:
    """Make the database of a solo server, whose administrator's password is known here alone."""
    ports = choose_ports(0, base=None, taken=())
    template = Template()
    template.set("PORT", str(ports.api))
    template.set("LISTEN_ADDRESS", ADDRESS)
    template.set("FEDERATION", Vector({"MODE": "STANDALONE", "SERVER_ID": "-1"}))
    template.set("ADMIN", Vector({"LISTEN_ADDRESS": ADDRESS, "PORT": str(ports.admin)}))
    (home / "oned.conf").write_text(f"{template.to_text()}\n", encoding="utf-8")
    config = load_config(home / "oned.conf")
    environment = dataclasses.replace(
        load_environment(config, {}), var=home / "var", auth_file=home / "one_auth"
    )
    users: list[int] = []

    def finish(store: Store) -> None:
        administrator = User.load(store, ONEADMIN)
        if administrator is None:
            raise BackupUnusable("there is no administrator in the backup")
        oneadmin = (administrator.name, secrets.token_urlsafe(24))
        environment.auth_file.write_text(":".join(oneadmin) + "\n", encoding="utf-8")
        founding.begin_anew(store, config, environment, oneadmin=oneadmin)
        users.append(len(store.rows("SELECT oid FROM user_pool")))

    header = backup.restore(path, environment.var / "one.db", finish=finish)
    return Examined(header, users[0])


@contextmanager
def _server(home: Path) -> Iterator[Client]:
    config = load_config(home / "oned.conf")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_INHERITED_NOT)}
    environment = inherited | {"ONED_VAR": str(home / "var"), "ONE_AUTH": str(home / "one_auth")}
    with ExitStack() as stack:
        with (home / "oned.log").open("wb") as log, _ends_afterwards():
            process = subprocess.Popen(  # noqa: S603 - this very program
                [sys.executable, "-m", "oned", "serve", "-c", str(home / "oned.conf")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=environment,
            )  # fmt: skip
            stack.callback(_stop, process)
        try:
            _wait(process, config, home / "oned.log")
            session = (home / "one_auth").read_text(encoding="utf-8").strip()
            yield Client(f"http://{ADDRESS}:{config.port}/RPC2", session, _CALL_SECONDS)
        except (ApiError, ClientError) as error:
            raise BackupUnusable(f"a server with the backup does not answer: {error}") from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], config: Config, log: Path) -> None:
    """Until the server says that it is ready, and listens: it opens its ports one by one."""
    end = time.monotonic() + START_SECONDS
    ready = f"http://{ADDRESS}:{config.admin.port}/readyz"
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(ready, timeout=1):
                pass
            socket.create_connection((ADDRESS, config.port), timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
        else:
            return
    said = log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()
    ended = "ended" if process.poll() is not None else f"is not ready after {START_SECONDS:g} s"
    raise BackupUnusable(f"a server with the backup {ended}. It said:\n{said}")


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Until it is left, a SIGTERM ends this process by way of all that cleans up behind it."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(_BY_SIGNAL + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ends_afterwards() -> Iterator[None]:
    """Keep a SIGTERM until it is left: a process that was only just started has nobody who would
    stop it.
    """
    kept: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: kept.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for number in kept:
            signal.raise_signal(number)
