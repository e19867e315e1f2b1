"""The runner with real executables: order, the newest wins, retries, and nothing left behind."""

import asyncio
import os
from pathlib import Path

import pytest
import structlog
import uvloop

from oned.config import Environment, HookSettings
from oned.errors import ConfigError, HookError
from oned.hooks import process
from oned.hooks import runner as runner_module
from oned.hooks.process import OUTPUT_BYTES, execute
from oned.hooks.resident import Backoff, Side
from oned.hooks.runner import ARGUMENTS_MAX, HookRunner

pytestmark = pytest.mark.integration


@pytest.fixture
def var(tmp_path):
    (tmp_path / "remotes" / "hooks").mkdir(parents=True)
    return tmp_path


def script(var, name, text):
    path = var / "remotes" / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return name


class Outcomes:
    """What the runner reported, to be awaited one by one."""

    def __init__(self):
        self.queue = asyncio.Queue()

    def __call__(self, role, outcome):
        self.queue.put_nowait((role, outcome))

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), 10)


@pytest.fixture
async def made(var):
    runners = []

    def make(leader=None, follower=None, **options):
        def settings(each):
            return HookSettings(*each) if isinstance(each, tuple) else each and HookSettings(each)

        outcomes = Outcomes()
        runner = HookRunner(
            settings(leader),
            settings(follower),
            Environment("zone-0", "http://zone-0:2633/RPC2", "zone-0:2635", "http://z", var=var),
            lambda: 7,
            report=outcomes,
            **({"patience_seconds": 0.2, "retry": Backoff(0.02, 0.1)} | options),
        )
        runners.append(runner)
        return runner, outcomes

    yield make
    for runner in runners:
        await runner.close()


def text_of(path):
    return path.read_text() if path.exists() else ""


async def until_exists(path):
    async with asyncio.timeout(10):
        while not (text := text_of(path)):
            await asyncio.sleep(0.01)
    return text


def alive(pid):
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pid):
    async with asyncio.timeout(10):
        while alive(pid):
            await asyncio.sleep(0.01)


async def test_a_hook_is_told_who_and_why(made, var):
    command = script(
        var,
        "tell",
        'echo "$ONED_ROLE $ONED_TERM $ONED_SERVER_ID $ONED_SERVER_NAME $*" >'
        f" {var}/told; readlink /proc/self/fd/0 >> {var}/told",
    )
    runner, outcomes = made(leader=(command, "leader  eth0\t10.0.0.1/24"))
    runner.became_leader(3)
    assert await outcomes.next() == ("leader", "success")
    assert (var / "told").read_text().splitlines() == [
        "leader 3 7 zone-0 leader eth0 10.0.0.1/24",
        "/dev/null",
    ]


async def test_hooks_run_in_order(made, var):
    leader = script(var, "up", f"echo x > {var}/begun; sleep 0.1; echo up $ONED_TERM >> {var}/log")
    follower = script(var, "down", f"echo down $ONED_TERM >> {var}/log")
    runner, outcomes = made(leader, follower, patience_seconds=5)
    runner.became_leader(3)
    await until_exists(var / "begun")
    runner.became_follower(4)
    assert [await outcomes.next(), await outcomes.next()] == [
        ("leader", "success"),
        ("follower", "success"),
    ]
    assert (var / "log").read_text().splitlines() == ["up 3", "down 4"]


async def test_the_newest_wins_over_those_that_wait(made, var):
    leader = script(var, "up", f"echo up $ONED_TERM >> {var}/log; sleep 0.1")
    follower = script(var, "down", f"echo down $ONED_TERM >> {var}/log")
    runner, outcomes = made(leader, follower, patience_seconds=5)
    runner.became_leader(1)
    await until_exists(var / "log")
    runner.became_follower(2)
    runner.became_leader(3)
    runner.became_follower(4)
    runner.became_leader(5)
    assert [await outcomes.next(), await outcomes.next()] == [("leader", "success")] * 2
    assert (var / "log").read_text().splitlines() == ["up 1", "up 5"]


async def test_a_slow_hook_of_an_ended_role_is_killed_with_its_children(made, var, monkeypatch):
    monkeypatch.setattr(process, "TERMINATE_SECONDS", 0.1)
    leader = script(var, "up", f"trap '' TERM; sleep 100 & echo $$ $! > {var}/pids; wait; wait")
    follower = script(var, "down", f"echo down > {var}/log")
    runner, outcomes = made(leader, follower)
    runner.became_leader(1)
    pids = (await until_exists(var / "pids")).split()
    runner.became_follower(2)
    assert await outcomes.next() == ("leader", "replaced")
    assert await outcomes.next() == ("follower", "success")
    for pid in pids:
        await until_gone(pid)


async def test_a_failing_hook_is_tried_again(made, var):
    command = script(var, "flaky", f"echo x >> {var}/tries; [ $(wc -l < {var}/tries) -ge 3 ]")
    runner, outcomes = made(leader=command)
    with structlog.testing.capture_logs() as logs:
        runner.became_leader(1)
        results = [await outcomes.next() for _ in range(3)]
    assert results == [("leader", "failed"), ("leader", "failed"), ("leader", "success")]
    assert [line["error"] for line in logs if line["event"] == "hook failed"] == [
        f"{var}/remotes/hooks/flaky ended with code 1"
    ] * 2


async def test_retrying_ends_with_the_role(made, var):
    leader = script(var, "bad", f"echo x >> {var}/tries; exit 3")
    follower = script(var, "down", "true")
    # What runs as the role ends is let finish, so that it fails like the others.
    runner, outcomes = made(leader, follower, patience_seconds=5, retry=Backoff(0.02, 0.02))
    runner.became_leader(1)
    assert await outcomes.next() == ("leader", "failed")
    assert await outcomes.next() == ("leader", "failed")
    runner.became_follower(2)
    while (outcome := await outcomes.next()) != ("follower", "success"):
        assert outcome == ("leader", "failed")
    tries = (var / "tries").read_text()
    await asyncio.sleep(0.1)
    assert (var / "tries").read_text() == tries


async def test_missing_hook_is_tried_again_until_installed(made, var):
    runner, outcomes = made(leader="later")
    runner.became_leader(1)
    assert await outcomes.next() == ("leader", "failed")
    script(var, "later", "true")
    while (outcome := await outcomes.next()) != ("leader", "success"):
        assert outcome == ("leader", "failed")


async def test_becoming_follower_again_changes_nothing(made, var):
    follower = script(var, "down", f"echo $ONED_TERM >> {var}/log")
    runner, outcomes = made(follower=follower)
    runner.became_follower(1)
    assert await outcomes.next() == ("follower", "success")
    runner.became_follower(2)
    runner.became_leader(3)
    runner.became_follower(4)
    assert await outcomes.next() == ("follower", "success")
    assert (var / "log").read_text().splitlines() == ["1", "4"]


async def test_closing_a_leader_runs_the_followers_hook(made, var):
    follower = script(var, "down", f"echo down $ONED_TERM > {var}/log")
    runner, _ = made(script(var, "up", "true"), follower)
    runner.became_leader(3)
    await runner.close()
    assert (var / "log").read_text() == "down 3\n"
    runner.became_leader(4)  # comes too late, and does nothing
    await runner.close()


async def test_closing_does_not_wait_for_a_hook_that_hangs(made, var, monkeypatch):
    monkeypatch.setattr(runner_module, "CLOSE_SECONDS", 0.2)
    follower = script(var, "down", f"echo $$ > {var}/pid; exec sleep 100")
    runner, _ = made(follower=follower)
    runner.became_follower(1)
    pid = await until_exists(var / "pid")
    await asyncio.wait_for(runner.close(), 5)
    assert not alive(pid.strip())


async def test_closing_ends_retries(made, var):
    runner, outcomes = made(follower=script(var, "bad", "false"), retry=Backoff(60, 60))
    runner.became_follower(1)
    assert await outcomes.next() == ("follower", "failed")
    await asyncio.wait_for(runner.close(), 5)


async def test_hooks_that_are_not_configured(made):
    runner, outcomes = made()
    runner.became_follower(1)
    runner.became_leader(2)
    await asyncio.wait_for(runner.close(), 5)
    assert outcomes.queue.empty()


async def test_empty_command_is_warned_about_and_ignored(made):
    with structlog.testing.capture_logs() as logs:
        runner, outcomes = made(leader=" ")
    assert logs[0]["event"] == "hook without COMMAND ignored"
    runner.became_leader(1)
    await runner.close()
    assert outcomes.queue.empty()


async def test_no_more_arguments_than_opennebula_passes(made, var):
    command = script(var, "count", f"echo $# > {var}/count")
    with structlog.testing.capture_logs() as logs:
        runner, outcomes = made(leader=(command, "x " * 60))
    assert logs[0]["event"].startswith("too many ARGUMENTS")
    runner.became_leader(1)
    await outcomes.next()
    assert int((var / "count").read_text()) == ARGUMENTS_MAX


async def test_output_is_logged_and_bounded(made, var):
    command = script(var, "chatty", "echo out; echo err >&2")
    runner, outcomes = made(leader=command)
    with structlog.testing.capture_logs() as logs:
        runner.became_leader(1)
        await outcomes.next()
    (line,) = [line for line in logs if line["event"] == "hook ended"]
    assert (line["output"], line["code"], line["term"]) == ("out\nerr", 0, 1)


# --- resident hooks ------------------------------------------------------------------


class Resident:
    """Leads until cancelled, and notes what happens to it."""

    def __init__(self):
        self.events = []
        self.failures = 0
        self.happened = asyncio.Condition()

    async def note(self, event):
        async with self.happened:
            self.events.append(event)
            self.happened.notify_all()

    async def until(self, event):
        async with asyncio.timeout(10), self.happened:
            await self.happened.wait_for(lambda: event in self.events)

    def check(self, arguments):
        if not arguments:
            raise ConfigError("say something")

    async def run(self, arguments, occasion):
        await self.note((arguments[0], occasion.side, occasion.term))
        if occasion.side is Side.FOLLOWER:
            return
        if self.failures:
            self.failures -= 1
            raise HookError("not today") if self.failures else ZeroDivisionError
        await self.note("waiting")
        try:
            await asyncio.Event().wait()
        finally:
            await self.note("cleaned up")

    async def close(self):
        await self.note("closed")


async def test_resident_hook_leads_until_its_role_ends(made):
    resident = Resident()
    runner, outcomes = made(("vip", "a"), ("vip", "b"), residents={"vip": resident})
    runner.became_leader(1)
    await resident.until("waiting")
    runner.became_follower(2)
    assert await outcomes.next() == ("leader", "replaced")
    assert await outcomes.next() == ("follower", "success")
    await runner.close()
    assert resident.events == [
        ("a", "leader", 1),
        "waiting",
        "cleaned up",
        ("b", "follower", 2),
        "closed",
    ]


async def test_resident_hook_without_a_follower_hook_cleans_up_too(made):
    resident = Resident()
    runner, _ = made(("vip", "a"), residents={"vip": resident})
    runner.became_leader(1)
    await resident.until("waiting")
    await runner.close()
    assert resident.events == [("a", "leader", 1), "waiting", "cleaned up", "closed"]


async def test_failing_resident_hook_is_called_again_even_when_it_is_a_fault(made):
    resident = Resident()
    resident.failures = 2
    runner, outcomes = made(("vip", "a"), residents={"vip": resident})
    runner.became_leader(1)
    assert [await outcomes.next(), await outcomes.next()] == [("leader", "failed")] * 2
    await resident.until("waiting")
    await runner.close()
    assert resident.events.count(("a", "leader", 1)) == 3


async def test_vip_sh_is_resident_unless_installed(made, var):
    resident = Resident()
    runner, _ = made(("raft/vip.sh", "a"), residents={"vip": resident})
    runner.became_leader(1)
    await resident.until("waiting")
    await runner.close()

    script(var, "raft/vip.sh", f"echo script > {var}/log")
    runner, outcomes = made(("raft/vip.sh", "a"), residents={"vip": resident})
    runner.became_leader(1)
    assert await outcomes.next() == ("leader", "success")
    assert (var / "log").read_text() == "script\n"


async def test_wrong_arguments_of_a_resident_hook_stop_the_start(made):
    with pytest.raises(ConfigError, match="RAFT_LEADER_HOOK: say something"):
        made("vip", residents={"vip": Resident()})
    with pytest.raises(ConfigError, match=r"RAFT_FOLLOWER_HOOK: .* no partner"):
        made(follower=("vip", "follower eth0"))


# --- programs ------------------------------------------------------------------------


async def test_only_the_end_of_a_long_output_is_kept():
    result = await execute("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end")
    assert result.code == 0
    assert result.output.endswith("end")
    assert result.output.startswith("[")
    assert len(result.output) < OUTPUT_BYTES + 100


async def test_a_child_left_in_the_background_holds_nothing_up():
    async with asyncio.timeout(5):
        result = await execute("sh", "-c", "sleep 30 & echo $!")
    os.kill(int(result.output), 9)


async def test_a_program_that_takes_too_long_is_killed():
    with pytest.raises(HookError, match=r"sleep took more than 0\.1 s"):
        await execute("sleep", "100", seconds=0.1)


async def test_a_program_that_is_none(tmp_path):
    with pytest.raises(HookError, match="cannot be run: No such file"):
        await execute(str(tmp_path / "none"))
    (tmp_path / "text").write_text("x")
    with pytest.raises(HookError, match="cannot be run: Permission denied"):
        await execute(str(tmp_path / "text"))
    with pytest.raises(HookError, match="cannot be run"):
        await execute("sh", "a\0b")


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_no_descriptor_is_lost(tmp_path):
    await execute("true")
    before = descriptors()
    for _ in range(5):
        await execute("true")
        with pytest.raises(HookError):
            await execute(str(tmp_path / "none"))
        with pytest.raises(HookError):
            await execute("sleep", "100", seconds=0.01)
    assert descriptors() <= before


def test_programs_run_under_uvloop_too():
    """The daemon's loop has its own way with processes."""

    async def scenario():
        assert (await execute("sh", "-c", "echo $A; exit 3", environment={"A": "b"})).code == 3
        assert (await execute("sh", "-c", "sleep 30 & echo hi")).output == "hi"
        with pytest.raises(HookError, match="took more"):
            await execute("sleep", "100", seconds=0.1)
        with pytest.raises(HookError, match="cannot be run"):
            await execute("/none")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(asyncio.wait_for(scenario(), 10))
