"""Situations that a mistake needs to do harm, and that chance alone hardly ever makes.

Each is an exam (``exams``): a healed zone goes through it, the rules look on, and it must be as one
again. Most come from the papers, or from a mutant (``proof.mutants``) that got away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oned.node import membership
from oned.raft.messages import AppendRequest
from oned.raft.progress import Flow
from oned.raft.types import Entry, Index
from proof.sim import (
    traps_of_leases,
    traps_of_logs,
    traps_of_members,
    traps_of_reads,
    traps_of_snapshots,
)
from proof.sim.exams import ELECTED, HANDED_OVER, STEPPED_DOWN, TIMEOUT, refusals_of
from proof.sim.faults import DRIFT
from proof.sim.machine import HEARTBEAT, Machine
from proof.sim.situations import another_leads, cut_between, hand_over, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

TAIL_ENTRIES = 24
"""Entries of a leader that is cut off: as many as are not compacted before it is back."""

REFUSALS_MAX = 8
NEVER_CAUGHT_UP = 0
"""In place of CAUGHT_UP_ENTRIES: a learner stays one."""

RESIGNED = 1.0 / (1 - DRIFT) + HEARTBEAT
"""A leader whose disk does not answer resigns within a second by its clock."""


def _cut_off_with_a_tail(trial: Trial) -> Machine:
    """The leader, alone with many entries that nobody else has; the others have another one."""
    leader = trial.leader()
    trial.isolate(leader)
    trial.burst(leader, TAIL_ENTRIES + 12)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(leader), "a cut-off leader steps down")
    another_leads(trial, leader)
    return leader


def long_divergence(trial: Trial) -> None:
    """Where two logs part long before their ends, that is found in few refusals."""
    former = _cut_off_with_a_tail(trial)
    second = trial.leader()
    trial.burst(second, TAIL_ENTRIES)
    trial.world.run(0.3)
    third = next(m for m in others(trial, second) if m is not former)
    hand_over(second, third)
    trial.wait(
        TIMEOUT + HANDED_OVER,
        lambda: trial.has_leader() and trial.leader() is not second,
        "a leader is elected",
    )
    refused = trial.count(refusals_of(former))
    trial.world.network.set_cut(set())
    trial.converge()
    if refused() > REFUSALS_MAX:
        trial.world.rules.broken("a log is repaired in few steps", f"{refused()} refusals")


def longer_log(trial: Trial) -> None:
    """A log that is only longer wins no election against one that ends in a later term."""
    former = _cut_off_with_a_tail(trial)
    second = trial.leader()
    for _ in range(3):
        trial.write()
    second.crash(power_lost=False)
    trial.world.network.set_cut(set())
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()
    second.start()
    assert former.up


def unfinished_entry(trial: Trial) -> None:
    """A leader dies with an entry that few have; it is committed by a later one, or never."""
    leader = trial.leader()
    trial.isolate(leader)
    trial.burst(leader, 3)
    trial.world.run(0.05)
    leader.crash(power_lost=False)
    trial.world.network.set_cut(set())
    leader.start()
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.world.run(TIMEOUT)


def disk_of_the_leader(trial: Trial) -> None:
    """A leader whose disk is full, broken or stuck gives way to one whose disk works."""
    leader = trial.leader()
    match trial.world.seed // 7 % 3:
        case 0:
            leader.disk.full = True
        case 1:
            leader.disk.broken = True
        case _:
            leader.disk.sync_seconds = 4.0
    trial.burst(leader, 1)
    trial.wait(RESIGNED, lambda: not trial.leads(leader), "a leader without its disk resigns")
    another_leads(trial, leader)
    trial.write()
    leader.disk.mend()
    leader.start()


def successor_behind(trial: Trial) -> None:
    """A successor that is behind is given the log first, and then takes over at once."""
    leader = trial.leader()
    successor = others(trial, leader)[0]
    trial.isolate(successor)
    for _ in range(5):
        trial.write()
    network = trial.world.network
    network.reset(lambda c: successor.name in (c.near.host, c.far.host))
    network.set_cut(set())

    def meet() -> bool:
        assert leader.peers is not None
        return leader.peers.link(successor.name) is not None

    trial.wait(2 * TIMEOUT, meet, "servers meet again")
    hand_over(leader, successor)
    trial.wait(
        HANDED_OVER,
        lambda: trial.has_leader() and trial.leader() is not leader,
        "a hand-over needs no election timeout",
    )


def hand_over_in_vain(trial: Trial) -> None:
    """A leader whose successor does not take over goes on."""
    leader = trial.leader()
    successor = others(trial, leader)[0]
    successor.pause()
    hand_over(leader, successor)
    trial.world.run(1.2 * TIMEOUT)
    trial.write()
    successor.resume()


def alike_machines(trial: Trial) -> None:
    """Where all clocks run alike, two candidates do not stand in each other's way for ever."""
    for machine in trial.world.machines.values():
        machine.clock.set_rate(1.0, trial.world.agenda.now)
    trial.world.run(2 * TIMEOUT)
    leader = trial.leader()
    leader.crash(power_lost=False)
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()
    leader.start()


@contextmanager
def _learner(trial: Trial) -> Iterator[Machine]:
    """A server that has copied the zone after its disk was lost, and gets no vote meanwhile."""
    victim = others(trial, trial.leader())[0]
    victim.wipe()
    victim.start()

    def is_learner() -> bool:
        leader = trial.world.leader()
        core = None if leader is None or leader.node is None else leader.node.core
        if core is None or core.leadership is None or victim.node is None:
            return False
        own = victim.node.core
        progress = core.leadership.progress.get(own.server_id)
        return (
            own.initialised
            and own.server_id not in own.voters | core.voters
            and progress is not None
            and progress.flow is Flow.REPLICATE
        )

    shipped, membership.CAUGHT_UP_ENTRIES = membership.CAUGHT_UP_ENTRIES, NEVER_CAUGHT_UP
    try:
        trial.wait(15.0, is_learner, "a lost disk is replaced")
        yield victim
    finally:
        membership.CAUGHT_UP_ENTRIES = shipped


def learner_without_a_leader(trial: Trial) -> None:
    """A learner does not stand for election, however long there is no leader."""
    with _learner(trial):
        leader = trial.leader()
        leader.crash(power_lost=False)
        trial.world.run(0.3)
        leader.start()
        trial.wait(2 * ELECTED, trial.has_leader, "a leader is elected")


def learner_and_no_quorum(trial: Trial) -> None:
    """Nothing is committed by a leader and learners alone."""
    with _learner(trial) as learner:
        leader = trial.leader()
        voters = [m for m in others(trial, leader) if m is not learner]
        trial.world.network.set_cut(cut_between([leader], voters))
        trial.burst(leader, 2)
        trial.world.run(TIMEOUT)
        trial.world.network.set_cut(set())


def impostor(trial: Trial) -> None:
    """A member that sends in the leader's name is not heard."""
    leader = trial.leader()
    liar, victim = others(trial, leader)[:2]
    assert leader.node is not None
    assert liar.peers is not None
    assert victim.node is not None
    core = leader.node.core
    link = liar.peers.link(victim.name)
    if link is None:
        return
    last = core.log.last_index
    forged = AppendRequest(
        term=core.term,
        sender=core.server_id,
        to=victim.node.core.server_id,
        prev_index=last,
        prev_term=core.log.last_term,
        entries=(Entry(Index(last + 1), core.term, b""),),
        commit=Index(last + 1),
        round=0,
    )
    liar.do(lambda: link.send(forged))
    trial.world.run(3 * HEARTBEAT)
    trial.write()


def added_again(trial: Trial) -> None:
    """A server that is a member already is not added once more."""
    for machine in others(trial, trial.leader()):
        trial.ask(
            "one.zone.addserver",
            0,
            f'SERVER = [ NAME = "{machine.name}", ENDPOINT = "{machine.endpoint}",'
            f' ENDPOINT_PEER = "{machine.peer_endpoint}" ]',
        )
        trial.world.run(0.5)


TRAPS: dict[str, Callable[[Trial], None]] = {
    **traps_of_leases.TRAPS,
    **traps_of_logs.TRAPS,
    **traps_of_members.TRAPS,
    **traps_of_reads.TRAPS,
    **traps_of_snapshots.TRAPS,
    "long-divergence": long_divergence,
    "longer-log": longer_log,
    "unfinished-entry": unfinished_entry,
    "disk-of-the-leader": disk_of_the_leader,
    "successor-behind": successor_behind,
    "hand-over-in-vain": hand_over_in_vain,
    "alike-machines": alike_machines,
    "learner-without-a-leader": learner_without_a_leader,
    "learner-and-no-quorum": learner_and_no_quorum,
    "impostor": impostor,
    "added-again": added_again,
}
