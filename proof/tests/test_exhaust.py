"""The exhaustive search: it ends, its reductions lose nothing, and it finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from oned.raft.leadership import Leadership
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import AppendRequest, Message, VoteReply, VoteRequest
from oned.raft.types import NO_SERVER, Index, ServerId
from proof.exhaust import trace
from proof.exhaust.bounds import Bounds
from proof.exhaust.search import Found, Search
from proof.exhaust.server import Server

pytestmark = pytest.mark.timeout(120)


def searched(bounds: Bounds, **options: Any) -> tuple[Search, Found]:
    search = Search(bounds, **options)
    return search, search.run()


def told(bounds: Bounds) -> str:
    """The trace of the violation that a search must find."""
    search, found = searched(bounds)
    assert found.wrong is not None, found.line()
    assert not found.complete
    assert found.verdict == "FAIL"
    return "\n".join(trace.lines(search.space, found))


# --- the shipped core ---------------------------------------------------------------------


SMALL = [
    Bounds("entry", elections=1, entries=1, crashes=0, messages=2),
    Bounds("crash", elections=1, entries=0, crashes=1, messages=2),
    Bounds("elections", elections=2, entries=0, crashes=0, messages=1),
]


@pytest.mark.parametrize("bounds", SMALL, ids=lambda b: b.name)
def test_a_small_zone_is_searched_to_its_end(bounds: Bounds) -> None:
    _, found = searched(bounds)
    assert found.wrong is None
    assert found.complete
    assert found.states > 1000
    assert found.ran * 2 < found.transitions


def test_a_search_reaches_a_second_leader_with_all_entries_committed() -> None:
    search, _ = searched(Bounds(elections=2, entries=1, crashes=0, messages=1))
    locals_ = search.space.servers.locals
    assert any(value.office and value.core.term == 2 for value in locals_)
    assert max(len(history) for history in search.space.histories) == 3


# --- teeth --------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def commits_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8: an entry of a former term is committed as soon as a majority has it."""

    def advance(self: Any, leadership: Leadership, now: float) -> None:
        index = leadership.committed(self._durable, self.voters)
        if index > self.commit:
            self._commit_to(index)

    patch.setattr(Raft, "_advance_commit", advance)


def says_votes_at_once(patch: pytest.MonkeyPatch) -> None:
    """Votes leave before they are on disk."""
    original = Raft.take_messages

    def take(self: Any) -> list[Message]:
        said = [m for m in self._after_write if isinstance(m, VoteReply)]
        self._after_write = [m for m in self._after_write if not isinstance(m, VoteReply)]
        return [*said, *original(self)]

    patch.setattr(Raft, "take_messages", take)


def says_votes_at_once_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """The same, without the check of every message: then two leaders must be found."""
    says_votes_at_once(patch)
    patch.setattr(Server, "_check_claim", lambda _self, _message: None)


def votes_twice(patch: pytest.MonkeyPatch) -> None:
    """A vote is forgotten as soon as somebody else asks."""
    original = Raft._on_vote_request

    def on_vote_request(self: Any, now: float, request: VoteRequest) -> None:
        if not request.pre and request.term == self.term and self.role.name == "FOLLOWER":
            self.voted_for = NO_SERVER
        original(self, now, request)

    patch.setattr(Raft, "_on_vote_request", on_vote_request)


def votes_for_anybody(patch: pytest.MonkeyPatch) -> None:
    """A vote is given whatever the candidate's log."""
    patch.setattr(Log, "is_newer_than", lambda _self, _index, _term: False)


def truncates_what_agrees(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes, the tail goes: an old request takes newer entries away."""
    original = Raft._on_append_request

    def on_append_request(self: Any, request: AppendRequest) -> None:
        if self.log.term_at(request.prev_index) == request.prev_term:
            first = Index(request.prev_index + len(request.entries) + 1)
            if self.log.base_index < first <= self.log.last_index:
                kept = Index(first - 1)
                self.log.truncate(first)
                if first <= self._handed_out:
                    self._truncate_from = first
                self._handed_out = min(self._handed_out, kept)
                self._durable = min(self._durable, kept)
                if self._under_way is not None:
                    self._under_way = min(self._under_way, kept)
        original(self, request)

    patch.setattr(Raft, "_on_append_request", on_append_request)


def counts_itself_unwritten(patch: pytest.MonkeyPatch) -> None:
    """A leader counts its own entries before they are on its disk."""
    original = Leadership.committed

    def committed(self: Leadership, _durable: Index, voters: frozenset[ServerId]) -> Index:
        return original(self, self.log.last_index, voters)

    patch.setattr(Leadership, "committed", committed)


ZONE = Bounds(elections=2, entries=0, crashes=0, messages=2)
TEETH: Sequence[tuple[Patch, Bounds, str]] = [
    (
        commits_by_counting,
        Bounds(elections=2, entries=0, crashes=0, messages=2, start="diverged"),
        "leader completeness|committed twice|durability",
    ),
    (says_votes_at_once, ZONE, "a vote is said and not durable"),
    (
        says_votes_at_once_unnoticed,
        Bounds(elections=2, entries=0, crashes=1, messages=3),
        "election safety",
    ),
    (votes_twice, ZONE, "two votes in term"),
    (votes_for_anybody, ZONE, "leader completeness"),
    (
        truncates_what_agrees,
        Bounds(elections=1, entries=1, crashes=0, messages=2),
        "committed entry|durability|match",
    ),
    (
        counts_itself_unwritten,
        Bounds(elections=1, entries=0, crashes=0, messages=2),
        "durability",
    ),
]


@pytest.mark.parametrize(
    ("broken", "bounds", "promise"), TEETH, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_broken_core_is_found_out(
    monkeypatch: pytest.MonkeyPatch, broken: Patch, bounds: Bounds, promise: str
) -> None:
    broken(monkeypatch)
    text = told(bounds)
    print(text)
    assert any(part in text.splitlines()[0] for part in promise.split("|"))
    assert "has heard no leader until its election timer" in text
