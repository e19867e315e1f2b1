"""Whether a history of concurrent calls could have happened one call at a time.

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with Lowe's
memory of visited (linearized set, state) pairs ("Testing for linearizability", 2017): walk
over calls and returns in time's order; a call may be put into effect at any moment before
its own return, and the walk turns back at a return whose call was not. Linearizability is
local, so that each key is judged alone (Herlihy and Wing, 1990).

A call of unknown outcome never returns: it may take effect at any moment after it was made,
or never. A call that failed took no effect; whoever saw one has seen a violation.

Pure: no I/O, clock or randomness. Times are numbers of any unit; only their order counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from operator import attrgetter
from typing import Any, Protocol

NEVER = float("inf")


class Outcome(Enum):
    """What the caller was told."""

    OK = "ok"
    FAILED = "failed"  # not executed, and never will be
    UNKNOWN = "unknown"  # executed or not, now or later


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client.

    Attributes:
        key: what the call is about; keys are independent of each other.
        action: the model's word for what was asked, for example ``"write"``.
        argument: what it was asked with.
        result: what was answered; has no meaning unless the outcome is OK.
        called: when the client sent it.
        returned: when the client had the answer; NEVER counts for unknown outcomes.
    """

    client: int
    key: Hashable
    action: str
    argument: Any
    result: Any
    called: float
    returned: float
    outcome: Outcome = Outcome.OK

    @property
    def deadline(self) -> float:
        """The moment before which it took effect, if it did."""
        return self.returned if self.outcome is Outcome.OK else NEVER


class Model(Protocol):
    """One object, executed one call after another."""

    @property
    def initial(self) -> Hashable: ...

    def step(self, state: Any, operation: Operation) -> tuple[bool, Hashable]:
        """Whether the operation may answer what it did in this state, and the next state.

        An operation of unknown outcome has no answer and is always possible.
        """
        ...

    def matters(self, operation: Operation, known: Sequence[Operation]) -> bool:
        """Whether an operation of unknown outcome could explain an answer among ``known``.

        One that cannot is left out, which is sound: it may never have taken effect.
        """
        ...

    def order(self, known: Sequence[Operation]) -> Sequence[Operation] | None:
        """The one order in which these can have taken effect, where their answers tell it."""
        ...


class Decision(Enum):
    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a whole history.

    Attributes:
        key: the first key, in the history's order, that is not linearizable or not decided.
        prefix: of a violation, the operations called until the history first went wrong.
        offender: the one of them whose answer nothing explains any more.
        steps: states tried; what the bound is compared with.
    """

    decision: Decision
    steps: int
    key: Hashable = None
    prefix: tuple[Operation, ...] = ()
    offender: Operation | None = None

    @property
    def ok(self) -> bool:
        return self.decision is Decision.LINEARIZABLE


class OutOfSteps(Exception):
    """The bound of the search was reached before an answer."""


STEPS_MAX = 5_000_000


def check(history: Sequence[Operation], model: Model, *, steps: int = STEPS_MAX) -> Verdict:
    """Judge a history; ``steps`` bounds the states tried over all its keys.

    A violation found in one key outweighs another key that could not be decided.
    """
    budget = _Budget(steps)
    undecided: Verdict | None = None
    for key, operations in partition(history):
        budget.left = steps - budget.used if undecided is None else max(1, steps // 10)
        try:
            if _linearizable(operations, model, budget):
                continue
        except OutOfSteps:
            undecided = undecided or Verdict(Decision.UNDECIDED, budget.used, key)
            continue
        prefix, offender = _shortest_failing_prefix(operations, model, steps)
        return Verdict(Decision.VIOLATION, budget.used, key, prefix, offender)
    return undecided or Verdict(Decision.LINEARIZABLE, budget.used)


def partition(history: Sequence[Operation]) -> Iterator[tuple[Hashable, list[Operation]]]:
    """Every key with its operations, in the order of the key's first call."""
    keys: dict[Hashable, list[Operation]] = {}
    for operation in sorted(history, key=attrgetter("called")):
        if operation.outcome is not Outcome.FAILED:
            keys.setdefault(operation.key, []).append(operation)
    yield from keys.items()


class _Budget:
    def __init__(self, steps: int) -> None:
        self.left = steps
        self.used = 0

    def take(self) -> None:
        if self.left <= 0:
            raise OutOfSteps
        self.left -= 1
        self.used += 1


class _Event:
    """A call or a return in a doubly linked list, from which it can be lifted and put back."""

    __slots__ = ("after", "before", "bit", "operation", "returning")

    def __init__(self, operation: Operation | None, bit: int, *, is_return: bool) -> None:
        self.operation = operation
        self.bit = bit
        # Of a call: the event of its return. None at a return itself and at a call without one.
        self.returning: _Event | None = self if is_return else None
        self.before: _Event | None = None
        self.after: _Event | None = None

    @property
    def is_return(self) -> bool:
        return self.returning is self

    def lift(self) -> None:
        assert self.before is not None
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def put_back(self) -> None:
        assert self.before is not None
        self.before.after = self
        if self.after is not None:
            self.after.before = self


def _events(operations: Sequence[Operation]) -> tuple[_Event, int]:
    """The list's head, which is no event itself, and how many returns there are.

    A call at the very moment of a return comes before it: they are concurrent.
    """
    timed: list[tuple[float, bool, int, _Event]] = []
    for number, operation in enumerate(operations):
        call = _Event(operation, 1 << number, is_return=False)
        timed.append((operation.called, False, number, call))
        if operation.deadline != NEVER:
            assert operation.returned >= operation.called, operation
            call.returning = _Event(operation, 1 << number, is_return=True)
            timed.append((operation.returned, True, number, call.returning))
    timed.sort(key=lambda event: event[:3])
    head = last = _Event(None, 0, is_return=False)
    for *_, event in timed:
        last.after, event.before = event, last
        last = event
    return head, sum(is_return for _, is_return, *_ in timed)


def _linearizable(operations: Sequence[Operation], model: Model, budget: _Budget) -> bool:
    known = [o for o in operations if o.deadline != NEVER]
    kept = [o for o in operations if o.deadline != NEVER or model.matters(o, known)]
    order = model.order(known) if len(kept) == len(known) else None
    if order is not None:
        return _possible(order, model)
    head, returns_left = _events(kept)
    state = model.initial
    linearized = 0
    visited: set[tuple[int, Hashable]] = {(linearized, state)}
    undo: list[tuple[_Event, Hashable]] = []
    event = head.after
    while returns_left:
        assert event is not None, "a return is left, and the walk stops there"
        if not event.is_return:
            assert event.operation is not None
            budget.take()
            possible, following = model.step(state, event.operation)
            if possible and (linearized | event.bit, following) not in visited:
                visited.add((linearized | event.bit, following))
                undo.append((event, state))
                state = following
                linearized |= event.bit
                event.lift()
                if event.returning is not None:
                    event.returning.lift()
                    returns_left -= 1
                event = head.after
            else:
                event = event.after
            continue
        if not undo:
            return False
        event, state = undo.pop()
        linearized &= ~event.bit
        if event.returning is not None:
            event.returning.put_back()
            returns_left += 1
        event.put_back()
        event = event.after
    return True


def _possible(order: Sequence[Operation], model: Model) -> bool:
    """Whether each may answer what it did after those before it, none of them called too late."""
    state, latest_call = model.initial, -NEVER
    for operation in order:
        possible, state = model.step(state, operation)
        latest_call = max(latest_call, operation.called)
        if not possible or operation.returned < latest_call:
            return False
    return True


def _shortest_failing_prefix(
    operations: Sequence[Operation], model: Model, steps: int
) -> tuple[tuple[Operation, ...], Operation | None]:
    """Cut after the first return that cannot be explained; what has not returned is unknown.

    A prefix of a linearizable history is linearizable, so that halving finds the place. A
    prefix that cannot be decided within the steps counts as one that fails: longer than
    the shortest then, but one that contains it.
    """
    returns = sorted((o for o in operations if o.deadline != NEVER), key=attrgetter("returned"))
    fits, fails = 0, len(returns)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        try:
            good = _linearizable(_prefix(operations, returns[middle - 1]), model, _Budget(steps))
        except OutOfSteps:
            good = False
        fits, fails = (middle, fails) if good else (fits, middle)
    offender = returns[fails - 1]
    return tuple(_prefix(operations, offender)), offender


def _prefix(operations: Sequence[Operation], last: Operation) -> list[Operation]:
    return [
        o if o.deadline <= last.returned else replace(o, outcome=Outcome.UNKNOWN, result=None)
        for o in operations
        if o.called <= last.returned
    ]


# --- models ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register:
    """``write`` a value, ``read`` it, ``swap`` (expected, value) answering whether it did."""

    initial: Hashable = None

    def step(self, state: Any, operation: Operation) -> tuple[bool, Hashable]:
        known = operation.outcome is Outcome.OK
        match operation.action:
            case "write":
                return True, operation.argument
            case "read":
                return not known or operation.result == state, state
            case "swap":
                expected, value = operation.argument
                swapped = state == expected
                return not known or operation.result == swapped, value if swapped else state
            case _:
                raise ValueError(f"a register has no {operation.action}")

    def matters(self, operation: Operation, known: Sequence[Operation]) -> bool:
        """A write that nobody saw and no swap expects hides between two others, or nowhere.

        With swaps about, an unseen value may still explain a swap that failed.
        """
        if operation.action == "read":
            return False
        if operation.action == "swap" or any(o.action == "swap" for o in known):
            return True
        return any(o.action == "read" and o.result == operation.argument for o in known)

    def order(self, known: Sequence[Operation]) -> None:
        """The answers leave it open."""


@dataclass(frozen=True, slots=True)
class AppendList:
    """``append`` an element, ``read`` all elements (a tuple) in the order of their appends."""

    initial: tuple[Hashable, ...] = ()

    def step(self, state: Any, operation: Operation) -> tuple[bool, Hashable]:
        match operation.action:
            case "append":
                return True, (*state, operation.argument)
            case "read":
                known = operation.outcome is Outcome.OK
                return not known or tuple(operation.result) == state, state
            case _:
                raise ValueError(f"a list has no {operation.action}")

    def matters(self, operation: Operation, known: Sequence[Operation]) -> bool:
        """An append that no answer shows may be left out: a list never forgets one."""
        return operation.action == "append" and any(
            o.action == "read" and operation.argument in o.result for o in known
        )

    def order(self, known: Sequence[Operation]) -> None:
        """The answers leave it open."""


@dataclass(frozen=True, slots=True)
class GrowingSet:
    """``add`` an element, ``read`` all elements (a frozenset)."""

    initial: frozenset[Hashable] = frozenset()

    def step(self, state: Any, operation: Operation) -> tuple[bool, Hashable]:
        match operation.action:
            case "add":
                return True, state | {operation.argument}
            case "read":
                return operation.outcome is not Outcome.OK or operation.result == state, state
            case _:
                raise ValueError(f"a set has no {operation.action}")

    def matters(self, operation: Operation, known: Sequence[Operation]) -> bool:
        """An addition that no answer shows may be left out: a set never forgets one."""
        return operation.action == "add" and any(
            o.action == "read" and operation.argument in o.result for o in known
        )

    def order(self, known: Sequence[Operation]) -> None:
        """The answers leave it open."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """``allocate`` answers a number greater than every one answered before it was called."""

    initial: int = -1

    def step(self, state: Any, operation: Operation) -> tuple[bool, Hashable]:
        if operation.action != "allocate":
            raise ValueError(f"an allocation has no {operation.action}")
        if operation.outcome is not Outcome.OK:
            return True, state
        return operation.result > state, operation.result

    def matters(self, operation: Operation, known: Sequence[Operation]) -> bool:  # noqa: ARG002
        """A number that nobody was told may be any that nobody has."""
        return False

    def order(self, known: Sequence[Operation]) -> Sequence[Operation]:
        """Numbers only grow."""
        return sorted(known, key=attrgetter("result"))


def told(operations: Sequence[Operation]) -> str:
    """A history for people: one line a call, in the order of the calls."""
    lines = []
    for o in sorted(operations, key=attrgetter("called")):
        end = f"{o.returned:.6f}" if o.outcome is not Outcome.UNKNOWN else "?"
        lines.append(
            f"[{o.called:.6f} .. {end}] client {o.client}: {o.action} {o.key}"
            f" {o.argument!r} -> {o.result!r} ({o.outcome.value})"
        )
    return "\n".join(lines)
