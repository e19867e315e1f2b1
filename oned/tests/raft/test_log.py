"""What the log keeps in memory, and that nobody notices what it does not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from oned.raft.log import TAIL_BYTES, TAIL_ENTRIES, Log
from oned.raft.types import Configuration, Entry, Index, Term

MEBIBYTE = bytes(1 << 20)
TERM = Term(1)


class Stored:
    """Entries as a disk has them, and how often one was asked for."""

    def __init__(self) -> None:
        self.log: dict[int, Entry] = {}
        self.asked = 0

    def entries(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        self.asked += 1
        return [self.log[index] for index in range(first, last + 1)]

    def term_at(self, index: Index) -> Term:
        self.asked += 1
        return self.log[index].term


def filled(sizes: list[int]) -> tuple[Log, Stored]:
    """A log whose entries have so many bytes, all stored and applied."""
    stored = Stored()
    log = Log(
        stored,
        base_index=Index(0),
        base_term=Term(0),
        last_index=Index(0),
        last_term=Term(0),
        configurations=[(Index(0), Configuration())],
    )
    for number, size in enumerate(sizes, start=1):
        entry = Entry(Index(number), TERM, MEBIBYTE if size == len(MEBIBYTE) else bytes(size))
        stored.log[number] = entry
        log.append([entry])
        log.forget(Index(number))
    return log, stored


def in_memory(log: Log, stored: Stored) -> int:
    """How many of the newest entries need no disk."""
    for count in range(log.last_index):
        asked = stored.asked
        log.slice(Index(log.last_index - count), 1, 1)
        if stored.asked > asked:
            return count
    return int(log.last_index)


def test_large_entries_are_kept_up_to_a_sum():
    log, stored = filled([len(MEBIBYTE)] * 100)
    assert TAIL_BYTES // 2 < in_memory(log, stored) * len(MEBIBYTE) <= TAIL_BYTES * 9 // 8


def test_small_entries_are_kept_up_to_a_number():
    log, stored = filled([1] * 3 * TAIL_ENTRIES)
    assert TAIL_ENTRIES <= in_memory(log, stored) <= TAIL_ENTRIES * 9 // 8


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1000, len(MEBIBYTE)]), min_size=1, max_size=120),
    cut=st.integers(1, 120),
)
def test_what_is_forgotten_reads_the_same(sizes, cut):
    log, stored = filled(sizes)
    for index in range(1, len(sizes) + 1):
        assert log.term_at(Index(index)) == TERM
        (found,) = log.slice(Index(index), 1, 1)
        assert found is stored.log[index]
    if cut <= len(sizes):
        log.truncate(Index(cut))
        assert log.last_index == cut - 1
        assert log.term_at(Index(cut)) is None
        log.append([Entry(Index(cut), Term(2), b"new")])
        log.forget(Index(cut))
        assert log.last_term == 2
