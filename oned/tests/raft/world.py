"""A seeded world for the core: a lossy network, disks that forget what was not written, crashes.

The core under test is the shipped one; what is simulated is only what it leaves to its
driver. After every event the promises of Raft are checked over all servers at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from oned.raft.errors import RaftError
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import Message
from oned.raft.timing import Options
from oned.raft.types import (
    Configuration,
    Entry,
    HardState,
    Index,
    Member,
    Role,
    ServerId,
    Term,
)
from oned.raft.writes import Write

BASE = Index(1)


class Disk:
    """What a server has made durable: hard state, log, and the entries it applied."""

    def __init__(self, configuration: Configuration, *, initialised: bool = True) -> None:
        self.hard_state = HardState()
        self.log: dict[Index, Entry] = {}
        self.base = (BASE, Term(0)) if initialised else (Index(0), Term(0))
        self.base_configuration = configuration
        self.applied = self.base[0]
        self.tables: list[bytes] = []
        self.initialised = initialised

    def entries(self, first: Index, last: Index, max_bytes: int) -> Sequence[Entry]:
        return [self.log[Index(i)] for i in range(first, last + 1)]

    def term_at(self, index: Index) -> Term:
        return self.log[index].term

    def write(self, write: Write) -> None:
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.truncate_from is not None:
            assert write.truncate_from > self.applied, "an applied entry would be removed"
            for index in [i for i in self.log if i >= write.truncate_from]:
                del self.log[index]
        for entry in write.entries:
            assert entry.index not in self.log, "an entry would be overwritten"
            self.log[entry.index] = entry
        for index in range(self.applied + 1, write.apply_to + 1):
            self.tables.append(self.log[Index(index)].data)
        self.applied = Index(max(self.applied, write.apply_to))

    def last(self) -> tuple[Index, Term]:
        if not self.log:
            return self.base
        last = self.log[max(self.log)]
        return last.index, last.term


class Server:
    """One core with its disk, and at most one write under way."""

    def __init__(self, world: World, server_id: ServerId, disk: Disk) -> None:
        self.world, self.server_id, self.disk = world, server_id, disk
        self.under_way: Write | None = None
        self.start()

    def start(self) -> None:
        disk = self.disk
        last_index, last_term = disk.last()
        changes = [(e.index, e.configuration) for e in disk.log.values() if e.configuration]
        self.under_way = None
        self.core = Raft(
            server_id=self.server_id,
            hard_state=disk.hard_state,
            log=Log(
                disk,
                base_index=disk.base[0],
                base_term=disk.base[1],
                last_index=last_index,
                last_term=last_term,
                configurations=[(disk.base[0], disk.base_configuration), *sorted(changes)],
            ),
            applied=disk.applied,
            initialised=disk.initialised,
            solo=False,
            options=Options(election_timeout=1.0, heartbeat=0.15, commit_delay=0.0),
            random=self.world.random.random,
            now=self.world.now,
        )

    def flush(self) -> None:
        """Send what may go, and begin the next write."""
        self.world.post(self.core.take_messages())
        if self.under_way is None:
            self.under_way = self.core.take_write()

    def finish_write(self) -> None:
        write, self.under_way = self.under_way, None
        if write is not None:
            self.disk.write(write)
            self.core.written(self.world.now, write)
            self.world.post(write.messages)
            self.flush()


class World:
    """Servers, a network that loses, delays, repeats and reorders, and what must hold."""

    def __init__(self, seed: int, servers: int = 3, *, loss: float = 0.05) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        self.loss = loss
        self.network: list[tuple[float, Message]] = []
        self.cut: set[ServerId] = set()
        members = tuple(
            Member(ServerId(i), f"server-{i}", "", "", f"disk-{i}", voter=True)
            for i in range(servers)
        )
        self.servers = {
            m.server_id: Server(self, m.server_id, Disk(Configuration(members))) for m in members
        }
        self.down: set[ServerId] = set()
        self.leaders: dict[Term, ServerId] = {}
        self.committed: dict[Index, Entry] = {}
        self.proposed = 0

    # --- what happens --------------------------------------------------------------

    def post(self, messages: Sequence[Message]) -> None:
        for message in messages:
            copies = self.random.choices((0, 1, 2), (self.loss, 1 - self.loss, self.loss / 2))[0]
            for _ in range(copies):
                self.network.append((self.now + self.random.uniform(0.001, 0.05), message))

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps, in which everything that is due happens."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.01
            due = [m for at, m in self.network if at <= self.now]
            self.network = [(at, m) for at, m in self.network if at > self.now]
            self.random.shuffle(due)
            for message in due:
                self.deliver(message)
            for server in self.live():
                if self.now >= server.core.deadline():
                    server.core.tick(self.now)
                if self.random.random() < 0.8:
                    server.finish_write()
                server.flush()
            self.check()

    def deliver(self, message: Message) -> None:
        server = self.servers.get(message.to)
        if server is None or message.to in self.down:
            return
        if message.to in self.cut or message.sender in self.cut:
            return
        server.core.receive(self.now, message)

    def propose(self) -> None:
        leader = self.leader()
        if leader is not None:
            self.proposed += 1
            leader.core.propose([(f"{self.proposed}".encode(), None)])

    def change(self, configuration: Configuration) -> bool:
        leader = self.leader()
        try:
            if leader is not None:
                leader.core.propose([(b"", configuration)])
        except RaftError:
            return False
        return leader is not None

    def crash(self, server_id: ServerId) -> None:
        """The server stops; a write under way is kept whole or lost whole."""
        server = self.servers[server_id]
        if server.under_way is not None and self.random.random() < 0.5:
            server.disk.write(server.under_way)
        self.down.add(server_id)

    def restart(self, server_id: ServerId) -> None:
        self.down.discard(server_id)
        self.servers[server_id].start()

    def heal(self) -> None:
        self.loss, self.cut = 0.0, set()
        for server_id in list(self.down):
            self.restart(server_id)

    # --- what can be seen ----------------------------------------------------------

    def live(self) -> list[Server]:
        return [s for i, s in self.servers.items() if i not in self.down]

    def leader(self) -> Server | None:
        leading = [s for s in self.live() if s.core.role is Role.LEADER]
        return max(leading, key=lambda s: s.core.term) if leading else None

    def until_leader(self, seconds: float = 20.0) -> Server:
        end = self.now + seconds
        while self.now < end:
            leader = self.leader()
            if leader is not None and leader.core.serving:
                return leader
            self.advance(0.05)
        raise AssertionError(f"no leader within {seconds} s")

    # --- what must hold ------------------------------------------------------------

    def check(self) -> None:
        for server in self.servers.values():
            core, disk = server.core, server.disk
            if core.role is Role.LEADER and server.server_id not in self.down:
                first = self.leaders.setdefault(core.term, server.server_id)
                assert first == server.server_id, f"two leaders in term {core.term}"
                for index, entry in self.committed.items():
                    held = core.log.term_at(index)
                    assert held in (None, entry.term) or core.term < entry.term, "leader lacks it"
            for index in range(BASE + 1, disk.applied + 1):
                entry = disk.log.get(Index(index))
                if entry is not None:
                    known = self.committed.setdefault(Index(index), entry)
                    assert known == entry, f"two entries applied at {index}"
