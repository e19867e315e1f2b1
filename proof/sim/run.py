"""One seed from the first event to the verdict."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from proof.linearizability import Outcome
from proof.sim import exams, faults
from proof.sim.doors import open_doors
from proof.sim.faults import Fault
from proof.sim.limits import set_limits
from proof.sim.machine import WatchedStore
from proof.sim.rules import Broken, Violation
from proof.sim.traps import TRAPS
from proof.sim.trial import CONVERGE_SECONDS, HOSTILE_SECONDS, Trial
from proof.sim.world import World

EXAMS = {**exams.EXAMS, **TRAPS}
EXAMS_A_SEED = 3
FIVE_SERVERS_EVERY = 4
"""One seed in so many has five servers, the others three."""

WORK = ("register", "set", "allocation", "register")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a seed.

    Attributes:
        trace: a number that is equal for runs in which the same things happened.
        simulated_seconds: how long the world lived.
        calls: answers to clients, by outcome.
        faults: faults that came, by kind.
    """

    seed: int
    servers: int
    violation: Violation | None
    trace: int
    simulated_seconds: float
    events: int
    entries: int
    calls: Counter[Outcome]
    faults: Counter[str]
    exams: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


@contextmanager
def _directory() -> Iterator[Path]:
    shared_memory = Path("/dev/shm")
    parent = shared_memory if shared_memory.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="oned-sim-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_opened = False


def simulate(
    seed: int,
    *,
    keep: Sequence[int] | None = None,
    notes: bool = False,
    verbose: bool = False,
) -> Result:
    """Run one seed.

    Args:
        seed: decides everything.
        keep: numbers of the faults of the plan that come; all when not given.
        notes: keep a line for each thing worth telling.
        verbose: print the servers' logs, too; only in a process's first run.
    """
    global _opened  # noqa: PLW0603 (once a process)
    if not _opened:
        open_doors(WatchedStore, verbose=verbose)
        _opened = True
    set_limits(seed)
    servers = 5 if seed % FIVE_SERVERS_EVERY == 0 else 3
    plan = faults.plan(seed, HOSTILE_SECONDS)
    if keep is not None:
        plan = [fault for fault in plan if fault.number in keep]
    examined = random.Random(f"{seed} exams").sample(sorted(EXAMS), EXAMS_A_SEED)
    violation = None
    with _directory() as directory:
        world = World(seed, servers, directory, tells=notes or verbose)
        trial = Trial(world)
        try:
            _live(trial, plan, examined)
        except Broken as broken:
            violation = broken.violation
            world.note(str(violation))
        finally:
            world.end()
    return Result(
        seed,
        servers,
        violation,
        hash((world.trace, world.network.digest, world.agenda.steps)) & 0xFFFFFFFF,
        world.agenda.now,
        world.agenda.steps,
        world.rules.ledger.last_committed,
        Counter(operation.outcome for operation in trial.crowd.records.all()),
        trial.faults,
        tuple(examined),
        world.notes,
    )


def _live(trial: Trial, plan: Sequence[Fault], examined: Sequence[str]) -> None:
    faults.set_clocks(trial)
    trial.crowd.start(WORK)
    trial.suffer(plan)
    trial.heal()
    trial.wait(CONVERGE_SECONDS, trial.has_leader, "a leader is elected")
    trial.settle()
    for name in examined:
        trial.world.note(f"exam {name}")
        EXAMS[name](trial)
        trial.converge()
    trial.judge()
