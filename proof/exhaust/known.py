"""What the search knows of the core. It runs on no core that it does not know whole."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from oned.raft.leadership import Leadership, Transfer
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.progress import Progress
from oned.raft.types import Entry, HardState
from oned.raft.writes import Write, Writes

KNOWN: dict[type, tuple[str, str]] = {
    Raft: (
        """server_id term voted_for log initialised options role leader_id commit applied
        leadership writes random last_contact election_deadline pre_campaign granted outbox""",
        "reads",
    ),
    Writes: (
        """durable messages _stored_hard_state _durable_hard_state _handed_out _under_way
        _truncate_from""",
        "",
    ),
    Log: (
        "_reader base_index base_term _tail_from _tail _last_before_tail _configurations",
        "_tail_bytes",
    ),
    Leadership: (
        "server_id term log started heartbeat next_heartbeat term_start progress transfer",
        """round _round_sent quorum_round lease_start _lease_broken round_wanted questions
        tell_commit_at""",
    ),
    Progress: (
        "next match flow probing inflight",
        "last_reply round asks answers told_commit",
    ),
    Transfer: ("to deadline told", ""),
    Write: ("hard_state truncate_from entries apply_to messages", ""),
    Entry: ("index term data configuration", ""),
    HardState: ("term voted_for", ""),
}
"""What the search knows of the core: the attributes that it freezes and thaws, and those that it
leaves as they are in a new object, since they serve reads and leases only. An attribute that is new
in the core has to be put in one of the two; until then no search runs."""

_names = {kind: (set(kept.split()), set(left.split())) for kind, (kept, left) in KNOWN.items()}


def check_known(kind: type, found: set[str]) -> None:
    """Raises AssertionError when a part of the core is not as the search knows it."""
    kept, left = _names[kind]
    strange = (kept - found) | (found - kept - left)
    assert not strange, (
        f"the search does not know {kind.__name__} as it is: {sorted(strange)}"
        " (proof/exhaust/known.py)"
    )


def known(thing: object) -> dict[str, Any]:
    """The attributes of a part of the core, all of which the search must know."""
    found = vars(thing)
    check_known(type(thing), set(found))
    return found


def check_slots() -> None:
    for kind in KNOWN:
        if is_dataclass(kind):
            check_known(kind, {field.name for field in fields(kind)})
