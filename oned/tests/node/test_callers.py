"""What callers are told about changes and reads that a lost leadership left behind."""

from __future__ import annotations

import pytest

from oned.errors import Busy, NotLeader, OutcomeUnknown, Rejected
from oned.node import callers as module
from oned.node.callers import Callers
from oned.raft.reads import Reads
from oned.raft.types import Index, Term

TERM = Term(3)
UNKNOWN = OutcomeUnknown("leadership was lost")


@pytest.fixture
async def callers():
    return Callers()


def propose(callers: Callers, count: int = 1, first: int = 10):
    """Changes that stand in the log from ``first`` on."""
    futures = [callers.propose(b"", None, TERM) for _ in range(count)]
    (batch,) = callers.batches(TERM)
    callers.appended(Index(first), batch)
    return futures


def applied(callers: Callers, first: int, last: int, term: int | None, rejected=None) -> None:
    callers.applied(
        Index(first),
        Index(last),
        rejected or {},
        lambda _seconds: None,
        lambda _index: None if term is None else Term(term),
    )


async def test_change_whose_entry_is_applied_after_all_is_a_success(callers):
    first, second = propose(callers, 2)
    callers.fail(UNKNOWN)
    assert not first.done()
    applied(callers, 9, 10, TERM)
    assert first.result() is None
    assert not second.done()
    applied(callers, 11, 11, TERM, {Index(11): Rejected("duplicate key")})
    with pytest.raises(Rejected):
        await second


async def test_change_whose_place_another_entry_took_was_certainly_not_made(callers):
    first, second = propose(callers, 2)
    callers.fail(UNKNOWN)
    applied(callers, 10, 11, TERM + 1)
    for done in (first, second):
        with pytest.raises(NotLeader):
            await done


async def test_change_that_a_purged_log_says_nothing_about_stays_unknown(callers):
    (done,) = propose(callers)
    callers.fail(UNKNOWN)
    applied(callers, 10, 10, None)
    with pytest.raises(OutcomeUnknown):
        await done


async def test_who_waits_too_long_is_told_that_the_outcome_is_unknown(callers, monkeypatch):
    monkeypatch.setattr(module, "FATE_SECONDS", 0.01)
    (done,) = propose(callers)
    callers.fail(UNKNOWN)
    with pytest.raises(OutcomeUnknown):
        await done
    assert not callers._undecided


async def test_two_lost_leaderships_may_leave_two_changes_at_one_index(callers):
    (former,) = propose(callers)
    callers.fail(UNKNOWN)
    latter = callers.propose(b"", None, Term(5))
    (batch,) = callers.batches(Term(5))
    callers.appended(Index(10), batch)
    callers.fail(UNKNOWN)
    applied(callers, 10, 10, 5)
    assert latter.result() is None
    with pytest.raises(NotLeader):
        await former


async def test_what_was_not_in_the_log_was_not_made(callers):
    done = callers.propose(b"", None, TERM)
    callers.fail(UNKNOWN)
    with pytest.raises(NotLeader):
        await done


async def test_an_end_tells_everybody(callers):
    reads = Reads(lambda: 0.5)
    (in_log,) = propose(callers)
    callers.fail(UNKNOWN)
    (later,) = propose(callers, first=11)
    queued = callers.propose(b"", None, TERM)
    on_leader, on_follower = callers.read(1, Index(1)), callers.index_read(reads.join())
    callers.give_up(UNKNOWN)
    for done, error in (
        (in_log, OutcomeUnknown),
        (later, OutcomeUnknown),
        (queued, NotLeader),
        (on_leader, NotLeader),
        (on_follower, NotLeader),
    ):
        with pytest.raises(error):
            await done


async def test_read_on_a_follower_goes_on_or_is_given_up(callers):
    reads = Reads(lambda: 0.5)
    first = callers.index_read(reads.join())
    number = reads.sent(1.0, retry_seconds=0.1, patience_seconds=1.0)
    second = callers.index_read(reads.join())
    reads.answer(number, Index(4))
    callers.release_index_reads(reads)
    assert not first.done()
    reads.applied(Index(4))
    reads.give_up()
    callers.release_index_reads(reads)
    assert first.result() is None
    with pytest.raises(NotLeader):
        await second


async def test_waiting_is_bounded(callers, monkeypatch):
    monkeypatch.setattr(module, "MAX_READS", 2)
    monkeypatch.setattr(module, "MAX_PROPOSALS", 3)
    for _ in range(2):
        callers.index_read(1)
    with pytest.raises(Busy):
        callers.read(1, Index(1))
    propose(callers, 2)
    callers.fail(UNKNOWN)
    propose(callers)
    with pytest.raises(Busy):
        callers.propose(b"", None, TERM)
    callers.give_up(UNKNOWN)
