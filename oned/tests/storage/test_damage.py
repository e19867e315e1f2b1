"""A database that does not hold what was written to it is never taken for one that does."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from oned.errors import DatabaseDamaged, DatabaseFailed, DatabaseFull, StorageError
from oned.raft.types import Configuration, Entry, HardState, Index, Member, ServerId, Term
from oned.raft.writes import Write
from oned.state.entry import Change, Statement, encode
from oned.storage import engine, records
from oned.storage.store import Store

INSERT = "INSERT INTO system_attributes (name, body) VALUES (?, ?)"
MEMBERS = tuple(
    Member(ServerId(i), f"server-{i}", f"http://{i}:2633/RPC2", f"{i}:2635", "disk", voter=True)
    for i in range(2)
)
RECORD_FLIPS = 100_000
FILE_FLIPS = 80
ENTRIES = 40


def entry(index: int, term: int = 1, configuration: Configuration | None = None) -> Entry:
    change = Change((Statement(INSERT, (f"name-{index}", "x" * 50)),))
    data = b"" if configuration else encode(change)
    return Entry(Index(index), Term(term), data, configuration)


def write(*entries: Entry, apply_to: int) -> Write:
    return Write(HardState(Term(3), ServerId(1)), None, entries, Index(apply_to), ())


def filled(path: Path, *, members: int = 2) -> Store:
    """A store with synced writes, of which the database file has the bootstrap only."""
    store = Store(path)
    store.bootstrap(
        Change(),
        zone_uuid="zone",
        server_id=ServerId(0),
        configuration=Configuration(MEMBERS[:members]),
    )
    assert store.checkpoint()
    for index in range(2, ENTRIES + 2):
        store.write(write(entry(index), apply_to=index - 5 if index > 10 else 1))
        store.sync()
    return store


def killed(store: Store) -> None:
    """Leave the files as a process does that is killed."""
    store.abandon()


def log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def log_bytes(path: Path) -> int:
    """How much of the write-ahead log is in use; SQLite was told to take space beforehand."""
    return len(log(path).read_bytes().rstrip(b"\0"))


# --- what is not damage ------------------------------------------------------------------


def test_a_killed_process_leaves_a_whole_database(tmp_path):
    store = filled(tmp_path / "one.db")
    facts = store.facts
    killed(store)
    again = Store(tmp_path / "one.db")
    assert again.last() == (ENTRIES + 1, 1)
    assert again.facts.hard_state == facts.hard_state
    again.close()


def test_a_write_that_was_not_synced_may_be_missing(tmp_path):
    path = tmp_path / "one.db"
    store = filled(path)
    synced = log(path).read_bytes()
    store.write(write(entry(ENTRIES + 2), apply_to=1))
    killed(store)
    log(path).write_bytes(synced)
    again = Store(path)
    assert again.last() == (ENTRIES + 1, 1)
    again.close()


# --- the write-ahead log -----------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_write_ahead_log_that_was_cut_is_seen(tmp_path, kept):
    path = tmp_path / "one.db"
    store = filled(path)
    size = int(log_bytes(path) * kept)
    killed(store)
    os.truncate(log(path), size)
    with pytest.raises(DatabaseDamaged, match="has lost what was written"):
        Store(path)
    assert Store.others_vote(path)


def test_a_write_ahead_log_that_was_removed_is_seen(tmp_path):
    path = tmp_path / "one.db"
    killed(filled(path))
    log(path).unlink()
    with pytest.raises(DatabaseDamaged):
        Store(path)


def test_any_flipped_bit_of_the_write_ahead_log_is_seen(tmp_path):
    path = tmp_path / "one.db"
    store = filled(path)
    bits = 8 * log_bytes(path)
    killed(store)
    for file in (path, log(path)):
        shutil.copy(file, tmp_path / f"whole-{file.name}")
    chance = random.Random(1)
    for _ in range(40):
        shutil.copy(tmp_path / "whole-one.db", path)
        shutil.copy(tmp_path / "whole-one.db-wal", log(path))
        flip(log(path), bit := chance.randrange(bits))
        if bit // 8 in range(12, 16):
            continue  # the count of checkpoints in the header, which means nothing
        with pytest.raises(StorageError):
            Store(path)


def test_an_older_copy_of_the_database_is_seen_until_one_says_that_it_is_meant(tmp_path):
    path = tmp_path / "one.db"
    store = filled(path)
    store.close()
    shutil.copy(path, tmp_path / "copy.db")
    store = Store(path)
    store.write(write(entry(ENTRIES + 2), apply_to=ENTRIES))
    store.sync()
    store.close()
    shutil.copy(tmp_path / "copy.db", path)
    with pytest.raises(DatabaseDamaged, match=r"remove .*one\.db\.synced"):
        Store(path)
    path.with_name("one.db.synced").unlink()
    Store(path).close()


# --- the database file -------------------------------------------------------------------


@pytest.mark.parametrize("kept", [100, 4096, 40_000])
def test_a_database_file_that_was_cut_is_seen(tmp_path, kept):
    path = tmp_path / "one.db"
    filled(path).close()
    os.truncate(path, kept)
    with pytest.raises(DatabaseDamaged):
        Store(path)


def test_pages_of_rubbish_are_seen(tmp_path):
    path = tmp_path / "one.db"
    filled(path).close()
    whole = path.read_bytes()
    chance = random.Random(1)
    for page in range(len(whole) // 4096):
        place = page * 4096
        path.write_bytes(whole[:place] + chance.randbytes(4096) + whole[place + 4096 :])
        with pytest.raises(DatabaseDamaged):
            Store(path)


@pytest.mark.parametrize("left", [b"", b"S"])
def test_an_empty_file_in_place_of_a_database_is_a_new_one_that_knows_it(tmp_path, left):
    path = tmp_path / "one.db"
    store = filled(path)
    disk = store.facts.disk
    assert not store.replaces
    store.close()
    path.write_bytes(left)
    for _ in range(2):
        new = Store(path)
        assert new.replaces
        assert new.facts.disk != disk
        assert not new.facts.initialised
        new.close()


def test_no_flipped_bit_of_a_stored_record_is_read_as_one():
    """What ``logdb`` gives back for a record, with one bit changed anywhere in it."""
    chance = random.Random(1)
    changes = Configuration(MEMBERS)
    originals = [
        entry(i, term=i % 7, configuration=changes if i % 5 == 0 else None) for i in range(1, 30)
    ]
    rows = []
    for original in originals:
        index, term, data, members, checksum, _ = records.row(original)
        rows.append((index, term, data.encode(), members.encode(), checksum))
        assert records.entry(rows[-1]) == original
    for _ in range(RECORD_FLIPS):
        row = list(chance.choice(rows))
        column = chance.choice([i for i, value in enumerate(row) if value != b""])
        value = row[column]
        if isinstance(value, bytes):
            bit = chance.randrange(8 * len(value))
            changed = bytearray(value)
            changed[bit // 8] ^= 1 << bit % 8
            row[column] = bytes(changed)
        else:
            row[column] = value ^ 1 << chance.randrange(63)
        with pytest.raises(DatabaseDamaged):
            records.entry(tuple(row))


def test_no_flipped_bit_of_the_log_in_the_file_goes_unseen(tmp_path):
    """Either the database is refused, or everything that Raft reads of it is as it was."""
    path = tmp_path / "one.db"
    store = filled(path)
    expected = _what_raft_reads(store)
    store.close()
    pages = _pages(path, ("logdb", "raft_state", "sqlite_autoindex_raft_state_1"))
    chance = random.Random(1)
    seen = 0
    for _ in range(FILE_FLIPS):
        bit = 8 * 4096 * (chance.choice(pages) - 1) + chance.randrange(8 * 4096)
        flip(path, bit)
        try:
            store = Store(path)
        except StorageError:
            seen += 1
        else:
            found = _what_raft_reads(store)
            store.close()
            assert found == expected, f"bit {bit}"
        flip(path, bit)
    assert seen


def _what_raft_reads(store: Store):
    entries = list(store.entries(Index(2), Index(ENTRIES + 1), 1 << 20))
    facts = store.facts
    return entries, store.last(), facts.hard_state, facts.applied, store.configurations()


def _pages(path: Path, names: tuple[str, ...]) -> list[int]:
    """The pages of tables and indexes: their roots, and what those point to."""
    connection = sqlite3.connect(path)
    marks = ", ".join("?" * len(names))
    roots = connection.execute(
        f"SELECT rootpage FROM sqlite_master WHERE name IN ({marks})", names
    ).fetchall()
    connection.close()
    data = path.read_bytes()
    pages = []
    for (root,) in roots:
        pages.append(root)
        page = data[(root - 1) * 4096 : root * 4096]
        if page[0] in (2, 5):  # an inner page: two bytes for the place of each child's number
            for cell in range(int.from_bytes(page[3:5], "big")):
                place = int.from_bytes(page[12 + 2 * cell : 14 + 2 * cell], "big")
                pages.append(int.from_bytes(page[place : place + 4], "big"))
            pages.append(int.from_bytes(page[8:12], "big"))
    return pages


def test_a_missing_record_is_seen(tmp_path):
    path = tmp_path / "one.db"
    filled(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM logdb WHERE log_index=20")
    connection.close()
    with pytest.raises(DatabaseDamaged, match="log entry 20 is missing"):
        Store(path)


# --- a disk that fails -------------------------------------------------------------------


def test_a_full_disk_is_said_to_be_full_and_nothing_is_written(tmp_path):
    store = filled(tmp_path / "one.db")
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count={pages}")
    before = store.facts
    with pytest.raises(DatabaseFull):
        store.write(write(*[entry(i) for i in range(ENTRIES + 2, 1000)], apply_to=1))
    assert store.facts == before
    assert store.last() == (ENTRIES + 1, 1)
    store.close()


def test_a_full_disk_while_entries_are_applied_is_no_divergence(tmp_path):
    store = filled(tmp_path / "one.db")
    big = Change((Statement(INSERT, ("big", "x" * 500_000)),))
    store.write(write(Entry(Index(ENTRIES + 2), Term(1), encode(big)), apply_to=ENTRIES + 1))
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DatabaseFull):
        store.write(write(apply_to=ENTRIES + 2))
    store.close()


def test_after_a_failed_sync_nothing_is_copied_over_the_database_file(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    store = filled(path)
    before = path.read_bytes()
    store.write(write(entry(ENTRIES + 2), apply_to=ENTRIES))
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_sync_data", _refused)
        with pytest.raises(DatabaseFailed):
            store.sync()
    store.close()
    assert path.read_bytes() == before
    assert log_bytes(path)
    again = Store(path)
    assert again.last() == (ENTRIES + 2, 1)
    again.close()


def test_what_is_read_after_a_failure_was_written_and_synced_again(tmp_path, monkeypatch):
    """A sync that succeeds after one that failed proves nothing for pages it did not write."""
    path = tmp_path / "one.db"
    store = filled(path)
    in_use = log_bytes(path)
    store.abandon()
    written, synced = set(), []
    pwrite, fsync = os.pwrite, os.fsync

    def watched_write(descriptor, data, place):
        written.update(range(place, place + len(data), 4096))
        return pwrite(descriptor, data, place)

    def watched_sync(descriptor):
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), len(written)))
        return fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", watched_write)
    monkeypatch.setattr(os, "fsync", watched_sync)
    store.reopen()
    assert synced[0] == (str(log(path)), len(written))
    assert written >= set(range(0, in_use, 4096))
    store.close()


def test_a_database_without_a_place_for_what_was_written_ahead_is_not_open(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    store = filled(path)
    before = path.read_bytes()
    store.abandon()
    with monkeypatch.context() as patch:
        patch.setattr(engine.SQLiteEngine, "checkpoint", _no_space)
        with pytest.raises(DatabaseFailed):
            store.reopen()
    assert path.read_bytes() == before
    store.reopen()
    assert path.read_bytes() != before
    store.close()


def _no_space(_engine: engine.SQLiteEngine) -> bool:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("number", [5, 28])
def test_a_database_that_cannot_be_opened_yet_is_opened_later(tmp_path, monkeypatch, number):
    store = filled(tmp_path / "one.db")
    store.abandon()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: _refused(0, number))
        for _ in range(3):
            with pytest.raises(DatabaseFull if number == 28 else DatabaseFailed):
                store.reopen()
    versions = dict(store.table_versions)
    store.reopen()
    assert store.last() == (ENTRIES + 1, 1)
    assert all(store.table_versions[name] > count for name, count in versions.items())
    store.close()


def _refused(_descriptor: int, number: int = 5) -> None:
    raise OSError(number, os.strerror(number))


# --- a new one in its place --------------------------------------------------------------


def test_a_database_put_aside_makes_room_for_a_new_one_and_few_are_kept(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    store = filled(path)
    disks = [store.facts.disk]
    for second in range(engine.COPIES_KEPT + 2):
        monkeypatch.setattr(engine.time, "time", lambda second=second: 1000 + second)
        store.abandon()
        store.reopen(put_aside=True)
        assert not store.facts.initialised
        assert store.replaces
        disks.append(store.facts.disk)
    store.close()
    assert len(set(disks)) == len(disks)
    kept = {p.name for p in tmp_path.glob("one.db.damaged-*") if p.name[-1].isdigit()}
    assert kept == {f"one.db.damaged-{1002 + i}" for i in range(engine.COPIES_KEPT)}


@pytest.mark.parametrize("members", [1, 2])
def test_it_is_known_whether_others_vote_although_the_database_cannot_be_read(tmp_path, members):
    path = tmp_path / "one.db"
    filled(path, members=members).close()
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(DatabaseDamaged):
        Store(path)
    assert Store.others_vote(path) is (members == 2)


def test_whether_others_vote_follows_the_log(tmp_path):
    path = tmp_path / "one.db"
    store = filled(path, members=1)
    store.write(write(entry(ENTRIES + 2, configuration=Configuration(MEMBERS)), apply_to=1))
    store.sync()
    assert Store.others_vote(path)
    cut = Write(None, Index(ENTRIES + 2), (), Index(1), ())
    store.write(cut)
    store.sync()
    assert not Store.others_vote(path)
    store.close()


def test_nobody_is_known_to_vote_when_the_note_is_gone_or_damaged(tmp_path):
    path = tmp_path / "one.db"
    filled(path).close()
    note = path.with_name("one.db.synced")
    flip(note, 8 * 30)
    assert not Store.others_vote(path)
    Store(path).close()
    note.unlink()
    assert not Store.others_vote(path)
    Store(path).close()
    assert Store.others_vote(path)
