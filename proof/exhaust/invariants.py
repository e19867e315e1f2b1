"""What must hold in every state, of a server, of two servers, and of a server and history.

History is one value: the entries that were ever committed, each with the term of the leader
that committed it first. It outlives every crash.
"""

from __future__ import annotations

from typing import NamedTuple

from oned.raft.types import Entry, Index, ServerId, Term
from proof.exhaust.values import Local


class Committed(NamedTuple):
    """Entry of the zone's history; the term in which it became that, and who voted then."""

    entry: Entry
    term: Term
    voters: tuple[ServerId, ...]


History = tuple[Committed, ...]


def _logs(local: Local) -> tuple[dict[Index, Entry], dict[Index, Entry]]:
    """The log in memory, and the one on disk."""
    return {e.index: e for e in local.entries()}, {e.index: e for e in local.disk.log}


def wrong_between(one: Local, other: Local) -> str | None:
    """Election safety, log matching, state machine safety, and what a leader takes for proven."""
    twice = set(one.led) & set(other.led)
    if twice:
        return f"election safety: two servers led term {min(twice)}"
    for mine in _logs(one):
        for theirs in _logs(other):
            if wrong := _mismatch(mine, theirs):
                return f"log matching: {wrong}"
    for a, b in zip(one.disk.tables, other.disk.tables, strict=False):
        if a != b:
            return f"state machine safety: two entries applied at {a.index}: {a} and {b}"
    return _unproven(one, other) or _unproven(other, one)


def _mismatch(mine: dict[Index, Entry], theirs: dict[Index, Entry]) -> str | None:
    both = sorted(mine.keys() & theirs.keys())
    agreed = [index for index in both if mine[index].term == theirs[index].term]
    for index in both:
        if agreed and index <= agreed[-1] and mine[index] != theirs[index]:
            return f"logs agree at {agreed[-1]} and not at {index}"
    return None


def _unproven(leader: Local, follower: Local) -> str | None:
    """A leader's ``match`` is on the follower's disk, until that has seen a later term."""
    if leader.office is None or follower.disk.hard_state.term > leader.core.term:
        return None
    for seen in leader.office.seen:
        if seen.peer != follower.core.server_id or seen.match <= follower.disk.base[0]:
            continue
        stored = {e.index: e for e in follower.disk.log}
        for entry in leader.entries():
            if follower.disk.base[0] < entry.index <= seen.match:
                if stored.get(entry.index) != entry:
                    return (
                        f"match: the leader of term {leader.core.term} takes entry"
                        f" {entry.index} to be on the disk of s{seen.peer}"
                    )
    return None


def wrong_with_history(local: Local, history: History, first: int) -> str | None:
    """Leader completeness, and that nothing is committed or applied that history does not have.

    The first entry of history is at the index ``first``.
    """
    entries = {entry.index: entry for entry in local.entries()}
    for offset, committed in enumerate(history):
        index = Index(first + offset)
        if index <= local.log.base[0]:
            continue
        held = entries.get(index)
        if local.office is not None and local.core.term > committed.term:
            if held != committed.entry:
                return (
                    f"leader completeness: the leader of term {local.core.term} has not entry"
                    f" {index}, committed in term {committed.term}: {held}"
                )
        if index <= local.core.commit and held != committed.entry:
            return f"committed twice at {index}: {held} and {committed.entry}"
    if local.core.commit >= first + len(history):
        return f"entry {local.core.commit} is committed here and was by no leader"
    for applied, committed in zip(local.disk.tables, history, strict=False):
        if applied != committed.entry:
            return f"state machine safety: {applied} is applied, {committed.entry} is committed"
    if len(local.disk.tables) > len(history):
        return f"entry {local.disk.tables[-1].index} is applied and was never committed"
    return None


def holds(local: Local, history: History, first: int) -> bool:
    """Whether a server's disk would survive with all of history on it, whatever happens."""
    stored = {e.index: e for e in local.disk.log}
    base = local.disk.base[0]
    return all(
        (len(local.disk.tables) > offset and local.disk.tables[offset] == committed.entry)
        if first + offset <= base
        else stored.get(Index(first + offset)) == committed.entry
        for offset, committed in enumerate(history)
    )
