"""All of it wired together: machines, network, clients, and time that passes only by events."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from oned.raft.types import Configuration, Member, Role, ServerId
from oned.state import counters
from oned.state.bootstrap import bootstrap_change
from oned.state.entry import Change
from oned.state.zones import LOCAL_ZONE, Zone
from oned.storage.store import BOOTSTRAP_INDEX
from proof.sim.doors import DOORS
from proof.sim.ledger import Ledger, Reference
from proof.sim.loop import Agenda, Loop
from proof.sim.machine import Host, Machine, WatchedStore
from proof.sim.network import Network
from proof.sim.rules import Broken, Rules

ZONE_UUID = "5a1e5a1e-0000-4000-8000-000000000001"
SESSION = "oneadmin:secret"
ENDPOINT = "http://zone:2633/RPC2"
STEPS_AT_ONCE_MAX = 50_000
"""More steps than these in no time at all are a loop without an end."""

REMOVAL_SECONDS = 6.0
"""After a removal was asked for: it may not have been done yet."""

SILENT_SECONDS = 1.0
"""How often connections that are dead for long are looked for."""


class World:
    """One simulated zone.

    Args:
        seed: decides everything.
        servers: voters at the beginning, ``server-0`` and so on.
        directory: where snapshot files stand.
        tells: whether ``note`` keeps what happens.
    """

    def __init__(self, seed: int, servers: int, directory: Path, *, tells: bool = False) -> None:
        self.seed = seed
        self.agenda = Agenda()
        self.zone_uuid = ZONE_UUID
        self.notes: list[str] = []
        self.loops: list[Loop] = []
        self.trace = 0
        self.removed_at = float("-inf")
        self._tells = tells
        self._chances: dict[str, random.Random] = {}
        DOORS.world = self
        self.network = Network(self.agenda, self.chance("network"))
        self.clients = Host(self, "clients")
        self.outside = self.clients.loop
        self.machines: dict[str, Machine] = {}
        for number in range(servers):
            self.add_machine(f"server-{number}", directory)
        self.rules = self._found()
        self.network.on_send = self.rules.frame_sent
        for machine in self.machines.values():
            machine.disk.on_commit = partial(self.rules.image_made, machine)
        for machine in self.machines.values():
            machine.start()
        self._look_for_dead()

    def add_machine(self, name: str, directory: Path) -> Machine:
        home = directory / name
        home.mkdir(parents=True)
        self.machines[name] = Machine(self, name, home)
        return self.machines[name]

    def chance(self, purpose: str) -> random.Random:
        """A source of chance for one purpose, so that one more draw here moves nothing there."""
        found = self._chances.get(purpose)
        if found is None:
            found = self._chances[purpose] = random.Random(f"{self.seed} {purpose}")
        return found

    def set_chance(self, purpose: str, source: random.Random) -> random.Random:
        """Draw from another source from now on; the one so far."""
        before, self._chances[purpose] = self.chance(purpose), source
        return before

    def _found(self) -> Rules:
        """Write the zone's first state to all disks, as if a snapshot had brought it."""
        stores = {}
        for name, machine in self.machines.items():
            self.agenda.running = machine.loop
            stores[name] = WatchedStore(machine.directory / "one.db")
        members = tuple(
            Member(
                ServerId(number),
                name,
                self.machines[name].endpoint,
                self.machines[name].peer_endpoint,
                disk=store.facts.disk,
                voter=True,
            )
            for number, (name, store) in enumerate(stores.items())
        )
        change = _first_change(members)
        for each in members:
            self.agenda.running = self.machines[each.name].loop
            stores[each.name].bootstrap(
                change,
                zone_uuid=ZONE_UUID,
                server_id=each.server_id,
                configuration=Configuration(members),
            )
            stores[each.name].close()
        self.agenda.running = None
        content = self.machines[members[0].name].disk.durable.content
        return Rules(self, Ledger(Reference(content, BOOTSTRAP_INDEX)))

    # --- what can be asked ---------------------------------------------------------------

    def machine_at(self, address: str) -> Machine:
        """The machine of ``name:port`` or an endpoint."""
        return self.machines[address.removeprefix("http://").partition(":")[0]]

    def nodes(self) -> Iterator[tuple[Machine, Any]]:
        """Machines whose process runs, with its node."""
        for machine in self.machines.values():
            if machine.node is not None:
                yield machine, machine.node

    def leader(self) -> Machine | None:
        """Who leads the highest term."""
        leading = [
            (node.core.term, machine.name)
            for machine, node in self.nodes()
            if node.core.role is Role.LEADER
        ]
        return self.machines[max(leading)[1]] if leading else None

    def can_lose(self, victim: Machine) -> bool:
        """Whether the zone can do without one more disk, for all that is known to be true."""
        leader = self.leader()
        if self.agenda.now < self.removed_at + REMOVAL_SECONDS:
            return False
        if leader is None or leader.node is None or not leader.node.core.serving:
            return False
        core = leader.node.core
        if core.change_pending or core.configuration.named(victim.name) is None:
            return False
        voters = [m for m in core.configuration.members if m.voter]
        disks = [(self.machines[m.name].disk, m.disk) for m in voters]
        whole = sum(disk.durable.disk == bound and not disk.rotten for disk, bound in disks)
        return whole - 1 > len(voters) // 2

    def note(self, text: str) -> None:
        """Something worth telling: part of the trace."""
        line = f"{self.agenda.now:10.4f}  {text}"
        self.trace = zlib.crc32(line.encode(), self.trace)
        if self._tells:
            self.notes.append(line)

    # --- time ------------------------------------------------------------------------------

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        """Have something done by the world itself."""
        self.agenda.at(
            self.agenda.now + seconds,
            self.outside,
            asyncio.Handle(work, (), self.outside, None),
        )

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; whether ``until`` came true before it was over.

        Raises:
            Broken: a rule did not hold.
        """
        agenda, rules = self.agenda, self.rules
        end = agenda.now + seconds
        while True:
            loop = agenda.run_one(end)
            if loop is not None and loop.owner is not self.clients:
                rules.observe(loop.owner)
            if agenda.steps_at_once > STEPS_AT_ONCE_MAX:
                rules.broken("time passes", "a server never comes to rest")
            if rules.violation is not None:
                raise Broken(rules.violation)
            if until is not None and until():
                return True
            if loop is None:
                return False

    def _look_for_dead(self) -> None:
        self.network.give_up_silent()
        self.later(SILENT_SECONDS, self._look_for_dead)

    def end(self) -> None:
        """Nothing happens any more."""
        for loop in self.loops:
            loop.bury()
        DOORS.world = None


def _first_change(members: tuple[Member, ...]) -> Change:
    """What is in a zone's database when it has just grown to these members."""
    name, password = SESSION.split(":")
    change = bootstrap_change(
        oneadmin=(name, password),
        serveradmin_password="serveradmin",
        zone_endpoint=ENDPOINT,
        server=members[0],
        now=1,
    )
    scratch = Reference(b"", 0)
    for statement in change.statements:
        scratch.rows(statement.sql, statement.parameters)
    zone = Zone.load(scratch, LOCAL_ZONE)
    assert zone is not None
    for each in members[1:]:
        zone.add_server(
            each.server_id,
            {"NAME": each.name, "ENDPOINT": each.endpoint, "ENDPOINT_PEER": each.peer_endpoint},
        )
    last_id = counters.raise_to(counters.ZONE_SERVER, len(members) - 1)
    return change + Change((zone.update(), last_id))
