"""``onedb`` on files: what it prints, and its exit codes."""

from __future__ import annotations

import hashlib
import json

import pytest

from oned import pki
from oned.cli.command import exit_code
from oned.cli.onedb import onedb
from oned.raft.types import Configuration, Member, ServerId
from oned.state.bootstrap import bootstrap_change
from oned.state.zones import LOCAL_ZONE, Zone
from oned.storage.store import Store

SERVER = Member(ServerId(3), "server-3", "http://a:2633/RPC2", "a:2635", voter=True)


@pytest.fixture
def database(tmp_path):
    """The database of a stopped server."""
    store = Store(tmp_path / "one.db")
    store.bootstrap(
        bootstrap_change(
            oneadmin=("oneadmin", "secret"),
            serveradmin_password="secret",
            zone_endpoint="http://localhost:2633/RPC2",
            server=SERVER,
            now=1,
        ),
        zone_uuid="zone",
        server_id=SERVER.server_id,
        configuration=Configuration((SERVER,)),
    )
    store.close()
    return store.path


def run(*arguments):
    return exit_code(onedb, "onedb", [str(word) for word in arguments])


def test_a_backup_goes_beside_the_database_under_a_name_with_the_time(database, capsys):
    assert run("backup", "-s", database) == 0
    (made,) = database.parent.glob("one.db_*.bck")
    assert f"onedb restore {made}" in capsys.readouterr().out
    assert run("verify", made) == 0
    assert "is whole: zone zone, entry 1" in capsys.readouterr().out


def test_what_cannot_be_done_is_said_and_fails(database, tmp_path, capsys):
    assert run("backup", "-s", tmp_path / "none.db") == 255
    assert "there is no database" in capsys.readouterr().err
    assert run("verify", tmp_path / "none.bck") == 255
    assert "there is no backup" in capsys.readouterr().err
    assert run("verify", database) == 255
    assert "is not a whole snapshot" in capsys.readouterr().err
    assert run("restore", database, "-s", database) == 255
    assert "exists: -f puts it aside" in capsys.readouterr().err


def test_version_tells_a_zone_from_an_empty_database(database, tmp_path, capsys):
    assert run("version", "-s", database) == 0
    assert "Comment: Database created by oned" in capsys.readouterr().out
    empty = Store(tmp_path / "empty" / "one.db")
    empty.close()
    assert run("version", "-s", empty.path) == 1
    assert run("version", "-s", tmp_path / "none.db") == 255


@pytest.mark.parametrize(("name", "server_id"), [("server-3", 3), ("server-9", 4)])
def test_a_first_server_keeps_its_id_or_gets_one_that_none_had(
    database, tmp_path, monkeypatch, name, server_id
):

    assert run("backup", tmp_path / "zone.bck", "-s", database) == 0
    authority = pki.create_authority(tmp_path / "authority")
    pki.issue_server(authority, name, hosts=(name,), directory=tmp_path / "peers")
    (tmp_path / "oned.conf").write_text(
        f'FEDERATION = [ SERVER_ID = "AUTO" ]\nPEER = [ DIRECTORY = "{tmp_path / "peers"}" ]\n'
    )
    monkeypatch.setenv("ONED_SERVER_NAME", name)
    monkeypatch.setenv("ONED_VAR", str(tmp_path / "new"))
    options = ("--first-server", "-c", tmp_path / "oned.conf")
    assert run("restore", tmp_path / "zone.bck", *options) == 0
    restored = Store(tmp_path / "new" / "one.db")
    zone = Zone.load(restored, LOCAL_ZONE)
    assert zone is not None
    assert [(i, server["NAME"]) for i, server in zone.servers.items()] == [(server_id, name)]
    facts = restored.facts
    assert (facts.zone_uuid, facts.server_id) == (authority.zone_uuid, server_id)
    (member,) = restored.configurations()[-1][1].members
    assert (member.server_id, member.disk, member.voter) == (server_id, facts.disk, True)
    restored.close()


def test_backups_are_listed_and_deleted(database, tmp_path, capsys):
    folder = tmp_path / "backups"
    location = (folder / "zone.bck").as_uri()
    assert run("backup", "-s", database, "--to", location) == 0
    capsys.readouterr()
    for name in ("backup-list", "list"):
        assert run(name, "-j", folder.as_uri()) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["location"], found["size"] > 0) == (location, True)
    for name in ("backup-delete", "delete"):
        assert run(name, location) == 0
    assert list(folder.iterdir()) == []
    assert run("backup-delete", database.as_uri()) == 255
    assert "is no backup: its name does not end in .bck" in capsys.readouterr().err
    assert database.exists()


def test_a_report_tells_what_was_done_or_why_not(database, tmp_path, capsys):
    report, location = tmp_path / "report", tmp_path / "zone.bck"
    words = ("backup", "-s", database, "--to", location, "--report", report)
    assert run(*words) == 0
    told = json.loads(report.read_text())
    assert told["sha256"] == hashlib.sha256(location.read_bytes()).hexdigest()
    assert (told["index"], told["zone_uuid"], told["verified"]) == (1, "zone", False)
    assert told["size"] == location.stat().st_size
    assert run(*words) == 1
    assert "exists" in json.loads(report.read_text())["error"]
    far = ("backup", "--server", "http://127.0.0.1:1/RPC2", "--report", report)
    assert run(*far, "--to", location, "-f") == 1
    assert len(report.read_bytes()) < 3 * 1024
    assert run(*far) == 1
    assert "say where" in json.loads(report.read_text())["error"]
    assert run(*words, location) == 1
    assert "once" in json.loads(report.read_text())["error"]


def test_an_error_of_any_length_fits_into_the_report(database, tmp_path):
    report = tmp_path / "report"
    words = ("backup", "-s", database, "--to", f"gs://{'ä' * 5000}", "--report", report)
    assert run(*words) == 1
    assert len(report.read_bytes()) <= 3 * 1024
    assert json.loads(report.read_text())["error"].startswith("gs://ä")


@pytest.mark.parametrize("text", ["soon", "-1", "601", "nan"])
def test_time_to_reach_a_server_is_a_number(monkeypatch, tmp_path, capsys, text):
    auth = tmp_path / "auth"
    auth.write_text("oneadmin:secret")
    monkeypatch.setenv("ONE_AUTH", str(auth))
    monkeypatch.setenv("ONE_REACH_SECONDS", text)
    assert run("backup", "--server", "http://127.0.0.1:1/RPC2", "--to", tmp_path / "x.bck") == 255
    assert f"ONE_REACH_SECONDS is '{text}', not a number from 0 to 600" in capsys.readouterr().err
