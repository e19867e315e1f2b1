"""The judge is judged: against brute force, and against histories known to be wrong."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proof.linearizability import (
    Allocation,
    AppendList,
    Decision,
    GrowingSet,
    Model,
    Operation,
    Outcome,
    Register,
    check,
    told,
)

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


def op(  # noqa: PLR0917 (a table reads best with one line a call)
    action: str,
    argument: object,
    result: object,
    called: float,
    returned: float,
    outcome: Outcome = OK,
    client: int = 0,
    key: str = "x",
) -> Operation:
    return Operation(client, key, action, argument, result, called, returned, outcome)


def write(value: object, called: float, returned: float, outcome: Outcome = OK) -> Operation:
    return op("write", value, None, called, returned, outcome)


def read(value: object, called: float, returned: float) -> Operation:
    return op("read", None, value, called, returned)


def append(value: object, called: float, returned: float, outcome: Outcome = OK) -> Operation:
    return op("append", value, None, called, returned, outcome)


def allocate(number: int, called: float, returned: float) -> Operation:
    return op("allocate", None, number, called, returned)


WRONG: dict[str, tuple[Model, list[Operation]]] = {
    "stale read": (Register(), [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]),
    "lost write": (Register(), [write(1, 0, 1), read(None, 2, 3)]),
    "read goes back": (Register(), [write(1, 0, 9), read(1, 1, 2), read(None, 3, 4)]),
    "read from the future": (Register(), [read(1, 0, 1), write(1, 2, 3)]),
    "read of what nobody wrote": (Register(), [write(1, 0, 1), read(7, 2, 3)]),
    "failed write that took effect": (Register(), [write(1, 0, 1, FAILED), read(1, 2, 3)]),
    "unknown write, seen and gone": (
        Register(),
        [write(1, 0, 1, UNKNOWN), read(1, 2, 3), read(None, 4, 5)],
    ),
    "two swaps from one value": (
        Register(0),
        [op("swap", (0, 1), True, 0, 3), op("swap", (0, 2), True, 1, 4)],
    ),
    "lost append": (AppendList(), [append(1, 0, 1), append(2, 2, 3), read((2,), 4, 5)]),
    "appends in two orders": (
        AppendList(),
        [append(1, 0, 9), append(2, 0, 9), read((1, 2), 10, 11), read((2, 1), 12, 13)],
    ),
    "append out of order": (AppendList(), [append(1, 0, 1), append(2, 2, 3), read((2, 1), 4, 5)]),
    "append applied twice": (AppendList(), [append(1, 0, 1), read((1, 1), 2, 3)]),
    "failed append that took effect": (AppendList(), [append(1, 0, 1, FAILED), read((1,), 2, 3)]),
    "lost addition": (
        GrowingSet(),
        [op("add", 1, None, 0, 1), op("read", None, frozenset(), 2, 3)],
    ),
    "failed addition that took effect": (
        GrowingSet(),
        [op("add", 1, None, 0, 1, FAILED), op("read", None, frozenset({1}), 2, 3)],
    ),
    "addition seen and gone": (
        GrowingSet(),
        [
            op("add", 1, None, 0, 1, UNKNOWN),
            op("read", None, frozenset({1}), 2, 3),
            op("read", None, frozenset(), 4, 5),
        ],
    ),
    "duplicated id": (Allocation(), [allocate(3, 0, 5), allocate(3, 1, 6)]),
    "id that was there before": (Allocation(), [allocate(3, 0, 1), allocate(2, 2, 3)]),
}

RIGHT: dict[str, tuple[Model, list[Operation]]] = {
    "nothing at all": (Register(), []),
    "concurrent write seen early": (Register(), [write(1, 0, 9), read(1, 1, 2), read(1, 3, 4)]),
    "touching intervals are concurrent": (Register(), [write(1, 1, 2), read(None, 0, 1)]),
    "unknown write seen late": (
        Register(),
        [write(1, 0, 1, UNKNOWN), read(None, 2, 3), read(1, 9, 10)],
    ),
    "unknown write never seen": (Register(), [write(1, 0, 1, UNKNOWN), read(None, 2, 3)]),
    "failed write not seen": (Register(), [write(1, 0, 1, FAILED), read(None, 2, 3)]),
    "swap refused because of an unseen write": (
        Register(0),
        [write(5, 0, 1, UNKNOWN), op("swap", (0, 1), False, 2, 3)],
    ),
    "unknown append between two others": (
        AppendList(),
        [append(1, 0, 1), append(2, 0, 1, UNKNOWN), append(3, 5, 6), read((1, 2, 3), 7, 8)],
    ),
    "ids with holes": (Allocation(), [allocate(3, 0, 1), allocate(9, 2, 3), allocate(5, 1, 2.5)]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_history_known_to_be_wrong_is_rejected_with_the_call_that_shows_it(name: str) -> None:
    model, history = WRONG[name]
    verdict = check(history, model)
    assert verdict.decision is Decision.VIOLATION
    assert verdict.offender is not None
    assert verdict.offender.outcome is OK
    assert verdict.offender in verdict.prefix
    assert told(verdict.prefix)


@pytest.mark.parametrize("name", RIGHT)
def test_a_history_known_to_be_right_is_accepted(name: str) -> None:
    model, history = RIGHT[name]
    assert check(history, model).decision is Decision.LINEARIZABLE


def test_the_prefix_ends_where_the_history_first_goes_wrong() -> None:
    bad = [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]
    good_afterwards = [write(n, 10 * n, 10 * n + 1) for n in range(3, 40)]
    verdict = check([*good_afterwards, *bad], Register())
    assert verdict.prefix == tuple(bad)
    assert verdict.offender == bad[-1]


def test_keys_are_judged_alone_and_the_bad_one_is_named() -> None:
    good = [op("write", 1, None, 0, 1, key="good"), op("read", None, 1, 2, 3, key="good")]
    bad = [op("write", 1, None, 0, 1, key="bad"), op("read", None, 2, 2, 3, key="bad")]
    verdict = check([*good, *bad], Register())
    assert (verdict.decision, verdict.key) == (Decision.VIOLATION, "bad")


def test_a_search_out_of_steps_says_undecided() -> None:
    history = [write(n, 0, 100) for n in range(20)] + [read(99, 0, 100)]
    verdict = check(history, Register(), steps=1000)
    assert verdict.decision is Decision.UNDECIDED
    assert verdict.steps == 1000


def test_ten_thousand_calls_of_which_a_tenth_are_unknown_are_judged_in_linear_steps() -> None:
    history = []
    for n in range(10_000):
        history.append(write(n, 3 * n, 3 * n + 5, UNKNOWN if n % 10 == 0 else OK))
        if n % 10:
            history.append(read(n, 3 * n + 1, 3 * n + 2))
    verdict = check(history, Register())
    assert verdict.decision is Decision.LINEARIZABLE
    assert verdict.steps < 20 * len(history)


def by_brute_force(history: list[Operation], model: Model) -> bool:
    """Every order of every choice of unknown calls, held against time and the model."""
    known = [o for o in history if o.outcome is OK]
    unknown = [o for o in history if o.outcome is UNKNOWN]
    for choice in range(1 << len(unknown)):
        chosen = known + [o for n, o in enumerate(unknown) if choice >> n & 1]
        if any(_fits(order, model) for order in permutations(chosen)):
            return True
    return False


def _fits(order: tuple[Operation, ...], model: Model) -> bool:
    for n, later in enumerate(order):
        if any(later.deadline < earlier.called for earlier in order[:n]):
            return False
    state = model.initial
    for operation in order:
        possible, state = model.step(state, operation)
        if not possible:
            return False
    return True


VALUES = st.integers(0, 2)
REGISTER_CALLS = st.one_of(
    st.tuples(st.just("write"), VALUES, st.none()),
    st.tuples(st.just("read"), st.none(), VALUES),
    st.tuples(st.just("swap"), st.tuples(VALUES, VALUES), st.booleans()),
)
LIST_CALLS = st.one_of(
    st.tuples(st.just("append"), VALUES, st.none()),
    st.tuples(st.just("read"), st.none(), st.lists(VALUES, max_size=3).map(tuple)),
)
SET_CALLS = st.one_of(
    st.tuples(st.just("add"), VALUES, st.none()),
    st.tuples(st.just("read"), st.none(), st.frozensets(VALUES)),
)
ALLOCATIONS = st.tuples(st.just("allocate"), st.none(), st.integers(0, 4))


@st.composite
def histories(draw: st.DrawFn, calls: st.SearchStrategy) -> list[Operation]:
    history = []
    for client in range(draw(st.integers(0, 5))):
        called = draw(st.integers(0, 8))
        returned = called + draw(st.integers(0, 5))
        outcome = draw(st.sampled_from([OK, OK, OK, UNKNOWN, FAILED]))
        action, argument, result = draw(calls)
        history.append(op(action, argument, result, called, returned, outcome, client))
    return history


@given(histories(REGISTER_CALLS))
@settings(max_examples=400, deadline=None)
def test_registers_are_judged_as_brute_force_judges_them(history: list[Operation]) -> None:
    assert check(history, Register(0)).ok == by_brute_force(history, Register(0))


@given(histories(LIST_CALLS))
@settings(max_examples=400, deadline=None)
def test_lists_are_judged_as_brute_force_judges_them(history: list[Operation]) -> None:
    assert check(history, AppendList()).ok == by_brute_force(history, AppendList())


@given(histories(SET_CALLS))
@settings(max_examples=400, deadline=None)
def test_sets_are_judged_as_brute_force_judges_them(history: list[Operation]) -> None:
    assert check(history, GrowingSet()).ok == by_brute_force(history, GrowingSet())


@given(histories(ALLOCATIONS))
@settings(max_examples=300, deadline=None)
def test_allocations_are_judged_as_brute_force_judges_them(history: list[Operation]) -> None:
    assert check(history, Allocation()).ok == by_brute_force(history, Allocation())
