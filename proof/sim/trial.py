"""What can be done with a world, and asked of it: by faults, by exams, and by the run itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from oned.raft.machine import Raft
from oned.raft.progress import Flow
from oned.raft.types import Role
from proof.chaos import judgement
from proof.linearizability import Operation, Outcome
from proof.sim import faults
from proof.sim.clients import Crowd
from proof.sim.faults import Fault
from proof.sim.machine import HEARTBEAT, Machine
from proof.sim.network import Weather
from proof.sim.world import SESSION, World

HOSTILE_SECONDS = 14.0
CONVERGE_SECONDS = 30.0
"""Within that a healed zone is one again: elections, snapshots, promotions one after another."""

WRITE_TRIES = 40
RETRY_SECONDS = 0.2
ANSWERED_SECONDS = 8.0
"""A client gives a call up earlier."""


def _position(core: Raft) -> tuple[int, ...]:
    return core.term, core.commit, core.applied, core.log.last_index


class Trial:
    """What faults and exams can do with a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.crowd = Crowd(world, SESSION)
        self.faults: Counter[str] = Counter()

    # --- what can be asked -----------------------------------------------------------------

    def leader(self) -> Machine:
        leader = self.world.leader()
        if leader is None:
            self.world.rules.broken("a leader is there", "nobody leads")
        assert leader is not None
        return leader

    @staticmethod
    def leads(machine: Machine) -> bool:
        return machine.node is not None and machine.node.core.role is Role.LEADER

    def has_leader(self) -> bool:
        """Whether somebody leads and serves whom nobody else outvotes."""
        leader = self.world.leader()
        return leader is not None and leader.node is not None and leader.node.core.serving

    def is_one(self) -> bool:
        """Whether all machines are voters with equal logs, all of it applied, and the leader knows.

        It does not yet when the end of a snapshot's stream was lost, until it tries again.
        """
        leader = self.world.leader()
        if leader is None or leader.node is None or not leader.node.core.serving:
            return False
        core = leader.node.core
        if core.change_pending or len(core.voters) < len(self.world.machines):
            return False
        lately = leader.clock.monotonic(self.world.agenda.now) - 3 * HEARTBEAT
        assert core.leadership is not None
        if any(
            (p.last_reply or 0.0) < lately or p.flow is not Flow.REPLICATE
            for p in core.leadership.progress.values()
        ):
            return False
        where = (core.term, *[core.log.last_index] * 3)
        return all(
            machine.node is not None
            and not machine.stopping
            and _position(machine.node.core) == where
            for machine in self.world.machines.values()
        )

    # --- what can be done ------------------------------------------------------------------

    def ask(self, method: str, *arguments: object) -> None:
        """An administrator's call to whoever leads; whatever it is told."""
        leader = self.world.leader()
        if leader is None:
            return
        endpoint = leader.endpoint
        self.crowd.beside(lambda: self.crowd.caller.call(endpoint, method, *arguments))

    def add_server(self, name: str) -> None:
        """Add a server to the zone, unless it is a member."""
        leader = self.world.leader()
        if leader is None or leader.node is None:
            return
        if leader.node.core.configuration.named(name) is None:
            machine = self.world.machines[name]
            self.ask(
                "one.zone.addserver",
                0,
                f'SERVER = [ NAME = "{name}", ENDPOINT = "{machine.endpoint}",'
                f' ENDPOINT_PEER = "{machine.peer_endpoint}" ]',
            )

    def burst(self, machine: Machine, count: int) -> None:
        """Many allocations at once at one server."""
        for _ in range(count):
            client = self.crowd.client()
            client.stay_at(machine.endpoint)
            self.crowd.begin(client.allocate())

    def isolate(self, machine: Machine) -> None:
        """Cut all that goes from or to a machine's peers."""
        others = [name for name in sorted(self.world.machines) if name != machine.name]
        pairs = [(machine.name, other) for other in others]
        self.world.network.set_cut({*pairs, *((b, a) for a, b in pairs)})

    def write(self) -> None:
        """One write that must be acknowledged, by whom it takes."""
        for _ in range(WRITE_TRIES):
            client = self.crowd.client()
            client.stay_at(self.leader().endpoint)
            self.crowd.begin(client.allocate())
            told: list[Operation] = []

            def answered(number: int = client.number, told: list[Operation] = told) -> bool:
                last = self.crowd.records.allocations[-1:]
                told.extend(o for o in last if o.client == number)
                return bool(told)

            self.wait(ANSWERED_SECONDS, answered, "a call is answered")
            if told[0].outcome is Outcome.OK:
                return
            self.world.run(RETRY_SECONDS)
        self.world.rules.broken("a healed zone takes writes", "it refused one again and again")

    def wait(self, seconds: float, condition: Callable[[], bool], rule: str) -> None:
        """Let time pass until it is so; a violation when that takes longer."""
        if not self.world.run(seconds, condition):
            self.world.rules.broken(rule, f"not within {seconds:.2f} s; {self.describe()}")

    def count(self, wanted: Callable[[bytes], bool]) -> Callable[[], int]:
        """Count the frames that are sent from now on."""
        found = [0]
        before = self.world.network.on_frame

        def on_frame(sender: str, receiver: str, data: bytes) -> None:
            found[0] += wanted(data)
            before(sender, receiver, data)

        self.world.network.on_frame = on_frame
        return lambda: found[0]

    def describe(self) -> str:
        """Where each server stands."""
        return "; ".join(
            f"{m.name} "
            + (
                "down"
                if m.node is None
                else f"{m.node.core.role.name.lower()} term {m.node.core.term} commit"
                f" {m.node.core.commit} applied {m.node.core.applied} last"
                f" {m.node.core.log.last_index} base {m.node.core.log.base_index} voters"
                f" {sorted(m.node.core.voters)}"
            )
            for _, m in sorted(self.world.machines.items())
        )

    # --- phases ----------------------------------------------------------------------------

    def suffer(self, plan: Sequence[Fault]) -> None:
        """The hostile phase."""
        for fault in plan:
            self.world.later(fault.at, lambda fault=fault: self._begin(fault))  # type: ignore[misc]
        self.world.run(HOSTILE_SECONDS)

    def _begin(self, fault: Fault) -> None:
        chance = random.Random(f"{self.world.seed} fault {fault.number}")
        self.world.note(f"fault {fault}")
        self.faults[fault.kind] += 1
        stop = faults.KINDS[fault.kind](self, chance)
        if stop is not None:
            self.world.later(fault.seconds, lambda: self._end(fault, stop))

    def _end(self, fault: Fault, stop: Callable[[], object]) -> None:
        if self.world.agenda.now < HOSTILE_SECONDS:
            self.world.note(f"fault {fault.number} ends")
            stop()

    def heal(self) -> None:
        """Take every fault away."""
        world = self.world
        world.note("everything heals")
        world.network.set_cut(set())
        world.network.weather = Weather()
        for machine in world.machines.values():
            machine.disk.mend()
            machine.resume()
            machine.start()

    def converge(self) -> None:
        """All machines are members again, and the zone is one."""
        end = self.world.agenda.now + CONVERGE_SECONDS
        while self.world.agenda.now < end:
            if self.world.run(1.0, self.is_one):
                break
            for name, machine in sorted(self.world.machines.items()):
                machine.start()
                self.add_server(name)
        else:
            self.world.rules.broken("a healed zone becomes one", self.describe())
        for machine in self.world.machines.values():
            assert machine.node is not None
            self.world.rules.compare(machine, machine.node.core.applied)

    def settle(self) -> None:
        """Clients finish, and the zone becomes one."""
        self.crowd.stop()
        self.wait(CONVERGE_SECONDS, lambda: self.crowd.done, "a call is answered")
        self.converge()

    def judge(self) -> None:
        """The clients' histories, with a last look at everything."""
        reader = self.crowd.client()
        reader.stay_at(self.leader().endpoint)
        records = self.crowd.records
        for history, read in ((records.registers, reader.read), (records.sets, reader.read_set)):
            for document in sorted({int(str(operation.key)) for operation in history}):
                self.crowd.begin(read(document))
        self.wait(ANSWERED_SECONDS, lambda: self.crowd.done, "a call is answered")
        rows = self.world.rules.ledger.reference.rows("SELECT name, oid FROM document_pool")
        documents = {str(name): int(oid or 0) for name, oid in rows}
        for wrong in judgement.allocated(records.allocations, documents):
            self.world.rules.broken("outcomes are honest", wrong)
        committed = b"".join(self.world.rules.ledger.data)
        for operation in (*records.registers, *records.sets):
            if operation.outcome is Outcome.FAILED and operation.argument:
                if f"[{operation.argument}]".encode() in committed:
                    self.world.rules.broken("outcomes are honest", f"failed, but done: {operation}")
        for wrong in judgement.judge(records):
            self.world.rules.broken("histories are linearizable", wrong)
