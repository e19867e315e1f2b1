"""What servers say to each other, and nothing about how it travels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from oned.raft.types import Entry, Index, ServerId, Term


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """Ask for a vote, or with ``pre`` whether one would be given (dissertation, 9.6).

    ``transfer`` says that the leader itself asked for this election, so that voters
    need not protect it.
    """

    term: Term
    sender: ServerId
    to: ServerId
    last_index: Index
    last_term: Term
    pre: bool = False
    transfer: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply:
    """Answer to a vote request; a granted pre-vote repeats the term that was asked for."""

    term: Term
    sender: ServerId
    to: ServerId
    granted: bool
    pre: bool = False


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Log entries after ``prev_index``; with none it is a heartbeat, checked just the same.

    Because a heartbeat names the entry before it, a follower never moves its commit
    index past what is proven equal to this leader's log.

    Attributes:
        round: the leader's count of heartbeats, echoed by the reply: what reads wait for.
        answers: the newest of the receiver's questions that ``commit`` answers, see
            ``oned.raft.reads``; 0 for none.
    """

    term: Term
    sender: ServerId
    to: ServerId
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index
    round: int
    answers: int = 0


@dataclass(frozen=True, slots=True)
class AppendReply:
    """Answer to an append request.

    Attributes:
        success: whether the entry before the new ones was there.
        index: on success the last index that is known equal to the leader's log and durable
            here; on refusal the last index where the logs may agree.
        hint_term: on refusal, the term of the entry at ``index``.
        rejected: on refusal, the ``prev_index`` that was refused.
        asks: a question that the sender puts along the way, see ``oned.raft.reads``.
    """

    term: Term
    sender: ServerId
    to: ServerId
    success: bool
    index: Index
    round: int
    hint_term: Term = Term(0)
    rejected: Index = Index(0)
    asks: int = 0


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader asks its successor to hold an election at once (dissertation, 3.10)."""

    term: Term
    sender: ServerId
    to: ServerId


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """The leader is about to stream a snapshot that ends with the entry at ``index``."""

    term: Term
    sender: ServerId
    to: ServerId
    index: Index


@dataclass(frozen=True, slots=True)
class ReadIndexRequest:
    """A follower asks its leader how far it must be to show what is true now.

    Attributes:
        number: the question, see ``oned.raft.reads``; the reply repeats it.
    """

    term: Term
    sender: ServerId
    to: ServerId
    number: int


@dataclass(frozen=True, slots=True)
class ReadIndexReply:
    """The sender led when it got the question, and had committed no more than ``index``."""

    term: Term
    sender: ServerId
    to: ServerId
    number: int
    index: Index


Message: TypeAlias = (
    VoteRequest
    | VoteReply
    | AppendRequest
    | AppendReply
    | TimeoutNow
    | SnapshotOffer
    | ReadIndexRequest
    | ReadIndexReply
)

COUNTED = (VoteReply, AppendReply)
"""Answers of which a quorum is made: they are worth something only from a disk that remembers."""

TO_BE_COUNTED = (VoteRequest, AppendRequest, TimeoutNow)
"""What is said for the sake of such an answer."""
