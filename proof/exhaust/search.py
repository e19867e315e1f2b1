"""Breadth-first through a zone: every state once, and the shortest way to a broken promise."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from proof.exhaust.bounds import Bounds
from proof.exhaust.space import Move, Space, State

PROGRESS_SECONDS = 10.0


@dataclass(slots=True)
class Found:
    """How a search ended.

    Attributes:
        complete: whether every state within the bounds was seen.
        wrong: the broken promise, if one was found.
        moves: the shortest way to it, from the start.
    """

    bounds: Bounds
    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = False
    ran: int = 0
    wrong: str | None = None
    moves: list[Move] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "pass" if self.wrong is None else "FAIL"

    @property
    def extent(self) -> str:
        if self.wrong is not None:
            return "stopped at the violation"
        return "complete" if self.complete else "CUT at --max-states"

    def line(self) -> str:
        return (
            f"exhaust: {self.bounds.name}: {self.bounds.told()}: {self.states:,} distinct states,"
            f" {self.transitions:,} transitions, depth {self.depth},"
            f" {int(self.wrong is not None)} violations, {self.extent} in {self.seconds:.0f} s:"
            f" {self.verdict}"
        )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of tuples, none of them in a cycle: looking for some would take half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Search:
    """One breadth-first search."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        states_max: int = 1 << 62,
        say: Callable[[str], None] = lambda _line: None,
        reduce: bool = True,
    ) -> None:
        self.space = Space(bounds, reduce=reduce)
        self.found = Found(bounds)
        self.seen: dict[State, State | None] = {}
        self._states_max = states_max
        self._say = say
        self._started = self._said = time.monotonic()

    def run(self) -> Found:
        """Search until there is nothing new, too much, or something wrong."""
        with _without_collector():
            self._search()
        self.found.states = len(self.seen)
        self.found.seconds = time.monotonic() - self._started
        self.found.ran = self.space.servers.ran
        return self.found

    def _search(self) -> None:
        space, seen, found = self.space, self.seen, self.found
        start = space.start()
        first = space.canonical(start)
        seen[first] = None
        found.wrong = space.wrong(first)
        frontier = [first]
        while frontier and found.wrong is None:
            frontier = self._level(frontier)
            if found.wrong is not None:
                return
            found.depth += bool(frontier)
            if len(seen) >= self._states_max:
                return
        found.complete = found.wrong is None

    def _level(self, frontier: list[State]) -> list[State]:
        """Everything one move further on."""
        space, seen, found = self.space, self.seen, self.found
        moves, canonical, wrong = space.moves, space.canonical, space.wrong
        new: list[State] = []
        for state in frontier:
            following = moves(state)
            found.transitions += len(following)
            for move in following:
                if move[2].wrong is not None:
                    self._fail(state, None)
                    return new
                after = canonical(move[0])
                if after in seen:
                    continue
                seen[after] = state
                new.append(after)
                if wrong(after) is not None:
                    self._fail(state, after)
                    return new
            if len(seen) >= self._states_max:
                break
            if len(new) % 1024 < len(following):
                self._report(len(new))
        return new

    def _report(self, waiting: int) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            self._say(
                f"{self.found.bounds.name}: depth {self.found.depth}, {len(self.seen):,} states,"
                f" {waiting:,} in the next level, {self.found.transitions:,} transitions,"
                f" {self.space.servers.ran:,} runs of the core, {now - self._started:.0f} s"
            )

    def _way(self, last: State, after: State | None) -> list[Move]:
        """The moves from the start to ``last`` and on to ``after``, with constant names.

        Each state of the chain names its servers in its own canonical way, so the way is walked
        once more from the start, without renaming.
        """
        chain = [last] if after is None else [after, last]
        while (parent := self.seen[chain[-1]]) is not None:
            chain.append(parent)
        chain.reverse()
        space = self.space
        state, way = space.start(), []
        for wanted in chain[1:]:
            move = next(m for m in space.moves(state) if space.canonical(m[0]) == wanted)
            way.append(move)
            state = move[0]
        if after is None:
            way.append(next(m for m in space.moves(state) if m[2].wrong is not None))
        return way

    def _fail(self, last: State, after: State | None) -> None:
        """Note what is wrong, in the names that the way to it uses."""
        way = self.found.moves = self._way(last, after)
        self.found.wrong = way[-1][2].wrong or self.space.wrong(way[-1][0])
        assert self.found.wrong is not None
