"""What a server knows of itself: one row a fact in ``raft_state``, and the log's two ends."""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec

from oned.errors import DatabaseDamaged, StorageError
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
        writes: how many transactions there were: a copy that has seen fewer is older.
        checksum: over all the others.
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
    writes: int = 0
    checksum: int = 0

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


def _checksum(name: str, value: Any) -> int:
    """Of one fact; those of several are combined by exclusive or, so that one can be replaced."""
    return 0 if name == "checksum" else zlib.crc32(f"{name}={_to_text(value)}".encode())


def _checksum_of_all(facts: Facts) -> int:
    whole = 0
    for field in fields(facts):
        whole ^= _checksum(field.name, getattr(facts, field.name))
    return whole


def load(connection: Connection) -> Facts:
    """The facts of a database; a new one gets its disk identity now.

    Raises:
        StorageError: a row is not what this release writes.
        DatabaseDamaged: a row is not what was written.
    """
    rows = dict(connection.execute("SELECT name, value FROM raft_state").fetchall())
    if not rows:
        facts = Facts(disk=str(uuid.uuid4()))
        facts = replace(facts, checksum=_checksum_of_all(facts))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO raft_state (name, value) VALUES (?, ?)",
            [(field.name, _to_text(getattr(facts, field.name))) for field in fields(facts)],
        )
        connection.execute("COMMIT")
        return facts
    try:
        facts = Facts(**{name: _from_text(name, text) for name, text in rows.items()})
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise StorageError(f"table raft_state is not of this release: {error}") from error
    if facts.checksum != _checksum_of_all(facts):
        raise DatabaseDamaged("what this server knows of itself is not what was written")
    return facts


def save(connection: Connection, before: Facts, after: Facts) -> Facts:
    """Write the facts that differ, inside the caller's transaction; they, with their checksum."""
    whole = before.checksum
    for field in fields(after):
        name, old, new = field.name, getattr(before, field.name), getattr(after, field.name)
        if new != old and name != "checksum":
            whole ^= _checksum(name, old) ^ _checksum(name, new)
            _set(connection, name, new)
    _set(connection, "checksum", whole)
    return replace(after, checksum=whole)


def _set(connection: Connection, name: str, value: Any) -> None:
    connection.execute("UPDATE raft_state SET value=? WHERE name=?", (_to_text(value), name))
