"""Where backups are kept on this machine; S3 is tried in tests/s3, on a real server."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from oned.errors import StorageError
from oned.storage import locations
from oned.storage.locations import Bucket, Directory, place


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/backup/zone.bck", Directory(Path("/backup/zone.bck"))),
        ("zone.bck", Directory(Path("zone.bck"))),
        ("file:///backup/a%20zone.bck", Directory(Path("/backup/a zone.bck"))),
        ("file://localhost/zone.bck", Directory(Path("/zone.bck"))),
        ("s3://bucket/folder/zone.bck", Bucket("bucket", "folder/zone.bck", {})),
        ("s3://bucket", Bucket("bucket", "", {})),
        ("s3://bucket/folder/", Bucket("bucket", "folder", {})),
    ],
)
def test_what_a_location_stands_for(location, expected):
    assert place(location, {}) == expected


@pytest.mark.parametrize(
    "location",
    ["file://other-host/zone.bck", "s3:///zone.bck", "s3://bucket/zone.bck?x=1", "gs://b/zone.bck"],
)
def test_what_stands_for_nothing_is_told(location):
    with pytest.raises(StorageError, match="give"):
        place(location, {})


def test_a_file_comes_back_and_only_its_owner_reads_it(source, tmp_path):
    there = place((tmp_path / "deep" / "zone.bck").as_uri())
    there.put(source, replace=False)
    stored = tmp_path / "deep" / "zone.bck"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    there.fetch(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"
    with pytest.raises(StorageError, match="exists: choose another name, or -f"):
        there.put(source, replace=False)
    there.put(source, replace=True)
    assert [path.name for path in stored.parent.iterdir()] == ["zone.bck"]


def test_a_file_that_cannot_be_written_whole_is_not_there(source, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locations.shutil, "copyfileobj", full)
    with pytest.raises(StorageError, match="No space left"):
        place((tmp_path / "there" / "zone.bck").as_uri()).put(source, replace=False)
    assert list((tmp_path / "there").iterdir()) == []


def test_what_killed_commands_left_is_removed_after_a_day(source, tmp_path):
    old, young, other = (tmp_path / f".{name}.bck.0123abcd" for name in ("old", "young", "other"))
    for path in (old, young):
        path.touch()
    other = tmp_path / "old.bck"
    other.touch()
    for path in (old, other):
        os.utime(path, (1000, 1000))
    place(str(tmp_path / "zone.bck")).put(source, replace=False)
    assert not old.exists()
    assert young.exists()
    assert other.exists()


def test_a_folder_is_listed_the_oldest_first(source, tmp_path):
    folder = tmp_path / "backups"
    for seconds, name in ((2000, "a.bck"), (1000, "b.bck"), (1500, "c.txt"), (1500, ".d.bck")):
        place(str(folder / name)).put(source, replace=False)
        os.utime(folder / name, (seconds, seconds))
    found = place(folder.as_uri()).listed()
    assert [each.location for each in found] == [
        (folder / name).as_uri() for name in ("b.bck", "a.bck")
    ]
    assert [(each.size, each.modified.timestamp()) for each in found] == [(7, 1000), (7, 2000)]
    assert place((tmp_path / "none").as_uri()).listed() == []


def test_what_is_gone_may_be_deleted(source, tmp_path):
    there = place((tmp_path / "zone.bck").as_uri())
    there.put(source, replace=False)
    there.delete()
    there.delete()
    place((tmp_path / "none" / "zone.bck").as_uri()).delete()
    with pytest.raises(StorageError, match="there is no backup"):
        there.fetch(tmp_path / "back")
