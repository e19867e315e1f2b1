"""Faults: the plan of a seed is data, so that it can be told, replayed and cut down.

A seed enables some kinds only ("swarm testing", Groce and others, 2012): many bugs need the
absence of one fault as much as the presence of another. Each fault draws from a source of chance of
its own, so that leaving one out changes nothing about the others but what the world has become.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from proof.sim.network import Weather

if TYPE_CHECKING:
    from proof.sim.machine import Machine
    from proof.sim.trial import Trial

Stop: TypeAlias = Callable[[], object]
Begin: TypeAlias = Callable[["Trial", random.Random], Stop | None]

DRIFT = 0.05
"""The most that a machine's clock runs fast or slow: two of them stay within CLOCK_DRIFT."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan: what, when, and for how long in seconds."""

    number: int
    kind: str
    at: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.number}: {self.kind} at {self.at:.2f} for {self.seconds:.2f} s"


def plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of a seed, in the order of their times."""
    chance = random.Random(f"{seed} plan")
    kinds = sorted(chance.sample(sorted(KINDS), chance.randint(2, 7)))
    faults: list[Fault] = []
    at, pace = chance.uniform(0.5, 2.0), chance.choice((0.4, 0.8, 1.6))
    while at < seconds:
        faults.append(
            Fault(len(faults), chance.choice(kinds), at, chance.choice((0.1, 0.5, 1.3, 2.5, 4.0)))
        )
        at += chance.expovariate(1 / pace)
    return faults


def set_clocks(trial: Trial) -> None:
    """Give each machine a clock of its own."""
    chance = trial.world.chance("clocks")
    for machine in trial.world.machines.values():
        machine.clock.rate = 1 + chance.uniform(-DRIFT, DRIFT)
        machine.clock.offset = chance.uniform(0, 1000)


# --- whom ----------------------------------------------------------------------------------


def _any(trial: Trial, chance: random.Random) -> Machine:
    return trial.world.machines[chance.choice(sorted(trial.world.machines))]


def _leader_or_any(trial: Trial, chance: random.Random) -> Machine:
    leader = trial.world.leader()
    return leader if leader is not None and chance.random() < 0.7 else _any(trial, chance)


# --- processes -----------------------------------------------------------------------------


def _crash(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance)
    victim.crash(power_lost=True)
    return victim.start


def _power_cut(trial: Trial, chance: random.Random) -> Stop:
    victims = sorted(trial.world.machines)
    chance.shuffle(victims)
    for name in victims[: chance.randint(2, len(victims))]:
        trial.world.machines[name].crash(power_lost=True)

    def start() -> None:
        for name in victims:
            trial.world.machines[name].start()

    return start


def _kill(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance)
    victim.crash(power_lost=False)
    return victim.start


def _stop(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance)
    victim.stop()
    return victim.start


def _pause(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance)
    victim.pause()
    return victim.resume


# --- network -------------------------------------------------------------------------------


def _cut(trial: Trial, chance: random.Random, cut: set[tuple[str, str]]) -> Stop:
    network = trial.world.network
    network.set_cut(network.cut | cut)
    if chance.random() < 0.3:
        network.reset(lambda c: not network.passes(c.near.host, c.far.host))
    return lambda: network.set_cut(network.cut - cut)


def _between(some: Sequence[str], others: Sequence[str]) -> set[tuple[str, str]]:
    return {(a, b) for a in some for b in others} | {(b, a) for a in some for b in others}


def _partition(trial: Trial, chance: random.Random) -> Stop:
    names = sorted(trial.world.machines)
    chance.shuffle(names)
    size = chance.randint(1, len(names) - 1)
    return _cut(trial, chance, _between(names[:size], names[size:]))


def _isolate(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance).name
    others = [name for name in sorted(trial.world.machines) if name != victim]
    return _cut(trial, chance, _between([victim], others))


def _one_way(trial: Trial, chance: random.Random) -> Stop:
    victim = _leader_or_any(trial, chance).name
    others = [name for name in sorted(trial.world.machines) if name != victim]
    deaf = chance.random() < 0.5
    some = chance.sample(others, chance.randint(1, len(others)))
    return _cut(trial, chance, {(o, victim) if deaf else (victim, o) for o in some})


def _bridge(trial: Trial, chance: random.Random) -> Stop:
    names = sorted(trial.world.machines)
    chance.shuffle(names)
    half = len(names) // 2
    return _cut(trial, chance, _between(names[:half], names[half + 1 :]))


def _reset(trial: Trial, chance: random.Random) -> None:
    trial.world.network.reset(lambda _connection: chance.random() < 0.5)


def _weather(weather: Weather) -> Begin:
    def begin(trial: Trial, _chance: random.Random) -> Stop:
        network = trial.world.network
        network.weather = weather

        def clear() -> None:
            network.weather = Weather()

        return clear

    return begin


# --- disks and clocks ------------------------------------------------------------------------


def _slow_disk(seconds: tuple[float, float]) -> Begin:
    def begin(trial: Trial, chance: random.Random) -> Stop:
        disk = _leader_or_any(trial, chance).disk
        before, disk.sync_seconds = disk.sync_seconds, chance.uniform(*seconds)

        def mend() -> None:
            disk.sync_seconds = before

        return mend

    return begin


def _full_disk(trial: Trial, chance: random.Random) -> Stop:
    machine = _leader_or_any(trial, chance)
    machine.disk.full = True
    return machine.disk.mend


def _broken_disk(trial: Trial, chance: random.Random) -> Stop:
    machine = _leader_or_any(trial, chance)
    machine.disk.broken = True
    return machine.disk.mend


def _lost_disk(trial: Trial, chance: random.Random) -> Stop | None:
    """A disk is replaced by an empty one; no more at a time than the zone can do without."""
    victim = _leader_or_any(trial, chance)
    if not trial.world.can_lose(victim):
        return None
    victim.wipe()
    return victim.start


def _lying_disk(trial: Trial, chance: random.Random) -> Stop | None:
    """A disk says that it has synced, and has not; then the power is cut.

    The note beside the database survives (it is what tells that something is missing). A disk that
    loses both at once has become an older one, which nobody can tell it from.
    """
    victim = _leader_or_any(trial, chance)
    if any(machine.disk.lying for machine in trial.world.machines.values()):
        return None
    victim.disk.lying = True

    def cut() -> None:
        victim.crash(power_lost=True)
        victim.disk.mend()
        victim.start()

    return cut


def _rotten_disk(trial: Trial, chance: random.Random) -> Stop | None:
    """A bit of a stored log record flips while the server is down."""
    victim = _leader_or_any(trial, chance)
    if not trial.world.can_lose(victim):
        return None
    victim.crash(power_lost=True)
    victim.disk.rot(chance)
    return victim.start


def _clock_step(trial: Trial, chance: random.Random) -> None:
    clock = _leader_or_any(trial, chance).clock
    clock.wall_step += chance.choice((-1, 1)) * chance.choice((0.4, 3.0, 3600.0))


# --- what administrators and clients do ------------------------------------------------------


def _transfer(trial: Trial, chance: random.Random) -> None:
    leader = trial.world.leader()
    if leader is None or leader.node is None:
        return
    to = chance.choice((None, *sorted(leader.node.core.voters)))
    node = leader.node
    leader.run(lambda: node.transfer_leadership(to))


def _reset_server(trial: Trial, chance: random.Random) -> None:
    trial.ask("one.zone.resetserver", 0, chance.randrange(len(trial.world.machines)))


def _remove_server(trial: Trial, chance: random.Random) -> Stop | None:
    """A server is removed, and added again some time later; no administrator would do so while
    the zone has a disk less than it should.
    """
    world = trial.world
    leader, victim = world.leader(), _any(trial, chance)
    if leader is None or leader.node is None or not world.can_lose(victim):
        return None
    name, member = victim.name, leader.node.core.configuration.named(victim.name)
    if member is None or any(m.disk.rotten or m.disk.lying for m in world.machines.values()):
        return None
    world.removed_at = world.agenda.now
    trial.ask("one.zone.delserver", 0, member.server_id)
    return lambda: trial.add_server(name)


def _burst(trial: Trial, chance: random.Random) -> None:
    """Many calls at once, to whoever leads or believes to."""
    machine = _leader_or_any(trial, chance)
    trial.burst(machine, chance.randint(10, 40))


KINDS: dict[str, Begin] = {
    "crash": _crash,
    "power-cut": _power_cut,
    "kill": _kill,
    "stop": _stop,
    "pause": _pause,
    "partition": _partition,
    "isolate": _isolate,
    "one-way": _one_way,
    "bridge": _bridge,
    "reset": _reset,
    "slow-network": _weather(Weather(delay=(0.02, 0.4))),
    "lossy-network": _weather(Weather(loss=0.15, double=0.1, overtake=0.2)),
    "slow-disk": _slow_disk((0.02, 0.6)),
    "stuck-disk": _slow_disk((2.0, 8.0)),
    "full-disk": _full_disk,
    "broken-disk": _broken_disk,
    "lost-disk": _lost_disk,
    "lying-disk": _lying_disk,
    "rotten-disk": _rotten_disk,
    "clock-step": _clock_step,
    "transfer": _transfer,
    "reset-server": _reset_server,
    "remove-server": _remove_server,
    "burst": _burst,
}
