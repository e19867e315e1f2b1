"""More traps: a leader that does not know yet that it is none shows nothing that is old."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from typing_extensions import override

from proof.sim.exams import TIMEOUT
from proof.sim.faults import DRIFT
from proof.sim.machine import HEARTBEAT, Machine
from proof.sim.situations import hand_over, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

LOW_DRAWS = 0.03
READ_SECONDS = 0.008
READS_AT_ONCE = 6
ROUNDS = 3


class _LowDraws(random.Random):
    """Draws that are as good as any other, and low: elections come as soon as they may."""

    @override
    def random(self) -> float:
        return LOW_DRAWS * super().random()


def end_of_a_lease(trial: Trial) -> None:
    """With the slowest clock that may be, a lease ends before another leader can be elected."""
    registers = trial.crowd.records.registers
    if not registers:
        return
    leader = trial.leader()
    for machine in trial.world.machines.values():
        rate = 1 - DRIFT if machine is leader else 1 + DRIFT
        machine.clock.set_rate(rate, trial.world.agenda.now)
    before = trial.world.set_chance("process", _LowDraws(trial.world.seed))
    try:
        trial.world.run(3 * HEARTBEAT)
        trial.isolate(leader)
        trial.world.run(0.8 * TIMEOUT)
        _read_and_write(trial, leader, int(str(registers[-1].key)), 0.4 * TIMEOUT)
    finally:
        trial.world.set_chance("process", before)
    trial.world.network.set_cut(set())
    trial.wait(10 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


def reads_at_a_former_leader(trial: Trial) -> None:
    """A leader that is cut off, by time, a pause or a hand-over, shows nothing that is old."""
    registers = trial.crowd.records.registers
    if not registers:
        return
    document = int(str(registers[-1].key))
    for seed in range(trial.world.seed, trial.world.seed + ROUNDS):
        _read_at_a_former_leader(trial, document, seed)
        trial.converge()


def _read_at_a_former_leader(trial: Trial, document: int, seed: int) -> None:
    leader, now = trial.leader(), trial.world.agenda.now
    for machine in trial.world.machines.values():
        machine.clock.set_rate(1 - DRIFT if machine is leader else 1 + DRIFT, now)
    match seed % 4:
        case 0:
            trial.world.run(HEARTBEAT * 1.1)
            leader.pause()
            trial.world.run(1.5 * TIMEOUT)
            trial.isolate(leader)
            leader.resume()
            _read_and_write(trial, leader, document, 0.5 * TIMEOUT)
        case 1:
            hand_over(leader, others(trial, leader)[seed // 4 % 2])
            trial.world.run(0.0003)
            trial.world.network.set_cut({(o.name, leader.name) for o in others(trial, leader)})
            _read_and_write(trial, leader, document, 1.2 * TIMEOUT)
        case _:
            trial.isolate(leader)
            trial.world.run(0.85 * TIMEOUT)
            _read_and_write(trial, leader, document, 0.5 * TIMEOUT)
    trial.world.network.set_cut(set())
    trial.wait(10 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


def _read_and_write(trial: Trial, former: Machine, document: int, seconds: float) -> None:
    """Read at one server all the time, and write at whoever leads beside it."""
    world = trial.world
    reader, writer = trial.crowd.client(), trial.crowd.client()
    end, reading, writes = world.agenda.now + seconds, [0], [0, 0]

    async def read() -> None:
        reading[0] += 1
        await reader.read(document)
        reading[0] -= 1

    async def write() -> None:
        writes[0] += 1
        await writer.write(document, f"{writer.number}y{writes[0]}")
        writes[1] += 1

    while world.agenda.now < end:
        if reading[0] < READS_AT_ONCE:
            reader.stay_at(former.endpoint)
            trial.crowd.begin(read())
        leader = world.leader()
        serves = leader is not None and leader is not former and trial.has_leader()
        if leader is not None and serves and writes[0] == writes[1]:
            writer.stay_at(leader.endpoint)
            trial.crowd.begin(write())
        world.run(READ_SECONDS)


TRAPS = {
    "end-of-a-lease": end_of_a_lease,
    "reads-at-a-former-leader": reads_at_a_former_leader,
}
