"""Faults, each with a start and a stop, in an order drawn from a seed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import ClassVar

from proof.chaos import damage
from proof.chaos.clients import Caller
from proof.chaos.trouble import Trouble
from proof.chaos.zone import Zone

HOLD_SECONDS = (0.5, 5.0)
CALM_SECONDS = (0.5, 3.0)
READY_SECONDS = 20.0
SLOW_SECONDS = (0.02, 0.3)
SLOW_DISK_MS = (20, 1500)
HAND_OVERS = (3, 10)
CLOCK_STEP_SECONDS = 86_400


class Fault:
    """One trouble at a time; ``start`` says in words what it did."""

    name: ClassVar[str]
    needs_machine: ClassVar[bool] = False

    def __init__(self, zone: Zone, random: random.Random) -> None:
        self.zone, self.random = zone, random

    async def start(self) -> str:
        raise NotImplementedError

    async def stop(self) -> None:
        await self.zone.heal()

    def some(self, count: int) -> list[str]:
        return self.random.sample(self.zone.names, count)

    async def leader(self) -> str:
        """The leader, or anybody when nobody leads."""
        return await self.zone.leader() or self.some(1)[0]

    @property
    def minority(self) -> int:
        return (len(self.zone.names) - 1) // 2


class Kill(Fault):
    """SIGKILL for some servers, even for a majority."""

    name = "kill"

    async def start(self) -> str:
        victims = self.some(self.random.randint(1, len(self.zone.names)))
        for victim in victims:
            self.zone.signal(victim, signal.SIGKILL)
        return " ".join(victims)


class KillLeader(Fault):
    name = "kill-leader"

    async def start(self) -> str:
        victim = await self.leader()
        self.zone.signal(victim, signal.SIGKILL)
        return victim


class Pause(Fault):
    """SIGSTOP: the clock goes on, the server does not, and it wakes up believing."""

    name = "pause"

    async def start(self) -> str:
        victims = {await self.leader(), *self.some(self.minority)}
        if self.random.random() < 0.5:  # noqa: PLR2004 (a coin)
            victims = set(self.some(self.minority))
        for victim in victims:
            self.zone.signal(victim, signal.SIGSTOP)
        return " ".join(sorted(victims))


class Partition(Fault):
    """A minority, the leader in it half the time, hears and is heard by itself only."""

    name = "partition"

    async def start(self) -> str:
        group = set(self.some(self.minority))
        if self.random.random() < 0.5:  # noqa: PLR2004 (a coin)
            group = {await self.leader(), *list(group)[1:]}
        for source, target in permutations(self.zone.names, 2):
            if (source in group) != (target in group):
                self.zone.network.cut(source, target)
        return f"{' '.join(sorted(group))} | the rest"


class OneWay(Fault):
    """One server is heard by nobody, or hears nobody, or only some directions are cut."""

    name = "one-way"

    async def start(self) -> str:
        victim = await self.leader()
        others = [name for name in self.zone.names if name != victim]
        match self.random.randrange(3):
            case 0:
                cuts = [(victim, other) for other in others]
            case 1:
                cuts = [(other, victim) for other in others]
            case _:
                pairs = list(permutations(self.zone.names, 2))
                cuts = self.random.sample(pairs, len(pairs) // 3)
        for source, target in cuts:
            self.zone.network.cut(source, target)
        return " ".join(f"{source}>{target}" for source, target in cuts)


class Bridge(Fault):
    """Two halves that only one server sees both of."""

    name = "bridge"

    async def start(self) -> str:
        bridge, *others = self.some(len(self.zone.names))
        half = set(others[: len(others) // 2])
        for source, target in permutations(others, 2):
            if (source in half) != (target in half):
                self.zone.network.cut(source, target)
        return f"{bridge} between {' '.join(sorted(half))} and the rest"


class SlowNetwork(Fault):
    name = "slow-network"

    async def start(self) -> str:
        seconds = self.random.uniform(*SLOW_SECONDS)
        self.zone.network.slow(seconds)
        return f"{seconds * 1000:.0f} ms"


class RollingRestart(Fault):
    """Every server is stopped as an administrator does, and started again."""

    name = "rolling-restart"

    async def start(self) -> str:
        order = self.some(len(self.zone.names))
        for name in order:
            await self.zone.stop(name)
            await self.zone.start(name)
            end = time.monotonic() + READY_SECONDS
            while time.monotonic() < end and not await self._follows(name):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return " ".join(order)

    async def _follows(self, name: str) -> bool:
        status = await self.zone.status(name)
        return status is not None and status["leader_id"] >= 0


class HandOver(Fault):
    """An administrator names the next leader, again and again, whoever can take over or not."""

    name = "hand-over"

    async def start(self) -> str:
        caller = Caller(self.zone.endpoints(), self.zone.session)
        statuses = await self.zone.statuses()
        ids = [-1, *(status["server_id"] for status in statuses.values() if status)]
        told = Counter[str]()
        try:
            for _ in range(self.random.randint(*HAND_OVERS)):
                endpoint = self.random.choice(caller.endpoints)
                answer = await caller.call(
                    endpoint, "one.zone.transferleader", 0, self.random.choice(ids)
                )
                told[answer.outcome.name.lower()] += 1
        finally:
            await caller.close()
        return " ".join(f"{count} {outcome}" for outcome, count in sorted(told.items()))


class SlowDisk(Fault):
    """Every sync of some servers takes long."""

    name = "slow-disk"
    needs_machine = True

    async def start(self) -> str:
        victims = self.some(self.random.randint(1, len(self.zone.names)))
        trouble = Trouble(slow_ms=self.random.randint(*SLOW_DISK_MS))
        for victim in victims:
            self.zone.machines[victim].suffer(trouble)
        return f"{trouble.slow_ms} ms a sync, {' '.join(victims)}"


class FullDisk(Fault):
    """The leader's database, or that of a minority, cannot grow."""

    name = "full-disk"
    needs_machine = True
    trouble: ClassVar[Trouble] = Trouble(full=True)

    async def start(self) -> str:
        victims = {await self.leader(), *self.some(self.minority)[1:]}
        for victim in victims:
            self.zone.machines[victim].suffer(self.trouble)
        return " ".join(sorted(victims))


class BrokenDisk(FullDisk):
    """A sync fails."""

    name = "broken-disk"
    trouble = Trouble(broken=True)


class StuckDisk(FullDisk):
    """A sync does not return."""

    name = "stuck-disk"
    trouble = Trouble(stuck=True)


class CorruptDatabase(Fault):
    """A server is killed and its database damaged. Another one is, when that one votes again."""

    name = "corrupt-database"

    async def start(self) -> str:
        if not await self.zone.is_whole(READY_SECONDS):
            return "left out, the zone is not whole"
        victim = self.random.choice([await self.leader(), *self.zone.names])
        await self.zone.kill(victim)
        return f"{victim}, {damage.do(self.zone.database(victim), self.random)}"


class ClockStep(Fault):
    """The wall clocks of some servers jump, by up to a day, and back."""

    name = "clock-step"
    needs_machine = True

    async def start(self) -> str:
        steps = {}
        for victim in self.some(self.random.randint(1, len(self.zone.names))):
            steps[victim] = self.random.randint(-CLOCK_STEP_SECONDS, CLOCK_STEP_SECONDS)
            self.zone.machines[victim].suffer(Trouble(ahead_seconds=steps[victim]))
        return " ".join(f"{victim} {step:+d} s" for victim, step in steps.items())


FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (
        Kill,
        KillLeader,
        Pause,
        Partition,
        OneWay,
        Bridge,
        SlowNetwork,
        RollingRestart,
        HandOver,
        SlowDisk,
        FullDisk,
        BrokenDisk,
        StuckDisk,
        CorruptDatabase,
        ClockStep,
    )
}

DEFAULT_FAULTS = list(FAULTS)


class Nemesis:
    """Draws faults until told to stop, every kind before any comes twice."""

    def __init__(
        self, zone: Zone, faults: list[str], seed: int, say: Callable[[str], None]
    ) -> None:
        self._random = random.Random(f"nemesis of {seed}")
        self._faults = []
        for name in faults:
            if FAULTS[name].needs_machine and not zone.machines:
                say(f"{name} is left out: there is no C compiler (cc) to build it with")
            else:
                self._faults.append(FAULTS[name](zone, self._random))
        self._say = say
        self.counts: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Hurt the zone for so long; the last fault is left for the caller to heal."""
        started = time.monotonic()
        end = started + seconds
        while time.monotonic() < end:
            for fault in self._random.sample(self._faults, len(self._faults)):
                if time.monotonic() >= end:
                    return
                did = await fault.start()
                self.counts[fault.name] += 1
                hold = self._random.uniform(*HOLD_SECONDS)
                self._say(f"{time.monotonic() - started:7.1f} s  {fault.name}: {did}, {hold:.1f} s")
                await asyncio.sleep(hold)
                if time.monotonic() >= end:
                    return
                await fault.stop()
                await asyncio.sleep(self._random.uniform(*CALM_SECONDS))
