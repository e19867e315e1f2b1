"""Messages as small numbers, equal ones the same; and the same message among renamed servers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    Message,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Entry,
    Index,
    ServerId,
    Term,
)

Naming = tuple[int, ...]
"""New ids of the servers, by their old ones."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on its way, as one message: what was applied, and what the log goes on from."""

    term: Term
    sender: ServerId
    to: ServerId
    index: Index
    index_term: Term
    configuration: Configuration
    tables: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class SnapshotEnded:
    """The stream's end, as its sender sees it."""

    term: Term
    sender: ServerId
    to: ServerId
    index: Index


Posted = Message | Snapshot | SnapshotEnded

PROJECTED = frozenset(("round", "asks", "answers"))
"""Fields that are nought here: they release reads and renew leases, which are not searched, and no
decision on votes or on the log depends on them."""

KNOWN_FIELDS: dict[type, str] = {
    VoteRequest: "term sender to last_index last_term pre transfer",
    VoteReply: "term sender to granted pre",
    AppendRequest: "term sender to prev_index prev_term entries commit",
    AppendReply: "term sender to success index hint_term rejected",
    TimeoutNow: "term sender to",
    SnapshotOffer: "term sender to index",
    Snapshot: "term sender to index index_term configuration tables",
    SnapshotEnded: "term sender to index",
}
"""What the search knows of each message, besides ``PROJECTED``."""

_noughts: dict[type, dict[str, Any]] = {}


def check_messages() -> None:
    """Raises AssertionError when the core's messages are not as the search knows them."""
    for kind, known in KNOWN_FIELDS.items():
        found = {field.name for field in fields(kind)}
        _noughts[kind] = dict.fromkeys(found & PROJECTED, 0)
        strange = (found - PROJECTED) ^ set(known.split())
        assert not strange, (
            f"the search does not know {kind.__name__} as it is: {sorted(strange)}"
            " (proof/exhaust/post.py)"
        )


def renamed_id(server_id: ServerId, naming: Naming) -> ServerId:
    return server_id if server_id == NO_SERVER else ServerId(naming[server_id])


def renamed_configuration(configuration: Configuration, naming: Naming) -> Configuration:
    members = (
        replace(member, server_id=renamed_id(member.server_id, naming))
        for member in configuration.members
    )
    return Configuration(tuple(sorted(members, key=lambda member: member.server_id)))


def renamed_entry(entry: Entry, naming: Naming) -> Entry:
    if entry.configuration is None:
        return entry
    return replace(entry, configuration=renamed_configuration(entry.configuration, naming))


def renamed_entries(entries: tuple[Entry, ...], naming: Naming) -> tuple[Entry, ...]:
    return tuple(renamed_entry(entry, naming) for entry in entries)


class Post:
    """Every message that was ever sent in a search."""

    def __init__(self) -> None:
        check_messages()
        self.messages: list[Posted] = []
        self.to: list[int] = []
        self._numbers: dict[Posted, int] = {}
        self._renamed: dict[tuple[int, Naming], int] = {}

    def number(self, message: Posted) -> int:
        """The number of this message, a new one if it is new."""
        found = self._numbers.get(message)
        if found is not None:
            return found
        assert type(message) in KNOWN_FIELDS, f"the search does not know {message}"
        noughts = _noughts[type(message)]
        if any(getattr(message, name) for name in noughts):
            number = self.number(replace(message, **noughts))
        else:
            number = len(self.messages)
            self.messages.append(message)
            self.to.append(message.to)
        self._numbers[message] = number
        return number

    def numbers(self, messages: list[Message] | tuple[Message, ...]) -> tuple[int, ...]:
        """A multiset of messages: sorted, since none of them is sent before another."""
        return tuple(sorted(map(self.number, messages)))

    def renamed(self, number: int, naming: Naming) -> int:
        found = self._renamed.get((number, naming))
        if found is None:
            found = self._renamed[number, naming] = self.number(
                self._rename(self.messages[number], naming)
            )
        return found

    @staticmethod
    def _rename(message: Posted, naming: Naming) -> Posted:
        ends: dict[str, Any] = {
            "sender": renamed_id(message.sender, naming),
            "to": renamed_id(message.to, naming),
        }
        if isinstance(message, AppendRequest):
            ends["entries"] = renamed_entries(message.entries, naming)
        elif isinstance(message, Snapshot):
            ends["configuration"] = renamed_configuration(message.configuration, naming)
            ends["tables"] = renamed_entries(message.tables, naming)
        return replace(message, **ends)
