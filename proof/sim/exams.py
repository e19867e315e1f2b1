"""What a healed zone must be able to do, each within a bound: promises beyond safety.

Bounds are in election timeouts and heartbeats, by the clock of the slowest machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from oned.raft.messages import AppendReply
from oned.transport import codec
from proof.sim.faults import DRIFT
from proof.sim.machine import ELECTION_TIMEOUT, HEARTBEAT, LOG_RETENTION, PURGE_SECONDS, Machine

if TYPE_CHECKING:
    from proof.sim.trial import Trial

TIMEOUT = ELECTION_TIMEOUT / (1 - DRIFT)
ELECTED = 6 * TIMEOUT
"""An election among healthy servers: the silence, a draw, and now and then a second one."""

STEPPED_DOWN = TIMEOUT + 2 * HEARTBEAT
HANDED_OVER = 0.4
REFUSALS_MAX = 12
"""Refused appends while one leader repairs one log: one a term, not one an entry."""


_APPEND_REPLY = codec.encode(AppendReply(0, 0, 0, False, 0, 0))[:1]  # type: ignore[arg-type]


def _followers(trial: Trial) -> list[Machine]:
    leader = trial.leader()
    return [m for _, m in sorted(trial.world.machines.items()) if m is not leader]


def _nothing_changes(trial: Trial, rule: str, term: int, leader: Machine) -> None:
    now = trial.leader()
    assert now.node is not None
    if now is not leader or now.node.core.term != term:
        trial.world.rules.broken(
            rule, f"{leader.name} led term {term}, now {now.name} leads {now.node.core.term}"
        )


def _term(leader: Machine) -> int:
    assert leader.node is not None
    return leader.node.core.term


def calm(trial: Trial) -> None:
    """Nothing happens: nobody else comes to lead, and every call is answered."""
    leader = trial.leader()
    term = _term(leader)
    for _ in range(10):
        trial.world.run(0.5)
        trial.write()
    _nothing_changes(trial, "a healthy zone keeps its leader", term, leader)


def leader_killed(trial: Trial) -> None:
    """Another one is elected."""
    leader = trial.leader()
    leader.crash(power_lost=False)
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()
    leader.start()


def leader_cut_off(trial: Trial) -> None:
    """It stops leading within an election timeout, and the others elect one."""
    leader = trial.leader()
    trial.isolate(leader)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(leader), "a cut-off leader steps down")
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()
    trial.world.network.set_cut(set())


def diverged_leader(trial: Trial) -> None:
    """A leader that is cut off with many entries of its own is repaired in few steps."""
    leader = trial.leader()
    trial.isolate(leader)
    trial.burst(leader, 40)
    trial.wait(ELECTED, lambda: trial.has_leader() and trial.leader() is not leader, "is elected")
    for _ in range(5):
        trial.write()
    refused = trial.count(refusals_of(leader))
    trial.world.network.set_cut(set())
    trial.converge()
    if refused() > REFUSALS_MAX:
        trial.world.rules.broken("a log is repaired in few steps", f"{refused()} refusals")


def refusals_of(machine: Machine) -> Callable[[bytes], bool]:
    """Whether a frame is a refused append, by this server."""
    assert machine.node is not None
    sender = machine.node.core.server_id

    def refuses(data: bytes) -> bool:
        frame = codec.decode(data) if data[0] in _APPEND_REPLY else None
        return isinstance(frame, AppendReply) and frame.sender == sender and not frame.success

    return refuses


def follower_cut_off(trial: Trial) -> None:
    """It comes back without a higher term and deposes nobody."""
    leader, follower = trial.leader(), _followers(trial)[0]
    term = _term(leader)
    trial.isolate(follower)
    trial.world.run(4 * TIMEOUT)
    trial.world.network.set_cut(set())
    trial.world.run(2 * TIMEOUT)
    _nothing_changes(trial, "who comes back deposes nobody", term, leader)


def follower_hears_nothing(trial: Trial) -> None:
    """A follower that can be heard, but hears no leader, deposes nobody."""
    leader, follower = trial.leader(), _followers(trial)[-1]
    term = _term(leader)
    trial.world.network.set_cut({(leader.name, follower.name)})
    trial.world.run(4 * TIMEOUT)
    _nothing_changes(trial, "who hears nothing deposes nobody", term, leader)
    trial.world.network.set_cut(set())


def hand_over(trial: Trial) -> None:
    """A leader that stops has a successor before an election timeout is over."""
    leader = trial.leader()
    leader.stop()
    trial.wait(
        HANDED_OVER,
        lambda: trial.has_leader() and trial.leader() is not leader,
        "a hand-over needs no election timeout",
    )
    trial.write()
    trial.wait(TIMEOUT * 2, lambda: not leader.up, "a server that is told to stop stops")
    leader.start()


def quiet_catch_up(trial: Trial) -> None:
    """A follower that was away catches up although nobody writes any more."""
    follower = _followers(trial)[0]
    follower.crash(power_lost=False)
    for _ in range(3):
        trial.write()
    trial.world.run(0.2)
    follower.start()
    trial.wait(2 * TIMEOUT + 10 * HEARTBEAT, trial.is_one, "a follower catches up in a quiet zone")


def far_behind(trial: Trial) -> None:
    """A follower whose entries are compacted catches up by a snapshot."""
    follower = _followers(trial)[0]
    follower.crash(power_lost=True)
    for _ in range(LOG_RETENTION // 8 + 3):
        trial.burst(trial.leader(), 8)
        trial.world.run(0.1)
    trial.world.run(2 * PURGE_SECONDS)
    trial.write()
    follower.start()
    trial.wait(12.0, trial.is_one, "a server that is far behind catches up")


def lost_disk(trial: Trial) -> None:
    """A server with an empty disk copies the zone and votes again."""
    victim = trial.leader() if trial.world.seed % 2 else _followers(trial)[0]
    victim.wipe()
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    victim.start()
    trial.wait(15.0, trial.is_one, "a lost disk is replaced")


def power_cut(trial: Trial) -> None:
    """All servers at once: they come back and serve."""
    for machine in trial.world.machines.values():
        machine.crash(power_lost=True)
    for machine in trial.world.machines.values():
        machine.start()
    trial.wait(ELECTED, trial.has_leader, "a leader is elected")
    trial.write()


EXAMS: dict[str, Callable[[Trial], None]] = {
    "calm": calm,
    "leader-killed": leader_killed,
    "leader-cut-off": leader_cut_off,
    "diverged-leader": diverged_leader,
    "follower-cut-off": follower_cut_off,
    "follower-hears-nothing": follower_hears_nothing,
    "hand-over": hand_over,
    "quiet-catch-up": quiet_catch_up,
    "far-behind": far_behind,
    "lost-disk": lost_disk,
    "power-cut": power_cut,
}
