"""Failures of a call: OpenNebula's codes and its texts."""

from __future__ import annotations

from enum import IntEnum

from oned.errors import Busy, MembershipPending, NotLeader, OutcomeUnknown, Rejected
from oned.errors import ProposalError as _ProposalError


class Code(IntEnum):
    """Second element of an answer's failure (``include/Request.h``)."""

    SUCCESS = 0x0000
    AUTHENTICATION = 0x0100
    AUTHORIZATION = 0x0200
    NO_EXISTS = 0x0400
    ACTION = 0x0800
    RPC_API = 0x1000
    INTERNAL = 0x2000
    ALLOCATE = 0x4000
    LOCKED = 0x8000
    REPLICATION = 0x10000


class Failure(Exception):
    """A call ends without success; ``text`` has no ``[method]`` before it yet.

    Raising it means that nothing was changed, unless the text says that this is unknown.
    """

    def __init__(self, code: Code, text: str, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.object_id = object_id


NO_LEADER = "Cannot process request, no leader found"
IN_ELECTION = "Cannot process request, oned cluster in election mode"
REPLICATING = "Cannot process request, oned cluster is replicating log"
NO_DATABASE = "Cannot process request, the database of this server cannot be read"
ZONE_DISABLED = "Cannot process request, zone disabled"
UNAUTHENTICATED = "User couldn't be authenticated, aborting call."
BUSY = "Cannot process request, too many changes are in flight, try again"
UNKNOWN = (
    "Outcome unknown: {reason}. The request may have been carried out, or may be later;"
    " look before you repeat it"
)


def internal(text: str) -> Failure:
    return Failure(Code.INTERNAL, text)


def lost(reason: str, *, writes: bool) -> Failure:
    """The answer is lost: what became of a call that writes is not known."""
    if writes:
        return internal(UNKNOWN.format(reason=reason))
    return internal(f"Cannot process request, {reason}")


def action(text: str, object_id: int = -1) -> Failure:
    return Failure(Code.ACTION, text, object_id)


def wrong_parameter(text: str) -> Failure:
    return Failure(Code.RPC_API, text)


def not_found(word: str, oid: int) -> Failure:
    """The object, or for a negative id any object of its kind, does not exist."""
    where = f"[{oid}]" if oid >= 0 else "Pool"
    return Failure(Code.NO_EXISTS, f"Error getting {word} {where}.", oid)


def unauthorized(uid: int, message: str = "", *, word: str = "-") -> Failure:
    """``User [uid] : <message>.``, or what is said when there is no message."""
    if message:
        return Failure(Code.AUTHORIZATION, f"User [{uid}] : {message}.")
    return Failure(Code.AUTHORIZATION, f"User [{uid}] not authorized to perform action on {word}.")


def from_proposal(error: _ProposalError) -> Failure:
    """What a caller is told about a change that was not, or perhaps not, made."""
    match error:
        case OutcomeUnknown():
            reason = "leadership was lost while the change was being replicated"
            return internal(UNKNOWN.format(reason=reason))
        case NotLeader():
            return internal(NO_LEADER)
        case Busy():
            return internal(BUSY)
        case MembershipPending():
            return internal(
                "Cannot process request, another change of the zone's servers is under way, try"
                " again"
            )
        case Rejected():
            return internal("Nothing was changed: the change contradicts what the database holds")
        case _:
            return internal("Nothing was changed")
