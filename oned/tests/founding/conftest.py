"""State directories with real databases, and ``prepare`` killed at any of its durable steps."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from oned import founding, pki
from oned.config import Config, Environment, load_config, load_environment
from oned.raft.types import Configuration, Entry, HardState, Index, Member, ServerId, Term
from oned.raft.writes import Write
from oned.state.bootstrap import bootstrap_change
from oned.state.entry import Change, Statement, encode
from oned.storage import engine
from oned.storage.store import Store

KILLED = 137
FAILED = 70
NAMES = ("zone-0", "zone-1", "zone-2")
_INSERT = "INSERT INTO system_attributes (name, body) VALUES (?, '')"
_DURABLE = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "sqlite3.connect"}
_WRITES = os.O_WRONLY | os.O_RDWR
_STATEMENTS = ("BEGIN", "COMMIT", "PRAGMA WAL_CHECKPOINT")


@pytest.fixture(autouse=True)
def small_log(monkeypatch):
    """Databases are opened hundreds of times here, and the log's space is written each time."""
    monkeypatch.setattr(engine, "WAL_BYTES", 1 << 16)


def entry(index: int, name: str) -> Entry:
    return Entry(Index(index), Term(2), encode(Change((Statement(_INSERT, (name,)),))))


def member(number: int) -> Member:
    return Member(
        ServerId(number), NAMES[number], f"http://{NAMES[number]}:2633/RPC2", "a:2635", voter=True
    )


@dataclass
class Server:
    """One server's settings and state directory."""

    config: Config
    environment: Environment

    @property
    def database(self) -> Path:
        return self.environment.var / "one.db"

    def at(self, var: Path) -> Server:
        return Server(self.config, replace(self.environment, var=var))

    def fill(self, applied: int = 3) -> None:
        """A database of a zone of three: entries 2, 3 and 4, of which the last may be applied."""
        store = Store(self.database)
        members = tuple(map(member, range(3)))
        store.bootstrap(
            bootstrap_change(
                oneadmin=("oneadmin", "former"),
                serveradmin_password="secret",
                zone_endpoint="http://localhost:2633/RPC2",
                server=members[0],
                now=1,
            ),
            zone_uuid=pki.identity(self.certificate).zone_uuid,
            server_id=ServerId(NAMES.index(self.environment.server_name)),
            configuration=Configuration(members),
        )
        entries = (entry(2, "a"), entry(3, "b"), entry(4, "not known to be committed"))
        hard_state = HardState(Term(2), ServerId(0))
        store.write(Write(hard_state, None, entries, Index(applied), ()))
        store.sync()
        store.close()

    @property
    def certificate(self) -> Path:
        return self.config.peer.directory / f"{self.environment.server_name}.crt"

    def prepare(self, asked: founding.Founding) -> founding.Task:
        return founding.prepare(asked, self.config, self.environment)

    def prepare_until(self, asked: founding.Founding, step: int) -> int | None:
        """Run it in a process that is gone before durable step ``step``; None if it was, else the
        number of its steps.
        """
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fork that runs Python alone, and ends without it
            child = os.fork()
        if child == 0:
            _child(self, asked, step, writer)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, KILLED), said
        return int(said) if code == 0 else None


def _child(server: Server, asked: founding.Founding, step: int, report: int) -> None:
    count = 0
    is_counting = True

    def durable() -> None:
        nonlocal count
        if is_counting:
            count += 1
            if count == step:
                os._exit(KILLED)

    def audit(event: str, arguments: tuple) -> None:
        if event in _DURABLE or (event == "open" and (arguments[2] or 0) & _WRITES):
            durable()

    def stepwise(call):
        def wrapped(*arguments):
            durable()
            return call(*arguments)

        return wrapped

    def traced(connect):
        def wrapped(self):
            connection = connect(self)
            connection.set_trace_callback(
                lambda sql: durable() if sql.upper().startswith(_STATEMENTS) else None
            )
            return connection

        return wrapped

    code = FAILED
    try:
        os.fsync = stepwise(os.fsync)
        engine._sync_data = stepwise(engine._sync_data)
        engine.SQLiteEngine.connect = traced(engine.SQLiteEngine.connect)
        sys.addaudithook(audit)
        server.prepare(asked)
        is_counting = False
        os.write(report, str(count).encode())
        code = 0
    except BaseException:  # noqa: BLE001 (nothing of the parent may run on in here)
        os.write(report, traceback.format_exc().encode())
    finally:
        os._exit(code)


@pytest.fixture(scope="session")
def peers(tmp_path_factory):
    """Certificates of the zone's servers."""
    directory = tmp_path_factory.mktemp("pki")
    authority = pki.create_authority(directory / "authority")
    for name in NAMES:
        pki.issue_server(authority, name, hosts=(name,), directory=directory / "peers")
    return directory / "peers"


@pytest.fixture
def servers(peers, tmp_path):
    """The three servers, with no databases yet; oneadmin's password is ``present``."""
    (tmp_path / "oned.conf").write_text(
        f'FEDERATION = [ SERVER_ID = "AUTO" ]\nPEER = [ DIRECTORY = "{peers}" ]\n'
    )
    (tmp_path / "one_auth").write_text("oneadmin:present\n")
    config = load_config(tmp_path / "oned.conf", {})
    return [
        Server(
            config,
            load_environment(
                config,
                {
                    "ONED_SERVER_NAME": name,
                    "ONED_VAR": str(tmp_path / name),
                    "ONE_AUTH": str(tmp_path / "one_auth"),
                },
            ),
        )
        for name in NAMES
    ]
