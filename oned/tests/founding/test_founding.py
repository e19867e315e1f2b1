"""A founding is carried out once and whole, however often it is cut off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from oned.errors import ConfigError, OnedError, StorageError
from oned.founding import NOTE, Founding, Task, decide, held, is_founded, parse
from oned.state.callers import ONEADMIN
from oned.state.users import User, stored_password
from oned.state.zones import LOCAL_ZONE, Zone
from oned.storage import backup, mark
from oned.storage.store import Store

ALL = ["a", "b", "not known to be committed"]
STEPS_MIN = 8
"""Fewer steps than this, and the test does not see them."""


def asked(server: str = "zone-1", source: str | None = None) -> Founding:
    return Founding("first", server, source)


def names(store: Store) -> list[str]:
    return [str(r[0]) for r in store.rows("SELECT name FROM system_attributes ORDER BY name")]


def content(path: Path) -> list[str]:
    store = Store(path)
    try:
        return names(store)
    finally:
        store.close()


# --- decisions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "done", "task"),
    [
        (None, "", Task.NOTHING),
        (asked(), "first", Task.NOTHING),
        (asked("zone-0"), "", Task.MAKE_WAY),
        (asked(""), "another", Task.MAKE_WAY),
        (asked(), "another", Task.BEGIN_WITH_OWN),
        (asked(source="s3://b/z.bck"), "", Task.BEGIN_WITH_BACKUP),
    ],
)
def test_what_a_server_has_to_do(given, done, task):
    assert decide(given, done=done, server="zone-1") is task


def test_the_operators_words_are_understood():
    text = json.dumps({"id": "a-1", "server": "zone-0", "source": None, "drop": False})
    assert parse(text) == Founding("a-1", "zone-0")
    assert parse("") is None
    assert parse(" \n") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "ONED_FOUNDING"),
        ('{"id": "a"}', "server"),
        ('{"id": "../a", "server": "b"}', "letters, digits"),
        ('{"id": "", "server": "b"}', "letters, digits"),
        ('{"id": "a", "server": "b", "sauce": "c"}', "sauce"),
        ('{"id": "a", "server": "b", "drop": true}', "drop must be false"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


# --- outcomes --------------------------------------------------------------------


def check_founded(server, *, rows: list[str]) -> None:
    """This server is the only one of the zone, with these rows and the present password."""
    store = Store(server.database)
    try:
        zone, oneadmin = Zone.load(store, LOCAL_ZONE), User.load(store, ONEADMIN)
        assert zone is not None
        assert oneadmin is not None
        number = {"zone-1": 1}[server.environment.server_name]
        registered = [(oid, each["NAME"]) for oid, each in zone.servers.items()]
        assert registered == [(number, "zone-1")]
        assert oneadmin.password == stored_password("core", "present")
        (last,) = store.configurations()[-1][1].members
        assert (last.server_id, last.disk, last.voter) == (number, store.facts.disk, True)
        assert store.facts.server_id == number
        assert names(store) == rows
        assert store.last()[0] == store.facts.applied
        # Else a voter without the new zone's entries would seem to have a newer log than one with.
        assert store.facts.term >= store.last()[1] == 2
    finally:
        store.close()


def check_tidy(var: Path) -> None:
    assert [path.name for path in var.iterdir() if path.name.startswith(".")] == []
    assert (var / NOTE).read_text() == "first"


def test_all_of_the_log_counts_when_a_server_begins_with_its_own(servers):
    server = servers[1]
    server.fill()
    found = held(server.database)
    assert found is not None
    assert (found.term, found.index, found.server_id) == (2, 4, 1)
    before = found
    assert server.prepare(asked()) is Task.BEGIN_WITH_OWN
    check_founded(server, rows=ALL)
    after = held(server.database)
    assert after == before  # whoever asks again is told of as long a log
    assert server.prepare(asked()) is Task.NOTHING
    assert is_founded(server.environment)


def test_a_server_that_makes_way_is_empty_and_keeps_its_copy(servers):
    server = servers[0]
    server.fill()
    assert server.prepare(asked()) is Task.MAKE_WAY
    assert not server.database.exists()
    assert not mark.place(server.database).exists()
    assert content(server.environment.var / "one.db.replaced-first") == ["a", "b"]
    assert server.prepare(asked("")) is Task.NOTHING


def test_a_copy_that_was_put_aside_can_be_kept_as_a_backup(servers, tmp_path):
    server = servers[0]
    server.fill()
    server.prepare(asked())
    kept = tmp_path / "kept.bck"
    backup.write(server.environment.var / "one.db.replaced-first", kept)
    assert backup.verify(kept).index == 3
    backup.restore(kept, server.database)
    assert content(server.database) == ["a", "b"]


def test_nothing_is_founded_on_an_empty_volume(servers):
    with pytest.raises(StorageError, match=r"no zone in .* to begin with: name another server"):
        servers[1].prepare(asked())
    assert not is_founded(servers[1].environment)


def test_nothing_is_done_beside_a_running_server(servers, tmp_path):
    source = tmp_path / "zone.bck"
    for server in servers[:2]:
        server.fill()
    backup.write(servers[0].database, source)
    for server, task in (
        (servers[0], asked()),
        (servers[1], asked()),
        (servers[1], asked(source=source.as_uri())),
    ):
        running = Store(server.database)
        with pytest.raises(StorageError, match="another oned uses"):
            server.prepare(task)
        running.close()
        assert content(server.database) == ["a", "b"]
        assert not is_founded(server.environment)


@pytest.mark.parametrize("kept", [0, 100, -5])
def test_half_a_source_changes_nothing(servers, tmp_path, kept):
    server, source = servers[1], tmp_path / "zone.bck"
    server.fill()
    backup.write(server.database, source)
    source.write_bytes(source.read_bytes()[:kept])
    with pytest.raises(OnedError):
        server.prepare(asked(source=source.as_uri()))
    assert content(server.database) == ["a", "b"]
    assert not is_founded(server.environment)


def test_no_credentials_no_zone(servers):
    servers[1].fill()
    servers[1].environment.auth_file.unlink()
    with pytest.raises(ConfigError, match="one_auth"):
        servers[1].prepare(asked())
    assert content(servers[1].database) == ["a", "b"]


# --- killed at every step --------------------------------------------------------


def kill_everywhere(server, task: Founding, tmp_path: Path, check) -> int:
    """Kill it before each of its steps, once and again, then let it run; all its steps."""
    template = server.environment.var
    template.mkdir(exist_ok=True)

    def again(name: str):
        shutil.copytree(template, tmp_path / name)
        return server.at(tmp_path / name)

    whole = again("whole")
    steps = whole.prepare_until(task, 0)
    assert steps is not None
    check(whole)
    for step in range(1, steps + 1):
        cut = again(f"cut-{step}")
        assert cut.prepare_until(task, step) is None, step
        cut.prepare_until(task, step)  # which is another step by now, or none at all
        cut.prepare(task)
        check(cut)
        assert cut.prepare(task) is Task.NOTHING
        shutil.rmtree(cut.environment.var)
    assert steps >= STEPS_MIN
    return steps


@pytest.mark.timeout(180)
def test_beginning_with_its_own_database_outlasts_a_kill_at_every_step(servers, tmp_path):
    servers[1].fill()

    def check(server) -> None:
        check_founded(server, rows=ALL)
        check_tidy(server.environment.var)

    print(kill_everywhere(servers[1], asked(), tmp_path, check), "steps")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_database", [True, False])
def test_beginning_with_a_backup_outlasts_a_kill_at_every_step(servers, tmp_path, has_database):
    source = tmp_path / "zone.bck"
    servers[0].fill(applied=2)
    backup.write(servers[0].database, source)
    if has_database:
        servers[1].fill()

    def check(server) -> None:
        check_founded(server, rows=["a"])
        check_tidy(server.environment.var)
        kept = server.environment.var / "one.db.replaced-first"
        if has_database:
            assert content(kept) == ["a", "b"]

    task = asked(source=source.as_uri())
    print(kill_everywhere(servers[1], task, tmp_path, check), "steps")


@pytest.mark.timeout(180)
def test_making_way_outlasts_a_kill_at_every_step(servers, tmp_path):
    servers[0].fill()

    def check(server) -> None:
        assert not server.database.exists()
        check_tidy(server.environment.var)
        assert content(server.environment.var / "one.db.replaced-first") == ["a", "b"]

    print(kill_everywhere(servers[0], asked(), tmp_path, check), "steps")
