"""More traps: what a read must not show, although an answer came in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proof.sim.exams import ELECTED, TIMEOUT
from proof.sim.machine import HEARTBEAT, Machine
from proof.sim.situations import cut_between, hand_over, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

FIVE = 5
READS = 12
DELIVERED = 0.0025
"""Longer than a message takes in good weather."""


def _register(trial: Trial) -> int | None:
    registers = trial.crowd.records.registers
    return int(str(registers[-1].key)) if registers else None


def _write(trial: Trial, document: int, value: str) -> None:
    """One write of a register, at whoever leads; it may take its time."""
    client = trial.crowd.client()
    client.stay_at(trial.leader().endpoint)
    trial.crowd.begin(client.write(document, f"{client.number}{value}"))


def _read(trial: Trial, machine: Machine, document: int) -> None:
    client = trial.crowd.client()
    client.stay_at(machine.endpoint)
    trial.crowd.begin(client.read(document))


def round_of_before(trial: Trial) -> None:
    """A round that was answered before a read began proves nothing for it."""
    document = _register(trial)
    if document is None:
        return
    leader = trial.leader()
    successor, *rest = others(trial, leader)
    trial.write()
    trial.world.run(HEARTBEAT)
    trial.world.network.set_cut({(m.name, leader.name) for m in (successor, *rest)})
    trial.world.run(1.2 * HEARTBEAT)
    hand_over(leader, successor)
    trial.world.run(TIMEOUT / 3, lambda: trial.leads(successor) and trial.has_leader())
    if not trial.leads(successor):
        trial.world.network.set_cut(set())
        return
    _write(trial, document, "r")
    trial.world.run(0.02)
    for _ in range(READS):
        _read(trial, leader, document)
    trial.world.run(2 * DELIVERED)
    trial.world.network.set_cut({(successor.name, leader.name)})
    trial.world.run(HEARTBEAT)
    trial.world.network.set_cut(set())
    trial.wait(10 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


def beside_a_former_leader(trial: Trial) -> None:
    """A follower whose leader has a successor by now learns nothing from it."""
    document = _register(trial)
    if document is None or len(trial.world.machines) < FIVE:
        return
    leader = trial.leader()
    successor, follower, *rest = others(trial, leader)
    trial.write()
    trial.world.run(HEARTBEAT)
    hand_over(leader, successor)
    trial.world.run(DELIVERED)
    trial.world.network.set_cut(cut_between([leader, follower], [successor, *rest]))
    trial.world.run(TIMEOUT / 3, lambda: trial.leads(successor) and trial.has_leader())
    if trial.leads(successor):
        _write(trial, document, "b")
        trial.world.run(0.02)
    for _ in range(READS):
        _read(trial, follower, document)
        trial.world.run(0.02)
    trial.world.network.set_cut(set())
    trial.wait(10 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


def answer_of_before(trial: Trial) -> None:
    """An answer that was on its way when a read began says nothing of what came between."""
    document = _register(trial)
    if document is None:
        return
    leader = trial.leader()
    follower = others(trial, leader)[0]
    trial.world.run(3 * HEARTBEAT)
    trial.world.network.set_cut({(leader.name, follower.name)})
    trial.world.run(1.5 * HEARTBEAT)
    _write(trial, document, "a")
    trial.world.run(0.02)
    for _ in range(READS):
        _read(trial, follower, document)
    trial.world.run(2 * DELIVERED)
    trial.world.network.set_cut(set())
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.wait(10 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


TRAPS = {
    "round-of-before": round_of_before,
    "beside-a-former-leader": beside_a_former_leader,
    "answer-of-before": answer_of_before,
}
