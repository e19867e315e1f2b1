"""The database of one server, on a real SQLite file."""

from __future__ import annotations

import gzip
import sqlite3

import pytest

from oned.errors import Nondeterminism, StorageError
from oned.raft.types import Configuration, Entry, HardState, Index, Member, ServerId, Term
from oned.raft.writes import Write
from oned.state.entry import Change, Statement, decode, encode
from oned.storage import export
from oned.storage.store import Store, written_table

MEMBER = Member(ServerId(0), "server-0", "http://a:2633/RPC2", "a:2635", "disk", voter=True)
INSERT = "INSERT INTO system_attributes (name, body) VALUES (?, ?)"


def entry(index: int, *names: str, term: int = 1, sql: str = INSERT) -> Entry:
    change = Change(tuple(Statement(sql, (name, "x")) for name in names))
    return Entry(Index(index), Term(term), encode(change) if names else b"")


def write(*entries: Entry, apply_to: int, truncate_from: int | None = None) -> Write:
    cut = None if truncate_from is None else Index(truncate_from)
    return Write(None, cut, entries, Index(apply_to), ())


def names(store: Store) -> list[str]:
    return [str(r[0]) for r in store.rows("SELECT name FROM system_attributes ORDER BY name")]


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "one.db")
    made.bootstrap(
        Change(), zone_uuid="zone", server_id=ServerId(0), configuration=Configuration((MEMBER,))
    )
    yield made
    made.close()


def test_what_is_committed_is_applied_with_the_applied_index(store):
    store.write(write(entry(2, "a"), entry(3, "b"), apply_to=2))
    assert names(store) == ["a"]
    assert store.facts.applied == 2
    store.write(write(apply_to=3))
    assert names(store) == ["a", "b"]


def test_reopened_store_goes_on_where_it_was(store, tmp_path):
    configuration = Configuration((MEMBER,))
    change = Entry(Index(3), Term(2), b"", configuration)
    store.write(Write(HardState(Term(2), ServerId(0)), None, (entry(2, "a"), change), Index(2), ()))
    store.close()
    again = Store(tmp_path / "one.db")
    assert again.facts.hard_state == HardState(Term(2), ServerId(0))
    assert again.last() == (3, 2)
    assert again.configurations()[-1] == (3, configuration)
    again.write(write(apply_to=3))
    assert again.facts.applied == 3
    again.close()


def test_second_daemon_on_the_same_database_is_refused(store, tmp_path):
    with pytest.raises(StorageError, match="another oned"):
        Store(tmp_path / "one.db")


def test_entry_that_the_tables_refuse_leaves_nothing_and_the_next_goes_on(store):
    applied = store.write(write(entry(2, "a"), entry(3, "b", "a"), entry(4, "c"), apply_to=4))
    assert names(store) == ["a", "c"]
    assert list(applied.rejected) == [3]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO nowhere (name, body) VALUES (?, ?)",
        "INSERT INTO raft_state (name, value) VALUES (?, ?)",
        "UPDATE logdb SET sqlcmd=? WHERE members=?",
        "SELECT ?, ?",
    ],
)
def test_statement_that_writes_no_replicated_table_stops_the_server(store, sql):
    with pytest.raises(Nondeterminism):
        store.write(write(entry(2, "a"), entry(3, "b", sql=sql), apply_to=3))
    assert names(store) == []
    assert store.facts.applied == 1


def test_truncated_entries_are_not_applied(store):
    store.write(write(entry(2, "old"), entry(3, "older"), apply_to=1))
    store.write(write(entry(2, "new", term=2), apply_to=2, truncate_from=2))
    assert names(store) == ["new"]
    assert store.last() == (2, 2)


def test_purge_keeps_what_retention_says_and_the_configuration(store):
    store.write(write(*[entry(i, f"n{i}") for i in range(2, 22)], apply_to=21))
    assert store.purge(retention=5, limit=10) == 11
    assert store.purge(retention=5, limit=10) == 16
    assert store.purge(retention=5, limit=10) is None
    assert store.configurations() == [(16, Configuration((MEMBER,)))]
    with pytest.raises(StorageError):
        store.entries(Index(16), Index(20), 1 << 20)


def test_entries_are_bounded_in_bytes_but_never_empty(store):
    store.write(write(*[entry(i, "n" * 100 + str(i)) for i in range(2, 12)], apply_to=1))
    assert len(store.entries(Index(2), Index(11), 1)) == 1
    assert len(store.entries(Index(2), Index(11), 400)) == 2


def test_snapshot_carries_tables_and_place_in_the_log(store, tmp_path):
    store.write(write(entry(2, "a"), entry(3, "not committed"), apply_to=2))
    header = export.write(store.path, tmp_path / "snapshot.gz").header
    assert (header.index, header.term, header.zone_uuid) == (2, 1, "zone")
    other = Store(tmp_path / "other.db")
    other.install(tmp_path / "snapshot.gz")
    assert names(other) == ["a"]
    assert other.facts.initialised
    assert (other.last(), other.facts.applied) == ((2, 1), 2)
    assert other.configurations() == [(2, Configuration((MEMBER,)))]
    other.close()


def test_entries_behind_a_snapshot_that_agrees_are_kept(store, tmp_path):
    store.write(write(entry(2, "a"), apply_to=2))
    export.write(store.path, tmp_path / "snapshot.gz")
    store.write(write(entry(3, "acknowledged"), apply_to=2))
    store.install(tmp_path / "snapshot.gz")
    assert store.last() == (3, 1)
    store.write(write(apply_to=3))
    assert names(store) == ["a", "acknowledged"]


def test_entries_behind_a_snapshot_that_comes_twice_are_kept(store, tmp_path):
    """The log is compacted to its end by the first time: that is no reason not to agree."""
    store.write(write(entry(2, "a"), apply_to=2))
    export.write(store.path, tmp_path / "snapshot.gz")
    store.install(tmp_path / "snapshot.gz")
    store.write(write(entry(3, "acknowledged"), apply_to=2))
    store.install(tmp_path / "snapshot.gz")
    assert store.last() == (3, 1)
    store.write(write(apply_to=3))
    assert names(store) == ["a", "acknowledged"]


def test_snapshot_older_than_the_tables_is_refused(store, tmp_path):
    store.write(write(entry(2, "a"), apply_to=2))
    export.write(store.path, tmp_path / "snapshot.gz")
    store.write(write(entry(3, "b"), apply_to=3))
    with pytest.raises(StorageError, match="applied here already"):
        store.install(tmp_path / "snapshot.gz")
    assert names(store) == ["a", "b"]


@pytest.mark.parametrize("damage", ["cut", "flip", "other zone", "not one"])
def test_damaged_or_foreign_snapshot_changes_nothing(store, tmp_path, damage):
    path = tmp_path / "snapshot.gz"
    store.write(write(entry(2, "a"), apply_to=2))
    export.write(store.path, path)
    data = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "flip":
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
        case "other zone":
            path.write_bytes(gzip.compress(gzip.decompress(data).replace(b'"zone"', b'"else"', 1)))
        case _:
            path.write_bytes(b"nothing of the kind")
    with pytest.raises(StorageError):
        store.install(path)
    assert names(store) == ["a"]


def test_adoption_never_forgets_a_newer_term(store):
    store.write(Write(HardState(Term(7), ServerId(2)), None, (), Index(1), ()))
    old = HardState(Term(3), ServerId(0))
    store.adopt(zone_uuid="zone", server_id=ServerId(9), hard_state=old)
    assert store.facts.hard_state == HardState(Term(7), ServerId(2))
    assert store.facts.server_id == 9


def test_change_reads_back_from_the_log_as_it_was():
    change = Change((Statement(INSERT, ("ü\n'\"", None)), Statement("DELETE FROM acl", (1 << 60,))))
    assert decode(encode(change)) == change


@pytest.mark.parametrize("data", [b"", b"{}", b"[2,[]]", b"[1]", b"\xff"])
def test_what_is_no_change_is_refused(data):
    with pytest.raises(ValueError, match="change"):
        decode(data)


def test_table_of_a_statement():
    assert written_table("update  user_pool set a=1") == "user_pool"
    assert not written_table("DROP TABLE user_pool")


def test_checkpoint_leaves_no_rest_while_nobody_writes(store, tmp_path):
    store.write(write(*(entry(i, f"name-{i}") for i in range(2, 200)), apply_to=199))
    store.sync()
    assert store.checkpoint()
    with sqlite3.connect(f"file:{tmp_path / 'one.db'}?immutable=1", uri=True) as without_wal:
        assert without_wal.execute("SELECT MAX(log_index) FROM logdb").fetchone() == (199,)
    without_wal.close()


def test_write_ahead_log_is_used_again_after_a_whole_checkpoint(store, tmp_path):
    wal = tmp_path / "one.db-wal"
    index = 2
    for _ in range(3):
        for _ in range(50):
            store.write(write(entry(index, f"name-{index}"), apply_to=index))
            index += 1
        store.sync()
        assert store.checkpoint()
        size = wal.stat().st_size
    for _ in range(50):
        store.write(write(entry(index, f"name-{index}"), apply_to=index))
        index += 1
    assert wal.stat().st_size <= 1.5 * size


def test_what_cannot_be_made_durable_is_said_to_be_unknown(store, monkeypatch):
    store.write(write(entry(2, "a"), apply_to=2))
    monkeypatch.setattr("oned.storage.engine._sync_data", _failing_sync)
    with pytest.raises(StorageError, match="cannot write the database"):
        store.sync()


def _failing_sync(_descriptor: int) -> None:
    raise OSError(5, "Input/output error")


def test_equal_content_makes_equal_snapshots(store, tmp_path):
    store.write(write(entry(2, "a"), apply_to=2))
    first = export.write(store.path, tmp_path / "one.gz")
    assert export.write(store.path, tmp_path / "two.gz") == first


async def test_snapshot_of_another_process_is_the_same(store, tmp_path):
    store.write(write(entry(2, "a"), apply_to=2))
    here = export.write(store.path, tmp_path / "here.gz")
    assert await export.write_beside(store.path, tmp_path / "there.gz") == here


async def test_snapshot_of_no_database_says_why(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write the snapshot .*unable to open"):
        await export.write_beside(tmp_path / "none.db", tmp_path / "there.gz")
