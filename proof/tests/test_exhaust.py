"""The exhaustive search: it ends, its reductions lose nothing, and it finds what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations
from random import Random
from typing import Any

import pytest

from oned.raft import elections, following, leading
from oned.raft.leadership import Leadership
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import AppendReply, AppendRequest, Message, VoteReply, VoteRequest
from oned.raft.state import State
from oned.raft.timing import NEVER
from oned.raft.types import NO_SERVER, Index, ServerId, Term
from proof.exhaust import trace
from proof.exhaust.__main__ import main
from proof.exhaust.bounds import Bounds, Cost
from proof.exhaust.events import arrivals, happenings
from proof.exhaust.freezing import freeze, thaw
from proof.exhaust.post import Naming
from proof.exhaust.search import Found, Search
from proof.exhaust.server import AT_ELECTION, AT_HEARTBEAT, AT_ONCE, AT_TIMEOUT, THAWED, Server
from proof.exhaust.space import Space
from proof.exhaust.steps import Step
from proof.exhaust.table import row, rows_of, table
from proof.table import BEGIN, END

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


# --- the reductions lose nothing ------------------------------------------------------------


def seen_values(search: Search) -> set[tuple[str, ...]]:
    """What servers were seen to be, together with the history, under every naming of the ids."""
    space = search.space
    post, servers = space.post, space.servers

    @cache
    def spelled(number: int) -> str:
        value = servers._essence(servers.locals[number])
        lists = (value.core.messages, value.core.after_write, value.write_messages)
        texts = tuple(sorted(repr(post.messages[m]) for m in numbers) for numbers in lists)
        core = value.core._replace(messages=(), after_write=())
        return repr((value._replace(core=core, write_messages=()), texts))

    found = set()
    # The network is not compared: what is dead in it is what differs.
    for numbers, history in {(state[0], state[3]) for state in search.seen}:
        for naming in permutations(range(len(numbers))):
            renamed = sorted(spelled(servers.renamed(number, naming)) for number in numbers)
            committed = space.histories[space._renamed_history(history, naming)]
            found.add((*renamed, repr(committed)))
    return found


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(elections=1, entries=0, crashes=0, messages=2),
        Bounds(elections=1, entries=0, crashes=1, messages=1),
    ],
    ids=lambda b: b.told(),
)
def test_no_zone_is_lost_by_symmetry_or_by_dropping_dead_messages(bounds: Bounds) -> None:
    reduced, _ = searched(bounds)
    whole, found = searched(bounds, reduce=False)
    assert found.complete
    assert found.states > 1.5 * len(reduced.seen)
    assert seen_values(reduced) == seen_values(whole)


def test_a_server_does_the_same_under_another_id() -> None:
    search, _ = searched(Bounds(elections=1, entries=0, crashes=1, messages=2))
    servers, post = search.space.servers, search.space.post
    pairs = list(servers._arrivals)
    assert len(pairs) > 50
    for naming in permutations(range(3)):

        def renamed(steps: Sequence[Step], naming: Naming = naming) -> set[tuple[Any, ...]]:
            return {
                (
                    step.cost,
                    servers.renamed(step.after, naming),
                    tuple(sorted(post.renamed(message, naming) for message in step.sent)),
                    step.entry,
                )
                for step in steps
            }

        same = (0, 1, 2)
        for number, message in pairs:
            there = servers.arrivals(servers.renamed(number, naming), post.renamed(message, naming))
            assert renamed(servers.arrivals(number, message)) == renamed(there, same)
        for number in list(servers._happenings):
            there = servers.happenings(servers.renamed(number, naming))
            assert renamed(servers.happenings(number)) == renamed(there, same)


def rest(server: Server) -> None:
    """Put the moments in a running core where a thawed one has them; nothing else changes."""
    core: Any = server.core
    core.last_contact = THAWED
    if core.election_deadline != NEVER:
        core.election_deadline = AT_ELECTION
    if core.leadership is not None:
        core.leadership.started, core.leadership.next_heartbeat = THAWED, AT_HEARTBEAT
        for progress in core.leadership.progress.values():
            progress.last_reply = THAWED
        if core.leadership.transfer is not None:
            core.leadership.transfer.deadline = AT_TIMEOUT


@pytest.mark.parametrize("seed", range(8))
def test_cores_that_run_on_do_what_the_frozen_ones_did(seed: int) -> None:
    """What a value leaves out has no influence: else a core that still has it would differ."""
    bounds = Bounds(
        elections=9, entries=3, crashes=2, messages=3, heartbeats=9, transfers=1, breaks=2,
        changes=1, purges=2,
    )  # fmt: skip
    space, chance = Space(bounds), Random(seed)
    state = space.start()
    live = [thaw(space.post, space.servers.locals[number]) for number in state[0]]
    walked = 0
    while walked < 200 and (moves := space.moves(state)):
        # A message that arrives is preferred, or little more than elections would happen.
        arriving = [move for move in moves if move[3] is not None]
        state, position, step, message = chance.choice(
            arriving if arriving and chance.random() < 0.7 else moves
        )
        server = live[position]
        local = space.servers.locals[space.servers.number(freeze(server))]
        events = happenings(local, bounds) if message is None else arrivals(space.post, message)
        event = next(event for event in events if event.label == step.label)
        server.sent = []
        event.act(server)
        server.flush()
        rest(server)
        assert tuple(sorted(server.sent)) == step.sent
        now = freeze(server)
        if not state[2][Cost.CRASHES]:
            now = now._replace(images=())
            server.images = ()
        assert now == space.servers.locals[state[0][position]]
        walked += 1
    assert walked > 30


def test_a_core_that_the_search_does_not_know_is_not_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Raft.__init__

    def init(self: Any, **options: Any) -> None:
        original(self, **options)
        self.something_new = 1

    monkeypatch.setattr(Raft, "__init__", init)
    with pytest.raises(AssertionError, match="does not know Raft as it is"):
        Search(SMALL[0]).run()


# --- what is printed ------------------------------------------------------------------------


def test_a_run_ends_with_one_line_that_says_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = ["--elections", "1", "--entries", "0", "--crashes", "1", "--messages", "2"]
    monkeypatch.setattr("sys.argv", ["exhaust", *bounds])
    assert main() == 0
    assert re.fullmatch(
        r"exhaust: zone: 3 servers, 1 election, 1 crash, <= 2 messages in flight: [\d,]+ distinct"
        r" states, [\d,]+ transitions, depth \d+, 0 violations, complete in \d+ s: pass",
        capsys.readouterr().out.splitlines()[-1],
    )


def test_a_run_that_was_cut_says_so_and_a_violation_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["exhaust", "--max-states", "5000", "--messages", "2"])
    assert main() == 0
    assert "CUT at --max-states" in capsys.readouterr().out.splitlines()[-1]
    counts_itself_unwritten(monkeypatch)
    assert main() == 1
    printed = capsys.readouterr().out
    assert "violation: durability" in printed
    assert printed.splitlines()[-1].endswith("FAIL")


def test_rows_of_the_table_are_kept_until_their_search_runs_again() -> None:
    rows = [row("abc", Found(Bounds(name), states=1000, transitions=2)) for name in ("a", "b")]
    page = f"before {BEGIN}\n{table(rows)}\n{END} after"
    assert rows_of(page) == {"a": rows[0], "b": rows[1]}
    assert table(rows).splitlines()[-1].startswith("| together |  |  |  | 2,000 | 4 |")


# --- teeth --------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def commits_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8: an entry of a former term is committed as soon as a majority has it."""

    def advance(state: State, leadership: Leadership, now: float) -> None:
        index = leadership.committed(state.writes.durable, state.voters)
        if index > state.commit:
            state.commit_to(index)

    patch.setattr(leading, "advance_commit", advance)


def says_votes_at_once(patch: pytest.MonkeyPatch) -> None:
    """Votes leave before they are on disk."""
    original = Raft.take_messages

    def take(self: Raft) -> list[Message]:
        waiting = self.writes.messages
        said = [m for m in waiting if isinstance(m, VoteReply)]
        self.writes.messages = [m for m in waiting if not isinstance(m, VoteReply)]
        return [*said, *original(self)]

    patch.setattr(Raft, "take_messages", take)


def says_votes_at_once_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """The same, without the check of every message: then two leaders must be found."""
    says_votes_at_once(patch)
    patch.setattr(Server, "_check_claim", lambda _self, _message: None)


def votes_twice(patch: pytest.MonkeyPatch) -> None:
    """A vote is forgotten as soon as somebody else asks."""
    original = elections.on_vote_request

    def on_vote_request(state: State, now: float, request: VoteRequest) -> None:
        if not request.pre and request.term == state.term and state.role.name == "FOLLOWER":
            state.voted_for = NO_SERVER
        original(state, now, request)

    patch.setattr(elections, "on_vote_request", on_vote_request)


def votes_for_anybody(patch: pytest.MonkeyPatch) -> None:
    """A vote is given whatever the candidate's log."""
    patch.setattr(Log, "is_newer_than", lambda _self, _index, _term: False)


def truncates_what_agrees(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes, the tail goes: an old request takes newer entries away."""
    original = following.on_append_request

    def on_append_request(state: State, request: AppendRequest) -> None:
        if state.log.term_at(request.prev_index) == request.prev_term:
            first = Index(request.prev_index + len(request.entries) + 1)
            if state.log.base_index < first <= state.log.last_index:
                state.log.truncate(first)
                state.writes.cut(first)
        original(state, request)

    patch.setattr(following, "on_append_request", on_append_request)


def takes_an_old_refusal_for_a_new_one(patch: pytest.MonkeyPatch) -> None:
    """A request of a former term is refused by its index, as the core once did."""
    original = following.reply

    def reply(state: State, request: Any, **answer: Any) -> None:
        original(state, request, **answer)
        if request.term != state.term and isinstance(request, AppendRequest):
            last = state.writes.messages[-1]
            assert isinstance(last, AppendReply)
            state.writes.messages[-1] = replace(last, rejected=request.prev_index)

    patch.setattr(following, "reply", reply)


def drops_what_follows_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that ends at the log's base is taken to differ, as the database once did."""

    def install(self: Any, index: Index, term: Term, configuration: Any, tables: Any) -> None:
        self.disk = self.disk._replace(
            base=(index, term), base_configuration=configuration, log=(), applied=index,
            tables=tables, initialised=True,
        )  # fmt: skip
        self.images = ()
        self.core.installed(AT_ONCE, index, term, configuration)

    patch.setattr(Server, "install", install)


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
        takes_an_old_refusal_for_a_new_one,
        Bounds(elections=2, entries=0, crashes=0, messages=2),
        "a snapshot is wanted",
    ),
    (
        drops_what_follows_a_snapshot,
        Bounds(elections=1, entries=0, crashes=0, changes=2, messages=2, start="joining"),
        "match",
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
