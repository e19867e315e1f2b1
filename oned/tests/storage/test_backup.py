"""Backups of a database in use, and databases made from them, on real files."""

from __future__ import annotations

import stat

import pytest

from oned.errors import StorageError
from oned.raft.types import Configuration, Entry, HardState, Index, Member, ServerId, Term
from oned.raft.writes import Write
from oned.state.entry import Change, Statement, encode
from oned.storage import backup, mark
from oned.storage.store import Store

INSERT = "INSERT INTO system_attributes (name, body) VALUES (?, ?)"
MEMBER = Member(ServerId(4), "server-4", "http://a:2633/RPC2", "a:2635", "disk", voter=True)
APPLIED = Index(3)


def entry(index: int, name: str) -> Entry:
    change = Change((Statement(INSERT, (name, "x" * 1000)),))
    return Entry(Index(index), Term(2), encode(change))


def names(store: Store) -> list[str]:
    return [str(r[0]) for r in store.rows("SELECT name FROM system_attributes ORDER BY name")]


@pytest.fixture
def store(tmp_path):
    """A server's database, open as it is while the server runs."""
    made = Store(tmp_path / "running" / "one.db")
    made.bootstrap(
        Change(), zone_uuid="zone", server_id=ServerId(4), configuration=Configuration((MEMBER,))
    )
    entries = (entry(2, "a"), entry(3, "b"), entry(4, "not applied"))
    made.write(Write(HardState(Term(2), ServerId(4)), None, entries, APPLIED, ()))
    yield made
    made.close()


@pytest.fixture
def made(store, tmp_path):
    """A backup of it."""
    path = tmp_path / "zone.bck"
    backup.write(store.path, path)
    return path


def test_a_backup_of_a_running_server_holds_what_is_applied(made, tmp_path):
    header = backup.restore(made, tmp_path / "new" / "one.db")
    assert (header.zone_uuid, header.index, header.term) == ("zone", APPLIED, 2)
    restored = Store(tmp_path / "new" / "one.db")
    assert names(restored) == ["a", "b"]
    assert restored.last() == (APPLIED, 2)
    restored.close()


def test_a_restored_database_is_nobodys_yet(store, made, tmp_path):
    backup.restore(made, tmp_path / "new" / "one.db")
    restored = Store(tmp_path / "new" / "one.db")
    facts = restored.facts
    assert (facts.server_id, facts.initialised, facts.hard_state) == (-1, True, HardState())
    assert facts.disk != store.facts.disk
    assert facts.base_configuration == Configuration((MEMBER,))
    restored.close()


def test_only_its_owner_reads_a_backup(made):
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert [path.name for path in made.parent.iterdir() if path.name.startswith(".")] == []


def test_a_backup_replaces_no_file_unless_told_so(store, made):
    before = made.read_bytes()
    store.write(Write(None, None, (), Index(4), ()))
    with pytest.raises(StorageError, match="exists: choose another name, or -f"):
        backup.write(store.path, made)
    assert made.read_bytes() == before
    backup.write(store.path, made, replace=True)
    assert backup.verify(made).index == 4


@pytest.mark.parametrize("kept", [0, 10, 200, -9, -1])
def test_half_a_backup_is_refused_and_nothing_changes(store, made, tmp_path, kept):
    half = tmp_path / "half.bck"
    half.write_bytes(made.read_bytes()[:kept])
    with pytest.raises(StorageError):
        backup.verify(half)
    store.close()
    with pytest.raises(StorageError):
        backup.restore(half, store.path, replace=True)
    again = Store(store.path)
    assert names(again) == ["a", "b"]
    again.close()
    assert not list(tmp_path.glob("**/.restore-*"))


def test_a_changed_byte_is_found(made, tmp_path):
    content = bytearray(made.read_bytes())
    content[len(content) // 2] ^= 1
    changed = tmp_path / "changed.bck"
    changed.write_bytes(content)
    with pytest.raises(StorageError):
        backup.verify(changed)


def test_nothing_is_restored_over_a_running_server(store, made):
    with pytest.raises(StorageError, match="another oned uses the database"):
        backup.restore(made, store.path, replace=True)
    assert names(store) == ["a", "b"]


def test_a_database_that_is_there_is_put_aside_when_told_so(store, made):
    store.write(Write(None, None, (), Index(4), ()))
    store.close()
    with pytest.raises(StorageError, match="exists: -f puts it aside"):
        backup.restore(made, store.path)
    backup.restore(made, store.path, replace=True)
    (aside,) = store.path.parent.glob("one.db.replaced-*[0-9]")
    for path, expected in ((store.path, ["a", "b"]), (aside, ["a", "b", "not applied"])):
        found = Store(path)
        assert names(found) == expected
        found.close()
    note = mark.read(store.path)
    assert note is not None
    assert note.disk != store.facts.disk


def test_a_zone_is_founded_anew_with_one_server(made, tmp_path):
    alone = Configuration((MEMBER,))

    def found(store: Store) -> None:
        change = Change((Statement(INSERT, ("founded", "")),))
        store.refound(change, zone_uuid="other", server_id=ServerId(7), configuration=alone)

    backup.restore(made, tmp_path / "new" / "one.db", finish=found)
    restored = Store(tmp_path / "new" / "one.db")
    assert names(restored) == ["a", "b", "founded"]
    assert (restored.facts.zone_uuid, restored.facts.server_id) == ("other", 7)
    assert restored.facts.hard_state == HardState(Term(2), ServerId(7))
    assert restored.configurations()[-1][1] == alone
    restored.close()


def test_an_empty_database_gives_no_backup(tmp_path):
    empty = Store(tmp_path / "one.db")
    with pytest.raises(StorageError, match="holds no zone yet"):
        backup.write(empty.path, tmp_path / "zone.bck")
    empty.close()
    with pytest.raises(StorageError, match="there is no database"):
        backup.write(tmp_path / "none.db", tmp_path / "zone.bck")
    assert not (tmp_path / "zone.bck").exists()
