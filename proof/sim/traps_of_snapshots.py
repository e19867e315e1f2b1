"""More traps: what a snapshot must not take away, and what must not outlast it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proof.sim.exams import STEPPED_DOWN, TIMEOUT
from proof.sim.machine import LOG_RETENTION, PURGE_SECONDS, Machine
from proof.sim.network import Weather
from proof.sim.situations import another_leads, others

if TYPE_CHECKING:
    from proof.sim.trial import Trial

STREAM_SECONDS = 5.0


def _reset(leader: Machine, server: Machine) -> None:
    """Have the leader send a server a snapshot, whatever its log holds."""
    assert leader.node is not None
    assert server.node is not None
    node, server_id = leader.node, server.node.core.server_id
    leader.run(lambda: node.reset_server(server_id))


def older_snapshot(trial: Trial) -> None:
    """A snapshot that was made for another server, some time ago, takes nothing away."""
    leader = trial.leader()
    first, second = others(trial, leader)[:2]
    trial.world.network.weather = Weather(delay=(0.02, 0.05))
    _reset(leader, first)
    trial.world.run(0.05)
    trial.burst(leader, 10)
    trial.world.run(0.25)
    _reset(leader, second)
    trial.world.run(1.0)
    trial.world.network.weather = Weather()
    trial.write()


def snapshot_before_acknowledged_entries(trial: Trial) -> None:
    """What a server has acknowledged stays, when a snapshot ends before it (paper, figure 13).

    Only frames are lost here: what is streamed arrives.
    """
    leader = trial.leader()
    server = others(trial, leader)[0]
    assert server.node is not None
    core = server.node.core
    for _ in range(4):
        trial.burst(leader, 12)
        if trial.world.run(0.2, lambda: server.disk.durable.last > core.commit + 1):
            trial.world.network.weather = Weather(loss=1.0)
            _reset(leader, server)
            trial.world.run(0.2)
            trial.world.network.weather = Weather()
        trial.converge()
    trial.write()


def snapshot_before_a_tail(trial: Trial) -> None:
    """A long tail that nobody else has goes, when a snapshot takes the place of its beginning."""
    former = trial.leader()
    trial.isolate(former)
    trial.burst(former, 3 * LOG_RETENTION)
    trial.wait(STEPPED_DOWN, lambda: not trial.leads(former), "a cut-off leader steps down")
    another_leads(trial, former)
    leader = trial.leader()
    for _ in range(LOG_RETENTION // 8 + 2):
        trial.burst(leader, 8)
        trial.world.run(0.15)
    trial.world.run(2 * PURGE_SECONDS)
    if trial.leader() is not leader:
        return
    # What waited on the cut would have told it where the logs part.
    trial.world.network.reset(lambda c: former.name in (c.near.host, c.far.host))
    trial.world.network.set_cut(set())
    trial.wait(STREAM_SECONDS + TIMEOUT, trial.is_one, "a server that is far behind catches up")


TRAPS = {
    "older-snapshot": older_snapshot,
    "snapshot-before-acknowledged-entries": snapshot_before_acknowledged_entries,
    "snapshot-before-a-tail": snapshot_before_a_tail,
}
