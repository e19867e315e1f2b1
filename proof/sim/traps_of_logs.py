"""More traps: what must not come back from a log, a former term or a change that was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oned.errors import ProposalError, Rejected
from oned.raft.types import Term
from oned.state.entry import Change, Statement
from proof.sim.exams import ELECTED, HANDED_OVER, STEPPED_DOWN, TIMEOUT
from proof.sim.machine import Machine
from proof.sim.situations import another_leads, cut_between, hand_over, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

FIVE = 5
_COUNT = Statement("UPDATE pool_control SET last_oid = last_oid + 1 WHERE tablename = 'acl'")
"""Anything but idempotent."""

_AGAIN = Statement("INSERT INTO pool_control (tablename, last_oid) VALUES ('acl', 1)")
"""Contradicts a row that is there."""


def _propose(machine: Machine, change: Change, told: list[str], term: Term | None = None) -> None:
    """Make a change without the API, of this term or of one that is given."""
    node = machine.node
    assert node is not None

    async def propose() -> None:
        try:
            await node.propose(change, term=node.core.term if term is None else term)
        except Rejected:
            told.append("rejected")
        except ProposalError:
            told.append("not made")
        else:
            told.append("made")

    machine.run(propose)


def counted_once(trial: Trial) -> None:
    """A change that is not idempotent is applied once, whoever crashes meanwhile."""
    leader = trial.leader()
    victim = leader if trial.world.seed % 2 else others(trial, leader)[0]
    told: list[str] = []
    for number in range(12):
        current = trial.world.leader()
        if current is not None and current.up:
            _propose(current, Change((_COUNT,)), told)
        trial.world.run(0.02)
        if number == 6:
            victim.crash(power_lost=trial.world.chance("trap").random() < 0.5)
    victim.start()
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()


def refused_change(trial: Trial) -> None:
    """A change that the tables refuse is not made, not even half, and its caller is told."""
    told: list[str] = []
    _propose(trial.leader(), Change((_COUNT, _AGAIN)), told)
    trial.wait(TIMEOUT, lambda: bool(told), "a call is answered")
    if told == ["made"]:
        trial.world.rules.broken("outcomes are honest", "a refused change is told as made")
    trial.write()


def change_of_a_former_term(trial: Trial) -> None:
    """What was built on reads in one term is not made in another."""
    leader = trial.leader()
    assert leader.node is not None
    term = leader.node.core.term
    for to in (others(trial, leader)[0], leader):
        hand_over(trial.leader(), to)
        trial.world.run(TIMEOUT, lambda to=to: trial.leads(to) and trial.has_leader())  # type: ignore[misc]
    if not trial.leads(leader):
        return
    told: list[str] = []
    _propose(leader, Change((_COUNT,)), told, term)
    trial.wait(TIMEOUT, lambda: bool(told), "a call is answered")
    if told == ["made"]:
        trial.world.rules.broken("a change is of its term", f"one of {term} was made later")


def appends_at_once(trial: Trial) -> None:
    """Of changes to one document that come at once none is lost."""
    sets = trial.crowd.records.sets
    if not sets:
        return
    document = int(str(sets[-1].key))
    for _ in range(3):
        for _ in range(6):
            client = trial.crowd.client()
            client.stay_at(trial.leader().endpoint)
            trial.crowd.begin(client.add(document, f"{client.number}t"))
        trial.wait(5 * TIMEOUT, lambda: trial.crowd.done, "a call is answered")


def change_that_never_was(trial: Trial) -> None:
    """A change of the members that was removed from a log is in force no more."""
    former = trial.leader()
    other = others(trial, former)[0]
    assert other.node is not None
    trial.isolate(former)
    trial.ask("one.zone.delserver", 0, other.node.core.server_id)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(former), "a cut-off leader steps down")
    another_leads(trial, former)
    trial.write()
    trial.world.network.set_cut(set())
    trial.converge()
    if trial.leader() is not former:
        hand_over(trial.leader(), former)  # in vain when the change was made after all
        trial.world.run(TIMEOUT)


def acknowledgement_of_a_former_term(trial: Trial) -> None:
    """What a server acknowledged in a former term, and has removed since, counts no more."""
    if len(trial.world.machines) < FIVE:
        return
    first = trial.leader()
    late, *rest = others(trial, first)
    away = cut_between([first, late], rest)
    trial.world.network.set_cut({*away, (late.name, first.name)})
    trial.burst(first, 10)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(first), "a cut-off leader steps down")
    another_leads(trial, first)
    trial.write()
    trial.world.network.set_cut(cut_between([late], [first, *rest]))
    second = trial.leader()
    trial.world.run(TIMEOUT)
    if trial.leader() is not second:
        return
    hand_over(second, first)
    trial.wait(TIMEOUT + HANDED_OVER, lambda: trial.leads(first), "a follower takes over")
    trial.world.network.set_cut({*cut_between([late], rest), (first.name, late.name)})
    trial.write()
    trial.world.network.set_cut(set())


TRAPS = {
    "counted-once": counted_once,
    "refused-change": refused_change,
    "change-of-a-former-term": change_of_a_former_term,
    "appends-at-once": appends_at_once,
    "change-that-never-was": change_that_never_was,
    "acknowledgement-of-a-former-term": acknowledgement_of_a_former_term,
}
