"""What traps are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proof.sim.exams import ELECTED
from proof.sim.machine import Machine

if TYPE_CHECKING:
    from proof.sim.trial import Trial


def others(trial: Trial, machine: Machine) -> list[Machine]:
    """All machines but one, by name."""
    return [m for _, m in sorted(trial.world.machines.items()) if m is not machine]


def another_leads(trial: Trial, former: Machine) -> None:
    """Wait until somebody else leads and serves."""
    trial.wait(
        ELECTED,
        lambda: trial.has_leader() and trial.leader() is not former,
        "a leader is elected",
    )


def hand_over(leader: Machine, to: Machine) -> None:
    """Have the leader begin to hand over."""
    assert leader.node is not None
    assert to.node is not None
    node, server_id = leader.node, to.node.core.server_id
    leader.run(lambda: node.transfer_leadership(server_id))


def cut_between(some: Sequence[Machine], rest: Sequence[Machine]) -> set[tuple[str, str]]:
    """Both directions between two groups."""
    pairs = {(a.name, b.name) for a in some for b in rest}
    return pairs | {(b, a) for a, b in pairs}
