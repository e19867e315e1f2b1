"""Frames between peers: one byte of kind, then MessagePack of a fixed shape.

Nothing is decoded that is not one of these shapes, so a frame can carry no code and no
surprise; its length is bounded before it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from oned.errors import PeerError
from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    Message,
    ReadIndexReply,
    ReadIndexRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.types import ServerId, Term

PROTOCOL = 1
"""Version of the frames; a peer that speaks another one is refused in its greeting."""

FRAME_BYTES = 64 << 20
"""Longest frame: a batch of entries, or one entry as long as the longest XML-RPC message."""


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of both ends, and again whenever it changes: who is here, with which disk."""

    protocol: int
    zone_uuid: str
    server_id: ServerId
    disk: str
    initialised: bool


@dataclass(frozen=True, slots=True)
class Adopt:
    """The leader of ``term`` tells a server that the zone knows its name as ``server_id``."""

    zone_uuid: str
    server_id: ServerId
    term: Term
    leader: ServerId


Frame: TypeAlias = Hello | Adopt | Message

_KINDS: tuple[type, ...] = (
    Hello,
    Adopt,
    VoteRequest,
    VoteReply,
    AppendRequest,
    AppendReply,
    TimeoutNow,
    ReadIndexRequest,
    ReadIndexReply,
)
_NUMBERS = {kind: bytes((number,)) for number, kind in enumerate(_KINDS)}
_DECODERS: tuple[msgspec.msgpack.Decoder[Frame], ...] = tuple(
    msgspec.msgpack.Decoder(kind) for kind in _KINDS
)
_ENCODER = msgspec.msgpack.Encoder()


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    return _NUMBERS[type(frame)] + _ENCODER.encode(frame)


def decode(data: bytes) -> Frame:
    """The frame in ``data``.

    Raises:
        PeerError: it is none that this release knows.
    """
    if not data or data[0] >= len(_DECODERS):
        raise PeerError("a frame of an unknown kind")
    try:
        return _DECODERS[data[0]].decode(memoryview(data)[1:])
    except msgspec.MsgspecError as error:
        raise PeerError(f"a malformed frame: {error}") from error
