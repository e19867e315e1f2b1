"""What a server knows of itself: one row a fact in ``raft_state``, and the log's two ends."""

from __future__ import annotations

import uuid
import zlib
from typing import Any, NamedTuple

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


class Facts(NamedTuple):
    """The rows of ``raft_state``.

    Attributes:
        disk: random identity of this database, made with it and never changed.
        zone_uuid: the zone whose content this is; empty before there is any.
        initialised: whether the tables hold a zone: after bootstrap or a snapshot.
        base_index: the log begins after this index; ``base_term`` and
            ``base_configuration`` are those in force there.
        writes: how many transactions there were: a copy that has seen fewer is older.
        checksum: over all facts, kept in one row with ``writes``. These two stand last.
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
        return self._replace(term=hard_state.term, voted_for=hard_state.voted_for)


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


_SEAL = "seal"
"""The row that changes with every transaction: how many there were, and the checksum."""

_NAMES = tuple(name for name in Facts._fields if name not in ("writes", "checksum"))
_SET = "UPDATE raft_state SET value=? WHERE name=?"


def _checksum(name: str, text: str) -> int:
    """Of one fact; those of several are combined by exclusive or, so that one can be replaced."""
    return zlib.crc32(f"{name}={text}".encode())


def _rows(facts: Facts) -> dict[str, str]:
    return {name: _to_text(getattr(facts, name)) for name in _NAMES}


def _sealed(facts: Facts, whole: int) -> str:
    return f"{facts.writes} {whole ^ _checksum(_SEAL, str(facts.writes))}"


def load(connection: Connection) -> Facts:
    """The facts of a database; a new one gets its disk identity now.

    Raises:
        StorageError: a row is not what this release writes.
        DatabaseDamaged: a row is not what was written.
    """
    rows = dict(connection.execute("SELECT name, value FROM raft_state").fetchall())
    if not rows:
        facts = Facts(disk=str(uuid.uuid4()))
        facts = facts._replace(checksum=_checksum_of(_rows(facts)))
        rows = {**_rows(facts), _SEAL: _sealed(facts, facts.checksum)}
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO raft_state (name, value) VALUES (?, ?)", list(rows.items())
        )
        connection.execute("COMMIT")
        return facts
    if rows.keys() != {*_NAMES, _SEAL}:
        raise StorageError("table raft_state is not of this release")
    seal = rows.pop(_SEAL)
    try:
        facts = Facts(**{name: _from_text(name, text) for name, text in rows.items()})
        facts = facts._replace(writes=int(seal.partition(" ")[0]), checksum=_checksum_of(rows))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise DatabaseDamaged(f"table raft_state is not what was written: {error}") from error
    if seal != _sealed(facts, facts.checksum):
        raise DatabaseDamaged("table raft_state is not what was written")
    return facts


def _checksum_of(rows: dict[str, str]) -> int:
    whole = 0
    for name, text in rows.items():
        whole ^= _checksum(name, text)
    return whole


def save(connection: Connection, before: Facts, after: Facts) -> Facts:
    """Write the facts that differ, inside the caller's transaction; they, with their checksum."""
    whole = before.checksum
    rows = []
    for name, old, new in zip(_NAMES, before, after, strict=False):
        if new is not old and new != old:
            text = _to_text(new)
            whole ^= _checksum(name, _to_text(old)) ^ _checksum(name, text)
            rows.append((text, name))
    rows.append((_sealed(after, whole), _SEAL))
    connection.executemany(_SET, rows)
    return after._replace(checksum=whole)
