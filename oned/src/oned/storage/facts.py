"""What a server knows of itself: one row a fact in ``raft_state``, and the log's two ends."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec

from oned.errors import StorageError
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    HardState,
    Index,
    Member,
    ServerId,
    Term,
)
from oned.storage.engine import Connection

_MEMBERS = msgspec.json.Decoder(tuple[Member, ...])


def encode_configuration(configuration: Configuration) -> str:
    """The members as JSON text, as ``logdb.members`` holds them."""
    return msgspec.json.encode(configuration.members).decode()


def decode_configuration(text: str) -> Configuration:
    """The inverse of ``encode_configuration``; an empty text is no members."""
    return Configuration(_MEMBERS.decode(text)) if text else Configuration()


@dataclass(frozen=True, slots=True)
class Facts:
    """The rows of ``raft_state``.

    Attributes:
        disk: random identity of this database, made with it and never changed.
        zone_uuid: the zone whose content this is; empty before there is any.
        initialised: whether the tables hold a zone: after bootstrap or a snapshot.
        base_index: the log begins after this index; ``base_term`` and
            ``base_configuration`` are those in force there.
    """

    disk: str
    zone_uuid: str = ""
    server_id: ServerId = NO_SERVER
    initialised: bool = False
    term: Term = Term(0)
    voted_for: ServerId = NO_SERVER
    applied: Index = Index(0)
    base_index: Index = Index(0)
    base_term: Term = Term(0)
    base_configuration: Configuration = Configuration()

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.voted_for)

    def with_hard_state(self, hard_state: HardState) -> Facts:
        return replace(self, term=hard_state.term, voted_for=hard_state.voted_for)


def _to_text(value: Any) -> str:
    match value:
        case Configuration():
            return encode_configuration(value)
        case bool():
            return str(int(value))
        case _:
            return str(value)


def _from_text(name: str, text: str) -> Any:
    match name:
        case "base_configuration":
            return decode_configuration(text)
        case "initialised":
            return text == "1"
        case "disk" | "zone_uuid":
            return text
        case _:
            return int(text)


def load(connection: Connection) -> Facts:
    """The facts of a database; a new one gets its disk identity now.

    Raises:
        StorageError: a row is not what this release writes.
    """
    rows = dict(connection.execute("SELECT name, value FROM raft_state").fetchall())
    if not rows:
        facts = Facts(disk=str(uuid.uuid4()))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO raft_state (name, value) VALUES (?, ?)",
            [(field.name, _to_text(getattr(facts, field.name))) for field in fields(facts)],
        )
        connection.execute("COMMIT")
        return facts
    try:
        return Facts(**{name: _from_text(name, text) for name, text in rows.items()})
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StorageError(f"table raft_state is not of this release: {error}") from error


def save(connection: Connection, before: Facts, after: Facts) -> None:
    """Write the facts that differ, inside the caller's transaction."""
    for field in fields(after):
        value = getattr(after, field.name)
        if value != getattr(before, field.name):
            connection.execute(
                "UPDATE raft_state SET value=? WHERE name=?", (_to_text(value), field.name)
            )
