"""A zone of shipped cores in which nothing happens by itself, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from world import Server

from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    Message,
    ReadIndexReply,
    ReadIndexRequest,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.types import (
    NO_SERVER,
    Entry,
    Index,
    Role,
    ServerId,
    Term,
)

SHOWN = 6
"""Rows of a table that are listed; more are counted."""

ROUNDS = 100
"""Deliveries of everything in flight, after which a zone that does not settle is a failure."""


def name(server_id: int) -> str:
    return f"s{server_id}" if server_id != NO_SERVER else "-"


def server_id_of(word: str) -> ServerId:
    assert word[0] == "s", f"{word} is no server"
    return ServerId(int(word[1:]))


def at(index: int, term: int) -> str:
    return f"{index}/{term}"


def runs(terms: Sequence[tuple[int, int]]) -> str:
    """Entries by index and term, equal terms joined: ``2-4/1 5/2``."""
    parts: list[tuple[int, int, int]] = []
    for index, term in terms:
        if parts and parts[-1][1] == index - 1 and parts[-1][2] == term:
            parts[-1] = (parts[-1][0], index, term)
        else:
            parts.append((index, index, term))
    return " ".join(f"{a}/{t}" if a == b else f"{a}-{b}/{t}" for a, b, t in parts)


def kind(message: Message) -> str:
    match message:
        case VoteRequest():
            return "pre-vote" if message.pre else "vote"
        case VoteReply():
            return "pre-vote-reply" if message.pre else "vote-reply"
        case AppendRequest():
            return "append" if message.entries else "heartbeat"
        case AppendReply():
            return "reply"
        case TimeoutNow():
            return "timeout-now"
        case SnapshotOffer():
            return "offer"
        case ReadIndexRequest():
            return "read-index"
        case ReadIndexReply():
            return "read-index-reply"


def shown(message: Message) -> str:
    """A message in one line; ``3/2`` is the entry at index 3 of term 2."""
    head = f"{name(message.sender)}>{name(message.to)} {kind(message)} term={message.term}"
    match message:
        case VoteRequest():
            asked = " by-transfer" if message.transfer else ""
            return f"{head} last={at(message.last_index, message.last_term)}{asked}"
        case VoteReply():
            return f"{head} {'granted' if message.granted else 'denied'}"
        case AppendRequest():
            entries = runs([(e.index, e.term) for e in message.entries])
            sent = f" entries=[{entries}]" if entries else ""
            previous = at(message.prev_index, message.prev_term)
            return f"{head} after={previous}{sent} commit={message.commit}"
        case AppendReply(success=True):
            return f"{head} ok index={message.index}"
        case AppendReply():
            look = at(message.index, message.hint_term)
            return f"{head} refused={message.rejected} try={look}"
        case ReadIndexReply():
            return f"{head} index={message.index}"
        case _:
            return head


class Fixed:
    """The random part of every timeout, as the scenario sets it."""

    def __init__(self) -> None:
        self.value = 0.5

    def random(self) -> float:
        return self.value


class Stage:
    """A zone of shipped cores, a network that waits for commands, and the clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.random = Fixed()
        self.servers: dict[ServerId, Server] = {}
        self.network: list[Message] = []
        self.held: list[Message] = []
        self.cuts: set[tuple[ServerId, ServerId]] = set()
        self.down: set[ServerId] = set()
        self.slow: set[ServerId] = set()
        self.leaders: dict[Term, ServerId] = {}
        self.committed: dict[Index, Entry] = {}
        self.tickets: dict[ServerId, list[int]] = {}

    # --- what a command names ------------------------------------------------------

    def server(self, word: str) -> Server:
        return self.servers[server_id_of(word)]

    def chosen(self, words: Sequence[str]) -> list[Message]:
        """The messages in flight on a link (``s1>s2``, ``s1>``, ``>s2``, ``all``), of a kind."""
        link, *kinds = words
        sender, _, to = ("", "", "") if link == "all" else link.partition(">")
        found = [
            m
            for m in self.network
            if sender in ("", name(m.sender))
            and to in ("", name(m.to))
            and (not kinds or kind(m) in kinds)
        ]
        assert found, f"nothing in flight: {' '.join(words)}"
        return found

    # --- what a driver does --------------------------------------------------------

    def post(self, messages: Sequence[Message]) -> None:
        self.network.extend(messages)

    def settle(self) -> None:
        """Every server sends what it may and, unless its disk is slow, writes what it must."""
        for server in self.servers.values():
            if server.server_id in self.down:
                continue
            server.flush()
            while server.under_way is not None and server.server_id not in self.slow:
                server.finish_write()

    def take(self, message: Message) -> None:
        self.network = [m for m in self.network if m is not message]

    def arrive(self, message: Message) -> str:
        self.take(message)
        line = shown(message)
        if (message.sender, message.to) in self.cuts or message.to in self.down:
            return f"{line} (lost)"
        if message.to not in self.servers:
            return f"{line} (nobody)"
        self.servers[message.to].core.receive(self.now, message)
        self.settle()
        return line

    def stabilize(self) -> Iterator[str]:
        for _ in range(ROUNDS):
            if not self.network:
                return
            for message in list(self.network):
                yield self.arrive(message)
        raise AssertionError("the zone does not settle")

    # --- what is seen --------------------------------------------------------------

    def state(self, server: Server) -> str:
        if server.server_id in self.down:
            return f"{name(server.server_id)} down"
        core, disk = server.core, server.disk
        indexes = range(core.log.base_index, core.log.last_index + 1)
        log = runs([(i, core.log.term_at(Index(i)) or 0) for i in indexes])
        rows = [t.decode() for t in disk.tables if t] or ["-"]
        tables = ",".join(rows) if len(rows) <= SHOWN else f"{len(rows)} rows, last {rows[-1]}"
        return (
            f"{name(server.server_id)} {core.role.name.lower()} term={core.term} "
            f"vote={name(core.voted_for)} leader={name(core.leader_id)} commit={core.commit} "
            f"log=[{log}] tables={tables}"
        )

    def check(self) -> None:
        """Election safety, leader completeness and one entry at an applied index, always."""
        for server in self.servers.values():
            core, disk = server.core, server.disk
            for index in range(disk.base[0] + 1, disk.applied + 1):
                entry = disk.log.get(Index(index))
                if entry is not None:
                    known = self.committed.setdefault(Index(index), entry)
                    assert known == entry, f"two entries applied at {index}"
            if core.role is Role.LEADER and server.server_id not in self.down:
                first = self.leaders.setdefault(core.term, server.server_id)
                assert first == server.server_id, f"two leaders in term {core.term}"
                for index, entry in self.committed.items():
                    held = core.log.term_at(index)
                    assert (
                        index <= core.log.base_index or held == entry.term or core.term < entry.term
                    ), f"{name(server.server_id)} leads term {core.term} without entry {index}"
