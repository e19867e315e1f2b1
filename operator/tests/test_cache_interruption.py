"""The operator reads from a cache that is behind, is killed at its writes, and breaks nothing.

As ``test_interruption``, with the operator's own cache between it and the model, some or many
events late. What it plans on is old then; what it does must be right all the same.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import threading

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_cache import CachedWorld
from operator_convergence import UNDISTURBED_PASSES_MAX, check_end, converge, prepare
from operator_operations import OPERATIONS, Operation

from onezone_operator.kube.cache import CachedKube

LATE_PASSES_MAX = 40
"""Passes more that old facts, and being killed, may cost."""

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()

LAGS = (2, 40)
"""Events. A pod that is replaced makes about ten."""


@pytest.fixture(autouse=True)
def quiet():
    """Thousands of passes have little to tell."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@functools.cache
def prepared(operation: Operation, ticks: int) -> bytes:
    return asyncio.run_coroutine_threadsafe(
        prepare(operation, ticks=ticks, kind=CachedWorld), LOOP
    ).result()


def start(operation: Operation, behind: int, ticks: int = 1) -> CachedWorld:
    """The world right after the operation was started, with an operator that starts now."""
    world: CachedWorld = pickle.loads(prepared(operation, ticks))
    world.behind = behind
    return world


async def run(operation: Operation, behind: int, **cut: int) -> CachedWorld:
    world = start(operation, behind)
    for moment, call in cut.items():
        setattr(world, moment, call)
    try:
        await converge(world, UNDISTURBED_PASSES_MAX + LATE_PASSES_MAX, operation=operation)
        await check_end(world, operation)
    except AssertionError as error:
        requests = list(enumerate(world.requests, start=1))[-12:]
        raise AssertionError(f"{behind} events behind, {cut}: {error}\n{requests}") from error
    return world


@pytest.mark.timeout(240)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name.replace(" ", "-"))
async def test_killed_at_a_write_with_old_facts(operation):
    for behind in LAGS:
        undisturbed = await run(operation, behind)
        writes = [
            call
            for call, request in enumerate(undisturbed.requests, start=1)
            if not request.startswith(("get", "list", "read"))
        ]
        assert writes
        # A seventh of them with each lag: every one of them is in test_interruption.
        for number, call in list(enumerate(writes))[behind % 7 :: 7]:
            moment = ("cut_before", "cut_after")[(number + behind) % 2]
            world = await run(operation, behind, **{moment: call})
            if not world.cuts:  # planned on old facts and refused: it has no effect to come after
                world = await run(operation, behind, cut_before=call)
            assert world.cuts == 1


@pytest.mark.parametrize("behind", LAGS)
async def test_a_pass_at_rest_asks_the_api_server_nothing(behind):
    world = start(next(each for each in OPERATIONS if each.servers == 3), behind=behind)
    await converge(world, UNDISTURBED_PASSES_MAX + LATE_PASSES_MAX)
    for _ in range(30):
        world.step()
        await world.run_pass()
    world.requests.clear()
    for _ in range(10):
        world.step(5)
        await world.run_pass()
    assert {request.split()[0] for request in world.requests} == {"read"}
    assert len(world.requests) == 10


@pytest.mark.timeout(240)
async def test_a_step_costs_few_calls_of_the_api_server():
    """Reads, the status, the event and the step itself: at most twelve."""
    for operation in OPERATIONS:
        world = start(operation, 0)
        worst = 0
        for number in range(UNDISTURBED_PASSES_MAX):
            before = len(world.requests)
            await world.run_pass()
            calls = [each for each in world.requests[before:] if not each.startswith("read")]
            # The first pass of a new zone asks for each name that it is going to take.
            if not (number == 0 and operation.servers == 0):
                worst = max(worst, len(calls))
            world.step()
            if world.is_as_desired():
                break
        assert worst <= 12, operation.name


@pytest.mark.timeout(240)
@settings(max_examples=15, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    behind=st.integers(0, 60),
    ticks=st.integers(0, 3),
    cut=st.tuples(st.sampled_from(["cut_before", "cut_after"]), st.integers(1, 120)),
)
def test_killed_anywhere_with_old_facts(*, operation, behind, ticks, cut):
    async def attempt() -> None:
        world = start(operation, behind, ticks)
        setattr(world, *cut)
        await converge(world, UNDISTURBED_PASSES_MAX + LATE_PASSES_MAX, operation=operation)
        await check_end(world, operation)

    asyncio.run(attempt())


async def test_unconditional_writes_on_old_facts_are_noticed(monkeypatch):
    """The model is strict enough: an operator without both rules does not get through it.

    Either is enough in this model: waiting for its own writes, or writes that name a version.
    """
    apply = CachedKube.apply

    async def apply_anyway(self, manifest, **options):
        metadata = {k: v for k, v in manifest["metadata"].items() if k != "resourceVersion"}
        return await apply(self, {**manifest, "metadata": metadata}, **options)

    monkeypatch.setattr(CachedKube, "_await_version", lambda *_: None)
    monkeypatch.setattr(CachedKube, "apply", apply_anyway)
    roll = next(each for each in OPERATIONS if each.name == "roll the image")
    with pytest.raises(AssertionError):
        await run(roll, 2)
