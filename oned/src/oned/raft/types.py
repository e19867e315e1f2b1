"""The words of Raft: ids, terms, entries, members and what must survive a crash."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, NewType, TypeAlias

ServerId = NewType("ServerId", int)
"""Id given by ``one.zone.addserver``; never reused within a zone. -1 while unknown or solo."""

Term = NewType("Term", int)
Index = NewType("Index", int)

NO_SERVER = ServerId(-1)


class Role(IntEnum):
    """The states of ``one.zone.raftstatus``, with OpenNebula's numbers."""

    SOLO = 0
    CANDIDATE = 1
    FOLLOWER = 2
    LEADER = 3


@dataclass(frozen=True, slots=True)
class Member:
    """One server of the zone's committed server set.

    Attributes:
        server_id: the zone's id for the server.
        name: the server's name, also in its certificate.
        endpoint: public XML-RPC URL, where followers forward writes to.
        peer_endpoint: ``host:port`` of the server's peer port.
        disk: identity of the database that this membership was granted to; empty until
            the first database has been seen. A server that shows another one has
            forgotten its votes and its log.
        voter: False for a learner, which is sent the log but counts in no quorum.
    """

    server_id: ServerId
    name: str
    endpoint: str
    peer_endpoint: str
    disk: str = ""
    voter: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members of a zone, ordered by id. It takes effect when appended (Ongaro, 4.1)."""

    members: tuple[Member, ...] = ()

    def get(self, server_id: ServerId) -> Member | None:
        for member in self.members:
            if member.server_id == server_id:
                return member
        return None

    def named(self, name: str) -> Member | None:
        for member in self.members:
            if member.name == name:
                return member
        return None

    @property
    def voters(self) -> frozenset[ServerId]:
        return frozenset(m.server_id for m in self.members if m.voter)

    def with_member(self, member: Member) -> Configuration:
        """This configuration with ``member`` added, or put in place of the one with its id."""
        others = tuple(m for m in self.members if m.server_id != member.server_id)
        return Configuration(tuple(sorted((*others, member), key=lambda m: m.server_id)))

    def without(self, server_id: ServerId) -> Configuration:
        return Configuration(tuple(m for m in self.members if m.server_id != server_id))

    def promoted(self, server_id: ServerId, disk: str) -> Configuration:
        """This configuration with a learner made a voter, bound to its database."""
        member = self.get(server_id)
        assert member is not None
        return self.with_member(replace(member, voter=True, disk=disk))

    def demoted(self, server_id: ServerId) -> Configuration:
        """This configuration with a voter that lost its database made a learner again."""
        member = self.get(server_id)
        assert member is not None
        return self.with_member(replace(member, voter=False, disk=""))


@dataclass(frozen=True, slots=True)
class Entry:
    """A log record: opaque data, and the configuration if the record changes it.

    An entry with neither is the no-op that a leader appends when it takes office.
    """

    index: Index
    term: Term
    data: bytes = b""
    configuration: Configuration | None = None


Proposal: TypeAlias = tuple[bytes, Configuration | None]
"""What an entry is to hold."""


@dataclass(frozen=True, slots=True)
class HardState:
    """What a server must not forget: its term and whom it voted for in it."""

    term: Term = Term(0)
    voted_for: ServerId = NO_SERVER


class Follower(NamedTuple):
    """What a leader knows of another server.

    Attributes:
        lag: how many entries of the leader's log it is not known to hold.
        silence_seconds: since it last answered; None before it has in this term.
    """

    lag: int
    silence_seconds: float | None


class RaftStatus(NamedTuple):
    """A server's view of itself, for ``raftstatus``, metrics and the operator.

    Attributes:
        serving: on a leader, whether its own no-op is applied, so that it may answer
            linearizable reads and writes; on a follower, whether it knows a leader and
            holds an initialised database.
    """

    server_id: ServerId
    role: Role
    term: Term
    voted_for: ServerId
    leader_id: ServerId
    commit_index: Index
    applied_index: Index
    last_index: Index
    last_term: Term
    serving: bool
    configuration: Configuration
