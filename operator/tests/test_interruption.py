"""The operator is killed at every single call, and the next one finishes what it began.

For each operation a first run counts the calls, reading ones too. Then there is one run for each
call (reads in a row share one, see ``Course.kills``), killed before it takes effect, and for each
writing one another, killed when it has taken effect and its answer is lost. A new operator without
memory starts at once, a second later, or long after. ``operator_convergence`` says what must hold;
``pytest -s`` prints a line an operation.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cluster import READING, ZONE, ViolationError
from operator_convergence import (
    RECOVERY_PASSES_MAX,
    UNDISTURBED_PASSES_MAX,
    check_end,
    converge,
    prepare,
)
from operator_operations import OPERATIONS, Operation
from operator_world import Wire, World

from onezone_operator.errors import Conflict, OperatorError
from onezone_operator.handlers import reconciler
from onezone_operator.reconcile import certificates, plan, volumes
from onezone_operator.reconcile.steps import (
    ApplyObjects,
    CreateJob,
    DeleteBackup,
    DeleteVolume,
    Nothing,
    RecordBootstrap,
    RegisterMember,
    RemoveMember,
    RepairRoute,
    ReportBackup,
    SetReplicas,
    Step,
)

OUTAGES = (0, 1, 7)
"""Seconds without an operator: none at all, a moment, and long enough for everything else to
happen meanwhile."""

DELAYS = (1, 2, 4, 5)
"""Passes of the next operator until the last call of the one before arrives."""

KILLED_SECONDS = 900
"""For the hundreds of runs of one operation, on a machine that has other things to do."""

REPAIR_PASSES_MAX = 4
"""Passes in which what a late call changed back is put right again."""


EVERY_CALL = bool(os.environ.get("ONEZONE_EVERY_CALL"))


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of passes have little to tell."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@dataclass
class Course:
    """An undisturbed run, with the world before each pass."""

    operation: Operation
    passes: int = 0
    requests: list[str] = field(default_factory=list)
    before_pass: list[tuple[int, bytes]] = field(default_factory=list)
    """Number of calls so far, and the world."""

    def kills(self) -> Iterator[tuple[int, str]]:
        """The call and the moment of each kill.

        A read changes nothing: an operator that is killed before a read leaves the same world as
        one that is killed before the read after it. So of reads in a row within a pass one stands
        for all, unless ONEZONE_EVERY_CALL is set.
        """
        begins = {calls + 1 for calls, _ in self.before_pass}
        for call, request in enumerate(self.requests, start=1):
            if not request.startswith(READING):
                yield call, "before"
                yield call, "after"
            elif call in begins or not self.requests[call - 2].startswith(READING) or EVERY_CALL:
                yield call, "before"

    def world_before(self, call: int) -> tuple[int, World]:
        """How many passes there were before the one of this call, and the world then."""
        found = max(number for number, (calls, _) in enumerate(self.before_pass) if calls < call)
        return found, pickle.loads(self.before_pass[found][1])


async def run_undisturbed(operation: Operation) -> Course:
    course = Course(operation)
    world = pickle.loads(await prepare(operation))
    course.passes = await converge(
        world,
        UNDISTURBED_PASSES_MAX,
        operation=operation,
        before_pass=lambda now: course.before_pass.append((len(now.requests), pickle.dumps(now))),
    )
    course.requests = list(world.requests)
    await check_end(world, operation)
    return course


async def run_killed(course: Course, call: int, moment: str, outage: int) -> int:
    """Kill the operator at this call, and let others finish; how many passes it took in all."""
    before, world = course.world_before(call)
    setattr(world, f"cut_{moment}", call)
    bound = course.passes + RECOVERY_PASSES_MAX - before
    try:
        passes = await converge(world, bound, outage=outage, operation=course.operation)
        assert world.cuts == 1, "the operator was to be killed, and was not"
        await check_end(world, course.operation)
    except AssertionError as error:
        request = course.requests[call - 1]
        text = f"killed {moment} call {call} ({request}), then {outage} s without operator: {error}"
        raise AssertionError(text) from error
    return before + passes


@pytest.mark.timeout(KILLED_SECONDS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace(" ", "-"))
async def test_killed_at_every_call(operation):
    course = await run_undisturbed(operation)
    worst, runs = course.passes, 0
    for call, moment in course.kills():
        outage = OUTAGES[runs % len(OUTAGES)]
        worst = max(worst, await run_killed(course, call, moment, outage))
        runs += 1
    writes = sum(not request.startswith(READING) for request in course.requests)
    print(
        f"\n{operation.name}: {len(course.requests)} calls, {writes} of them write, {runs} runs; "
        f"converged after {course.passes} passes undisturbed, at most {worst} killed"
    )


async def run_late(course: Course, call: int, delay: int) -> None:
    """Kill the operator at this call, and let the call arrive when the next one is at work."""
    before, world = course.world_before(call)
    wire = Wire(world)
    world.start_operator_on(wire)
    world.cut_before = call
    await world.run_pass()
    assert world.cuts == 1
    for _ in range(delay):
        with contextlib.suppress(OperatorError):
            await world.run_pass()
        world.step()
    try:
        await wire.deliver()
        bound = course.passes + RECOVERY_PASSES_MAX + REPAIR_PASSES_MAX - before
        await converge(world, bound, operation=course.operation)
        await check_end(world, course.operation)
    except AssertionError as error:
        request = course.requests[call - 1]
        text = f"call {call} ({request}) arrived {delay} passes late: {error}"
        raise AssertionError(text) from error


@pytest.mark.timeout(KILLED_SECONDS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace(" ", "-"))
async def test_last_call_arrives_late(operation):
    course = await run_undisturbed(operation)
    for call, request in enumerate(course.requests, start=1):
        if request.startswith(READING):
            continue
        # What is in a Secret is made once, so that all delays matter.
        for delay in DELAYS if " Secret" in request else (DELAYS[call % len(DELAYS)],):
            await run_late(course, call, delay)


def _pod_before_member(step: Step) -> Step:
    """Shrinks the wrong way round."""
    if isinstance(step, RemoveMember):
        ordinal = int(step.server.rpartition("-")[2])
        manifest = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": ZONE}}
        return SetReplicas({**manifest, "spec": {"replicas": ordinal}}, ordinal + 1, ordinal)
    return step


def _leaves_the_pod(step: Step) -> Step:
    """Thinks that a server is gone when it is no member."""
    return Nothing("AsDesired", "") if isinstance(step, SetReplicas) else step


def _leaves_the_route(step: Step) -> Step:
    return Nothing("AsDesired", "") if isinstance(step, RepairRoute) else step


def _keeps_the_volume(step: Step) -> Step:
    """Thinks that a server which is no member is as good as new."""
    if not isinstance(step, DeleteVolume):
        return step
    host = f"{step.server}.{ZONE}-servers.front.svc"
    return RegisterMember(step.server, f"http://{host}:2633/RPC2", f"{host}:2635", step.leader)


def _takes_the_volume_first(step: Step) -> Step:
    if isinstance(step, RemoveMember):
        return DeleteVolume(step.server, f"data-{step.server}", "", None, step.leader)
    return step


def _lets_the_volumes_go(step: Step) -> Step:
    """Stops the pods under a policy by which their claims go with them."""
    if not isinstance(step, SetReplicas) or step.after:
        return step
    policy = {"whenDeleted": "Retain", "whenScaled": "Delete"}
    spec = {**step.manifest["spec"], "persistentVolumeClaimRetentionPolicy": policy}
    return replace(step, manifest={**step.manifest, "spec": spec})


def _forgets_who_founded(step: Step) -> Step:
    if isinstance(step, ApplyObjects) and "has begun it" in " ".join(step.reasons):
        return Nothing("AsDesired", "")
    return step


def _leaves_the_file(step: Step) -> Step:
    """Deletes a backup and forgets what it stands for."""
    if isinstance(step, CreateJob) and step.manifest["metadata"]["name"].endswith("-drop"):
        owner = step.manifest["metadata"]["ownerReferences"][0]
        return DeleteBackup(owner["name"], owner["uid"])
    return step


def _burdens_the_leader(step: Step) -> Step:
    if isinstance(step, ReportBackup) and step.status.attempts == 1:
        status = step.status.model_copy(update={"server": f"{ZONE}-0"})
        return replace(step, status=status)
    return step


def _writes_at_rest(step: Step) -> Step:
    return RecordBootstrap("") if isinstance(step, Nothing) else step


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("shrink 3 to 1", _pod_before_member),
        ("shrink 3 to 1", _leaves_the_pod),
        ("repair the route", _leaves_the_route),
        ("grow 1 to 3", _writes_at_rest),
        ("replace the middle by task", _keeps_the_volume),
        ("replace the middle by task", _takes_the_volume_first),
        ("recover the quorum", _lets_the_volumes_go),
        ("restore in place", _forgets_who_founded),
        ("keep to the retention", _leaves_the_file),
        ("back up", _burdens_the_leader),
    ],
)
async def test_mistakes_are_noticed(monkeypatch, name, mistake):
    """The model is strict enough: an operator with a mistake does not get through."""
    operation = next(each for each in OPERATIONS if each.name == name)
    world = pickle.loads(await prepare(operation))
    monkeypatch.setattr(reconciler, "plan", lambda *args, **kinds: mistake(plan(*args, **kinds)))

    async def run() -> None:
        await converge(world, UNDISTURBED_PASSES_MAX, operation=operation)
        await check_end(world, operation)

    with pytest.raises(AssertionError):
        await run()


async def test_rotation_that_does_not_wait_is_noticed(monkeypatch):
    """A certificate of an authority that not all trust yet is shown to those that do not."""
    operation = next(each for each in OPERATIONS if each.name == "rotate the authority")
    world = pickle.loads(await prepare(operation))
    monkeypatch.setattr(certificates, "_lagging", lambda *_: [])
    with pytest.raises(ViolationError, match="does not accept"):
        await converge(world, UNDISTURBED_PASSES_MAX)


class Applies(Wire):
    """Keeps every apply that was sent through it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.sent: list[dict] = []

    async def apply(self, manifest: dict, *, manager: str) -> dict:
        self.sent.append(manifest)
        return await self.world.apply(manifest, manager=manager)


async def test_what_made_the_zone_changes_nothing_when_the_zone_has_grown():
    """However late: with its one pod the first StatefulSet would take two servers of three."""
    world = pickle.loads(await prepare(next(e for e in OPERATIONS if e.name == "make a new zone")))
    wire = Applies(world)
    world.start_operator_on(wire)
    world.declare(replicas=1)
    await settle(world)
    founding = list(wire.sent)
    assert {"StatefulSet", "ConfigMap"} <= {each["kind"] for each in founding}
    world.declare(replicas=3)
    await settle(world)
    grown = pickle.dumps(world.objects)
    for manifest in founding:
        with pytest.raises(Conflict):
            await world.apply(manifest, manager="the operator before")
    assert pickle.dumps(world.objects) == grown


async def settle(world: World) -> None:
    for _ in range(UNDISTURBED_PASSES_MAX):
        await world.run_pass()
        world.step()
        if world.is_as_desired():
            return
    raise AssertionError(world.zone().status.plan)


def _leader_first(monkeypatch):
    in_order = volumes._growing
    monkeypatch.setattr(
        volumes, "_growing", lambda *args: dict(reversed([*in_order(*args).items()]))
    )


def _all_at_once(monkeypatch):
    must = volumes._must_grow
    monkeypatch.setattr(
        volumes,
        "_must_grow",
        lambda zone, volume: must(zone, volume) and not volumes._is_asked(zone, volume),
    )


def _volumes_go_along(monkeypatch):
    monkeypatch.setattr(volumes, "any", lambda _: False, raising=False)
    # The package's name ``plan`` is the function.
    module = sys.modules["onezone_operator.reconcile.plan"]
    monkeypatch.setattr(module, "releases_volumes", lambda *_: False)


@pytest.mark.parametrize(
    ("name", "mistake", "noticed"),
    [
        ("grow the volumes", _leader_first, "the leader's volume grows before"),
        ("grow the volumes", _all_at_once, "grows beside another"),
        (
            "grow the volumes that go with their StatefulSet",
            _volumes_go_along,
            "volumes go with the StatefulSet",
        ),
    ],
)
async def test_volumes_that_grow_in_a_wrong_way_are_noticed(monkeypatch, name, mistake, noticed):
    operation = next(each for each in OPERATIONS if each.name == name)
    world = pickle.loads(await prepare(operation))
    mistake(monkeypatch)
    with pytest.raises(ViolationError, match=noticed):
        await converge(world, UNDISTURBED_PASSES_MAX, operation=operation)


@functools.cache
def prepared(operation: Operation, ticks: int, controller_takes: int) -> bytes:
    return asyncio.run(prepare(operation, ticks=ticks, controller_takes=controller_takes))


MOMENTS = st.sampled_from(["cut_before", "cut_after"])


@pytest.mark.timeout(240)
@settings(max_examples=100, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    ticks=st.integers(0, 3),
    controller_takes=st.integers(0, 2),
    first=st.tuples(MOMENTS, st.integers(1, 250)),
    second=st.tuples(MOMENTS, st.integers(1, 120)),
    outage=st.integers(0, 8),
)
def test_killed_twice(*, operation, ticks, controller_takes, first, second, outage):
    """At two random calls, in clusters and zones that are quick or slow."""
    world = pickle.loads(prepared(operation, ticks, controller_takes))
    setattr(world, *first)

    def kill_again(now: World) -> None:
        moment, calls = second
        if now.cuts == 1 and getattr(now, moment) in {None, first[1]}:
            setattr(now, moment, len(now.requests) + calls)

    async def run() -> None:
        bound = UNDISTURBED_PASSES_MAX + 2 * RECOVERY_PASSES_MAX
        await converge(world, bound, outage=outage, before_pass=kill_again, operation=operation)
        await check_end(world, operation)

    asyncio.run(run())
