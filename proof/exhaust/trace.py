"""The way to a violation, for a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    VoteReply,
    VoteRequest,
)
from oned.raft.types import NO_SERVER, Entry
from proof.exhaust.post import Posted
from proof.exhaust.search import Found
from proof.exhaust.space import Space, State
from proof.exhaust.values import Local


def _name(server_id: int) -> str:
    return "-" if server_id == NO_SERVER else f"s{server_id}"


def _entry(entry: Entry) -> str:
    what = f":{entry.data.decode()}" if entry.data else ""
    if entry.configuration is not None:
        voters = ",".join(f"s{voter}" for voter in sorted(entry.configuration.voters))
        what = f":voters({voters})"
    return f"{entry.index}/{entry.term}{what}"


def _entries(entries: Sequence[Entry]) -> str:
    return f"[{' '.join(map(_entry, entries))}]"


def shown(message: Posted) -> str:
    """A message in one line; ``3/2:1`` is the entry at index 3, of term 2, with proposal 1."""
    head = f"s{message.sender}>s{message.to}"
    match message:
        case VoteRequest():
            kind = "pre-vote" if message.pre else "vote"
            return (
                f"{head} {kind} term={message.term} last={message.last_index}/{message.last_term}"
            )
        case VoteReply():
            kind = "pre-vote-reply" if message.pre else "vote-reply"
            return f"{head} {kind} term={message.term} {'granted' if message.granted else 'denied'}"
        case AppendRequest():
            return (
                f"{head} append term={message.term} after={message.prev_index}/{message.prev_term}"
                f" {_entries(message.entries)} commit={message.commit}"
            )
        case AppendReply(success=True):
            return f"{head} reply term={message.term} ok index={message.index}"
        case AppendReply():
            return (
                f"{head} reply term={message.term} refused={message.rejected}"
                f" try={message.index}/{message.hint_term}"
            )
        case _:
            return f"{head} {type(message).__name__} term={message.term}"


def _server(local: Local) -> str:
    core, disk = local.core, local.disk
    write = "" if local.write is None else ", a write under way"
    return (
        f"{_name(core.server_id)} {core.role.name.lower()} term={core.term}"
        f" vote={_name(core.voted_for)} commit={core.commit} log={_entries(local.entries())};"
        f" on disk: term={disk.hard_state.term} vote={_name(disk.hard_state.voted_for)}"
        f" log={_entries(disk.log)} applied={disk.applied}{write}"
    )


def _servers(space: Space, state: State) -> list[str]:
    return [f"      {_server(space.servers.locals[number])}" for number in state[0]]


def lines(space: Space, found: Found) -> list[str]:
    """The shortest way to what is wrong, one move a line, and the servers at its end."""
    shown_lines = [f"violation: {found.wrong}", "  0  start"]
    state = space.start()
    shown_lines += _servers(space, state)
    for number, (after, position, step, message) in enumerate(found.moves, 1):
        if message is None:
            what = f"s{position} {step.label}"
        else:
            what = f"{shown(space.post.messages[message])} {step.label}"
        shown_lines.append(f"{number:3}  {what}")
        lost = Counter(step.sent) + Counter(state[1]) - Counter(after[1])
        if message is not None:
            lost -= Counter([message])
        for sent in step.sent:
            gone = ""
            if lost[sent]:
                lost[sent] -= 1
                gone = " (lost, or nothing to anybody)"
            shown_lines.append(f"       sends {shown(space.post.messages[sent])}{gone}")
        state = after
    return [*shown_lines, "  at the end:", *_servers(space, state)]
