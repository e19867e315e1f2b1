"""The simulator: a sample of its seeds, that they repeat, and that a fault is told and cut down."""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proof.sim import exams, faults
from proof.sim.clock import Clock
from proof.sim.disk import NOTHING, Disk, Image
from proof.sim.loop import Agenda, Loop

ROOT = Path(__file__).parents[2]
SEEDS = os.environ.get("SIM_SEEDS", "5000:5200")
"""Others than those of ``make sim``, so that both together see more."""

REPEATED = "0:16"


def run(*arguments: str, hash_seed: str = "0", code: str = "") -> subprocess.CompletedProcess[str]:
    command = ["-c", code, *arguments] if code else ["-m", "proof.sim", *arguments]
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_no_rule_is_broken_in_a_sample_of_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    done = run("--seeds", SEEDS)
    with capsys.disabled():
        print(f"\n{done.stdout.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_seed_does_the_same_whatever_the_order_of_hashes() -> None:
    once = run("--seeds", REPEATED, "--hashes", "--jobs", "2")
    again = run("--seeds", REPEATED, "--hashes", "--jobs", "1", hash_seed="1")
    assert once.returncode == again.returncode == 0, once.stderr + again.stderr
    assert sorted(once.stdout.splitlines()) == sorted(again.stdout.splitlines())
    assert len(set(again.stdout.split())) == 2 * len(again.stdout.splitlines())


BROKEN = """
import sys
from proof.mutants import catalogue, hook
hook.install(catalogue.named("several-votes-a-term"))
from proof.sim.__main__ import main
sys.exit(main())
"""


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_a_broken_rule_is_told_with_fewer_faults_and_the_command_that_shows_it_again() -> None:
    done = run("--seeds", "0:40", "--jobs", "1", code=BROKEN)
    assert done.returncode == 1
    assert "FAIL (1)" in done.stdout
    told = re.search(r"again: python -m proof\.sim (.*)", done.stdout)
    assert told is not None, done.stdout
    again = run(*told.group(1).split(), code=BROKEN)
    rule = re.search(r"^seed \d+: (.*?) at ", done.stdout, re.MULTILINE)
    assert rule is not None
    assert again.returncode == 1
    assert rule.group(1) in again.stdout.splitlines()[-1]


def test_every_kind_of_fault_is_in_some_plan_and_every_plan_repeats() -> None:
    plans = [faults.plan(seed, 14.0) for seed in range(200)]
    assert {fault.kind for plan in plans for fault in plan} == set(faults.KINDS)
    assert plans[7] == faults.plan(7, 14.0)
    assert all(fault.number == place for plan in plans for place, fault in enumerate(plan))


def test_every_exam_and_trap_says_what_it_asks() -> None:
    assert all(exam.__doc__ for exam in exams.EXAMS.values())


# --- what the world is made of ---------------------------------------------------------------


def a_disk() -> Disk:
    return Disk(random.Random(0))


def commits(disk: Disk, count: int) -> list[Image]:
    images = [Image(content=bytes([number])) for number in range(1, count + 1)]
    disk.unsynced.extend(images)
    return images


def test_a_crash_keeps_what_was_synced_and_any_number_of_commits_after_it() -> None:
    survivors = set()
    for seed in range(60):
        disk = Disk(random.Random(seed))
        commits(disk, 1)
        disk.sync()
        commits(disk, 3)
        disk.crash(power_lost=True)
        survivors.add(disk.durable.content)
    assert survivors == {b"\1", b"\2", b"\3"}


def test_a_killed_process_loses_nothing_that_it_committed() -> None:
    disk = a_disk()
    newest = commits(disk, 3)[-1]
    disk.crash(power_lost=False)
    assert disk.durable is newest


def test_a_sync_of_a_broken_disk_fails_and_leaves_open_what_is_kept() -> None:
    disk = a_disk()
    commits(disk, 2)
    disk.broken = True
    with pytest.raises(OSError, match="Input/output"):
        disk.sync()
    assert disk.durable is NOTHING
    assert disk.doubtful


def test_a_lying_disk_loses_what_it_said_it_had() -> None:
    disk = a_disk()
    kept = commits(disk, 1)[-1]
    disk.sync()
    disk.lying = True
    commits(disk, 2)
    disk.sync()
    assert disk.durable is not kept
    disk.crash(power_lost=True, truly=True)
    assert disk.durable is kept


def test_a_clock_that_runs_fast_wakes_early_and_never_too_early() -> None:
    clock = Clock(rate=1.05, offset=17.0)
    for monotonic in (17.1, 18.0, 123.456789):
        true = clock.true_time_of(monotonic)
        assert clock.monotonic(true) >= monotonic
        assert clock.monotonic(true) - monotonic < 1e-9


def loop_of(agenda: Agenda, rate: float = 1.0) -> Loop:
    return Loop(agenda, Clock(rate=rate))  # type: ignore[abstract]


def test_what_is_due_at_the_same_time_happens_in_the_order_of_planning() -> None:
    agenda = Agenda()
    seen: list[str] = []
    one, other = loop_of(agenda), loop_of(agenda, rate=2.0)
    one.call_later(1.0, seen.append, "first")
    other.call_later(2.0, seen.append, "second")
    one.call_later(0.5, seen.append, "before")
    while agenda.run_one(10.0) is not None:
        pass
    assert seen == ["before", "first", "second"]
    assert agenda.now == 10.0


def test_a_paused_process_does_everything_late_and_a_dead_one_nothing() -> None:
    agenda = Agenda()
    seen: list[str] = []
    paused, dead = loop_of(agenda), loop_of(agenda)
    paused.call_later(1.0, seen.append, "paused")
    dead.call_later(1.0, seen.append, "dead")
    paused.pause()
    dead.kill()
    while agenda.run_one(5.0) is not None:
        pass
    assert seen == []
    paused.resume()
    while agenda.run_one(5.0) is not None:
        pass
    assert seen == ["paused"]


def test_coroutines_sleep_in_simulated_time() -> None:
    agenda = Agenda()
    loop = loop_of(agenda)

    async def nap() -> float:
        async with asyncio.timeout(100.0):
            await asyncio.sleep(60.0)
        return loop.time()

    task = loop.create_task(nap())
    while agenda.run_one(1000.0) is not None:
        pass
    assert task.result() == pytest.approx(60.0)
