"""An API server in front of a real SQLite database, without Raft: changes are applied at once.

``Database`` is the driver in the place of the node: the SQL, the tables and the server are real.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from dataclasses import replace

import pyone
import pytest

from oned.api.server import ApiServer
from oned.config import Config
from oned.errors import NotLeader, Rejected
from oned.raft.types import (
    Configuration,
    Follower,
    Index,
    Member,
    RaftStatus,
    Role,
    ServerId,
    Term,
)
from oned.state.bootstrap import bootstrap_change
from oned.state.entry import Change, decode, encode
from oned.storage import tables

ONEADMIN = "oneadmin:opennebula"
ENDPOINT = "http://localhost:2633/RPC2"


class Database:
    """``oned.api.ports.Front`` over one SQLite database; counts what it applied."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        for statement in tables.CREATE:
            self.connection.execute(statement)
        self.versions = Counter()
        self.applied = 0
        self.members = Configuration()
        self.state = RaftStatus(
            server_id=ServerId(0),
            role=Role.LEADER,
            term=Term(1),
            voted_for=ServerId(0),
            leader_id=ServerId(0),
            commit_index=Index(0),
            applied_index=Index(0),
            last_index=Index(0),
            last_term=Term(1),
            serving=True,
            configuration=self.members,
        )
        self.barriers = 0
        self.error: Exception | None = None
        self.resets: list[int] = []
        self.can_hand_over = False
        self.elected: ServerId | None = None
        self.followers: dict[ServerId, Follower] = {}

    @property
    def reader(self) -> Database:
        return self

    def rows(self, sql, parameters=()):
        return self.connection.execute(sql, parameters).fetchall()

    def status(self) -> RaftStatus:
        index = Index(self.applied)
        return self.state._replace(
            configuration=self.members,
            commit_index=index,
            applied_index=index,
            last_index=index,
        )

    def configuration(self) -> Configuration:
        return self.members

    def table_version(self, table: str) -> int:
        return self.versions[table]

    async def propose(self, change, *, term, configuration=None) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if term != self.state.term or self.state.role not in (Role.LEADER, Role.SOLO):
            raise NotLeader("another term")
        self.apply(decode(encode(change)))
        if configuration is not None:
            self.members = configuration

    def apply(self, change: Change) -> None:
        self.connection.execute("BEGIN")
        try:
            for statement in change.statements:
                self.connection.execute(statement.sql, statement.parameters)
        except sqlite3.IntegrityError as error:
            self.connection.execute("ROLLBACK")
            raise Rejected(str(error)) from error
        self.connection.execute("COMMIT")
        self.applied += 1
        for table in tables.REPLICATED:
            if any(table in statement.sql for statement in change.statements):
                self.versions[table] += 1

    async def read_barrier(self) -> None:
        self.barriers += 1
        if self.state.role not in (Role.LEADER, Role.SOLO):
            raise NotLeader("no leader")

    async def transfer_leadership(self, to=None) -> bool:
        if self.can_hand_over:
            self.follow(self.elected if self.elected is not None else to or ServerId(1))
        return self.can_hand_over

    def successor(self):
        ranks = [(-follower.lag, server) for server, follower in self.followers.items()]
        return max(ranks)[1] if ranks else None

    def follower(self, server_id):
        return self.followers.get(server_id)

    async def reset_server(self, server_id) -> None:
        self.resets.append(server_id)

    def follow(self, leader: ServerId) -> None:
        self.state = self.state._replace(
            role=Role.FOLLOWER, leader_id=leader, term=Term(self.state.term + 1)
        )

    def close(self) -> None:
        self.connection.close()


def member(number: int, *, endpoint: str = "", voter: bool = True) -> Member:
    name = f"zone-{number}"
    return Member(
        ServerId(number),
        name,
        endpoint or f"http://{name}:2633/RPC2",
        f"{name}:2635",
        voter=voter,
    )


def make_database(*servers: Member) -> Database:
    """A new zone's database."""
    database = Database()
    seed = servers[0] if servers else None
    database.apply(
        bootstrap_change(
            oneadmin=tuple(ONEADMIN.split(":")),
            serveradmin_password="service-secret",
            zone_endpoint=ENDPOINT,
            server=seed,
            now=1_700_000_000,
        )
    )
    database.applied = 0
    database.members = Configuration(servers)
    return database


@pytest.fixture
def database():
    made = make_database(member(0))
    yield made
    made.close()


@pytest.fixture
def config():
    return replace(Config(), port=0, listen_address="127.0.0.1")


@pytest.fixture
async def server(database, config):
    calls = []
    api = ApiServer(database, config, requests=lambda *facts: calls.append(facts))
    # A free port instead of 2633.
    await api.start()
    api.calls = calls
    yield api
    await api.stop()


class Client:
    """``pyone`` as it is, run in a thread: it blocks."""

    def __init__(self, port: int, session: str) -> None:
        self._one = pyone.OneServer(f"http://127.0.0.1:{port}/RPC2", session=session)

    async def __call__(self, method: str, *parameters):
        function = self._one
        for name in method.split("."):
            function = getattr(function, name)
        return await asyncio.to_thread(function, *parameters)


@pytest.fixture
def one(server):
    """The client of oneadmin."""
    return Client(server.port, ONEADMIN)


@pytest.fixture
def as_user(server):
    def connect(session: str) -> Client:
        return Client(server.port, session)

    return connect
