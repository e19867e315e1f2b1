"""More traps: changes of the members that must not meet (dissertation, 4.1 and its correction)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oned.errors import ProposalError
from oned.raft.types import Role
from oned.state.entry import Change
from oned.state.zones import LOCAL_ZONE, Zone
from proof.sim.exams import ELECTED, STEPPED_DOWN, TIMEOUT
from proof.sim.machine import HEARTBEAT, Machine
from proof.sim.situations import another_leads, cut_between, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

FIVE = 5
SLOW_SYNC = 0.7
"""A leader with such a disk does not resign yet."""


def _remove(trial: Trial, machine: Machine) -> None:
    assert machine.node is not None
    trial.ask("one.zone.delserver", 0, machine.node.core.server_id)


def _is_member(trial: Trial, machine: Machine) -> bool:
    leader = trial.world.leader()
    assert leader is not None
    assert leader.node is not None
    core = leader.node.core
    return core.change_pending or core.configuration.named(machine.name) is not None


def shrink_and_grow(trial: Trial) -> None:
    """Some servers go, one after another, and come back."""
    leader = trial.leader()
    for machine in others(trial, leader)[: len(trial.world.machines) // 2]:
        _remove(trial, machine)
        trial.world.run(TIMEOUT, lambda machine=machine: not _is_member(trial, machine))  # type: ignore[misc]
        trial.write()
    trial.converge()


def removed_leader(trial: Trial) -> None:
    """A leader that leads its own removal to its end leads no more."""
    leader = trial.leader()
    _remove_at_once(leader, leader)
    trial.wait(TIMEOUT, lambda: not trial.leads(leader), "a removed leader steps down")
    another_leads(trial, leader)
    trial.write()


def changes_of_one_alone(trial: Trial) -> None:
    """A leader that is cut off cannot remove the others one by one until it is a majority."""
    leader = trial.leader()
    trial.isolate(leader)
    for machine in others(trial, leader):
        _remove_at_once(leader, machine)
        trial.world.run(0.02)
    trial.burst(leader, 2)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(leader), "a cut-off leader steps down")
    another_leads(trial, leader)
    trial.write()
    trial.world.network.set_cut(set())


def change_in_a_new_term(trial: Trial) -> None:
    """Of two leaders that each change the members by one, at most one commits anything.

    The mistake in the first publication of single-server changes (Ongaro, raft-dev 2015): four
    servers; one leader's change is in nobody's log but its own, the next one's change is
    committed without it, and then the first one is elected by its own change.
    """
    if len(trial.world.machines) < FIVE:
        return
    first = trial.leader()
    spare, removed, *_ = others(trial, first)
    _remove(trial, spare)
    trial.world.run(TIMEOUT, lambda: not _is_member(trial, spare))
    trial.write()
    trial.world.run(3 * HEARTBEAT)  # everybody knows that it is committed
    followers = [m for m in others(trial, first) if m is not spare]
    trial.isolate(first)
    _remove(trial, removed)

    def elected() -> Machine | None:
        leading = [m for m in followers if trial.leads(m)]
        return leading[0] if leading else None

    trial.wait(ELECTED, lambda: elected() is not None, "a leader is elected")
    second = elected()
    assert second is not None
    voter = next(m for m in reversed(followers) if m not in (second, removed))
    ally = next(m for m in followers if m not in (second, voter))
    apart = cut_between([second, ally], [first, voter, spare])
    trial.world.network.set_cut({*apart, *cut_between([first], [voter, spare])})
    _remove_at_once(second, first)
    trial.world.run(0.3)
    trial.world.network.set_cut(apart)
    trial.world.run(4 * TIMEOUT, lambda: trial.leads(first))
    trial.world.network.set_cut(set())


def _remove_at_once(leader: Machine, machine: Machine) -> None:
    """Without the API, which reads before it writes."""
    node = leader.node
    assert node is not None
    assert node.core.role is Role.LEADER
    member = node.core.configuration.named(machine.name)
    assert member is not None
    configuration = node.core.configuration.without(member.server_id)
    zone = Zone.load(node.reader, LOCAL_ZONE)
    assert zone is not None
    zone.servers.pop(member.server_id, None)
    change = Change((zone.update(),))

    async def propose() -> None:
        try:
            await node.propose(change, term=node.core.term, configuration=configuration)
        except ProposalError:
            return  # as it must be

    leader.run(propose)


def acknowledger_loses_its_disk(trial: Trial) -> None:
    """What a server acknowledged and has lost is not counted, not even before the log says so.

    The leader, whose own disk is slow, and the servers that it needs have its last entry. One of
    them comes back with an empty disk before the leader has the entry itself.
    """
    leader = trial.leader()
    lost, *rest = others(trial, leader)
    needed = len(trial.world.machines) // 2 - 1
    trial.world.network.set_cut(cut_between(rest[needed:], [leader, lost, *rest[:needed]]))
    before, leader.disk.sync_seconds = leader.disk.sync_seconds, SLOW_SYNC
    trial.burst(leader, 1)
    trial.world.run(SLOW_SYNC / 4)
    lost.wipe()
    lost.start()
    trial.world.run(SLOW_SYNC)
    leader.disk.sync_seconds = before
    trial.world.network.set_cut(set())


TRAPS = {
    "acknowledger-loses-its-disk": acknowledger_loses_its_disk,
    "shrink-and-grow": shrink_and_grow,
    "removed-leader": removed_leader,
    "changes-of-one-alone": changes_of_one_alone,
    "change-in-a-new-term": change_in_a_new_term,
}
