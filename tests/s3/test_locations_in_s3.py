"""Backups in a bucket of a real server: whole or not there, and no secret in what is said."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import obstore
import pytest

from oned.errors import StorageError
from oned.storage import locations

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

LARGE = 3 * locations.PART_BYTES + 12345
NUMBERS = itertools.count()


@pytest.fixture
def bucket(s3):
    return s3.bucket(f"bucket-{next(NUMBERS)}")


@pytest.fixture
def large(tmp_path):
    """A file of several parts."""
    path = tmp_path / "large.bck"
    path.write_bytes(os.urandom(LARGE))
    return path


def place(s3, location: str, **changes: str) -> locations.Place:
    return locations.place(location, s3.environment() | changes)


@pytest.mark.parametrize("size", [0, 1, locations.PART_BYTES, LARGE])
def test_what_is_stored_comes_back(s3, bucket, tmp_path, size):
    source, back = tmp_path / "zone.bck", tmp_path / "back.bck"
    source.write_bytes(os.urandom(size))
    there = place(s3, f"{bucket}/some/folder/zone.bck")
    there.put(source, replace=False)
    there.fetch(back)
    assert back.read_bytes() == source.read_bytes()
    assert s3.unfinished(bucket.removeprefix("s3://")) == []


def test_https_with_an_authority_of_its_own(secure_s3, tmp_path):
    source, back = tmp_path / "zone.bck", tmp_path / "back.bck"
    source.write_bytes(b"content")
    location = f"{secure_s3.bucket('secure')}/zone.bck"
    place(secure_s3, location).put(source, replace=False)
    place(secure_s3, location).fetch(back)
    assert back.read_bytes() == b"content"
    stranger = secure_s3.environment() | {"AWS_CA_BUNDLE": ""}
    with pytest.raises(StorageError, match=r"cannot read s3://secure/zone\.bck"):
        locations.place(location, stranger).fetch(back)
    with pytest.raises(StorageError, match="AWS_CA_BUNDLE cannot be read: No such file"):
        place(secure_s3, location, AWS_CA_BUNDLE=str(tmp_path / "none")).fetch(back)


def test_nothing_is_replaced_unless_told_so(s3, bucket, tmp_path):
    first, second, back = (tmp_path / name for name in ("first", "second", "back"))
    first.write_text("first")
    second.write_text("second")
    there = place(s3, f"{bucket}/zone.bck")
    there.put(first, replace=False)
    with pytest.raises(StorageError, match="exists: choose another name, or -f"):
        there.put(second, replace=False)
    there.fetch(back)
    assert back.read_text() == "first"
    there.put(second, replace=True)
    there.fetch(back)
    assert back.read_text() == "second"


def test_a_folder_is_listed_alone_and_the_oldest_first(s3, bucket, tmp_path):
    source = tmp_path / "zone.bck"
    source.write_text("content")
    names = ("folder/b.bck", "folder/a.bck", "folder/inner/c.bck", "folder.bck", "folder/d.txt")
    for name in names:
        place(s3, f"{bucket}/{name}").put(source, replace=False)
        time.sleep(1.1)  # what a store tells of time is whole seconds
    found = place(s3, f"{bucket}/folder").listed()
    assert [each.location for each in found] == [f"{bucket}/folder/b.bck", f"{bucket}/folder/a.bck"]
    assert [each.size for each in found] == [7, 7]
    assert [e.location for e in place(s3, f"{bucket}/folder/").listed()] == [
        each.location for each in found
    ]
    assert [each.location for each in place(s3, bucket).listed()] == [f"{bucket}/folder.bck"]
    assert place(s3, f"{bucket}/none").listed() == []


def test_what_is_deleted_is_gone_and_may_be_gone_already(s3, bucket, tmp_path):
    source = tmp_path / "zone.bck"
    source.write_text("content")
    there = place(s3, f"{bucket}/folder/zone.bck")
    there.put(source, replace=False)
    there.delete()
    there.delete()
    assert there.listed() == []
    with pytest.raises(StorageError, match="no such backup, bucket or user"):
        there.fetch(tmp_path / "back")


def secrets_of(s3) -> tuple[str, ...]:
    return s3.access_key, s3.secret_key, "wrong-secret-value", "Signature=", "Authorization"


def act(there: locations.Place, what: str, path: Path) -> None:
    match what:
        case "put":
            there.put(path, replace=True)
        case "fetch":
            there.fetch(path)
        case "list":
            there.listed()
        case _:
            there.delete()


@pytest.mark.parametrize("what", ["put", "fetch", "list", "delete"])
@pytest.mark.parametrize(
    "changes",
    [
        {"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"},
        {"AWS_ACCESS_KEY_ID": "wrong-secret-value"},
    ],
)
def test_who_is_refused_is_told_so_without_the_secret(s3, bucket, tmp_path, what, changes):
    path = tmp_path / "zone.bck"
    path.write_text("content")
    with pytest.raises(StorageError) as raised:
        act(place(s3, f"{bucket}/zone.bck", **changes), what, path)
    said = str(raised.value)
    assert "cannot" in said
    assert not [secret for secret in secrets_of(s3) if secret in said]
    assert "\n" not in said
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("what", ["put", "fetch", "list", "delete"])
def test_there_must_be_a_bucket(s3, tmp_path, what):
    path = tmp_path / "zone.bck"
    path.write_text("content")
    with pytest.raises(StorageError, match="s3://nobodys-bucket") as raised:
        act(place(s3, "s3://nobodys-bucket/zone.bck"), what, path)
    assert not [secret for secret in secrets_of(s3) if secret in str(raised.value)]


def test_there_must_be_keys(s3):
    for missing in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(StorageError, match=f"needs {missing} set"):
            place(s3, "s3://b/zone.bck", **{missing: ""}).listed()
    shown = repr(place(s3, "s3://b/zone.bck"))
    assert shown == "Bucket('s3://b/zone.bck')"


class Proxy:
    """A way to the server that lets so many bytes of uploads pass, and then cuts every one."""

    def __init__(self, endpoint: str) -> None:
        self.target = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.left: int | None = None
        self.passed = 0
        self.reached = threading.Event()
        self.sockets = [self.listener]
        self.threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work, *arguments) -> None:
        self.threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self.threads[-1].start()

    def close(self) -> None:
        for each in list(self.sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self.threads):
            thread.join(10)
        for each in self.sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, 10)
            except OSError:
                client.close()
                continue
            self.sockets += [client, server]
            self._start(self._pump, client, server, True)
            self._start(self._pump, server, client, False)

    def _pump(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counts:
                    self.passed += len(data)
                    large = len(data) > 4096
                    if self.left is not None and large and self.passed > self.left:
                        self.reached.set()
                        break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_an_upload_that_is_cut_off_leaves_nothing(s3, bucket, large, monkeypatch):
    """Parts fail for good, while small requests pass: what was uploaded is given up."""
    monkeypatch.setattr(locations, "_RETRIES", 1)
    proxy = Proxy(s3.endpoint)
    proxy.left = locations.PART_BYTES + 100_000
    there = place(s3, f"{bucket}/zone.bck", AWS_ENDPOINT_URL=proxy.endpoint)
    with pytest.raises(StorageError, match="cannot store") as raised:
        there.put(large, replace=False)
    proxy.close()
    assert proxy.reached.is_set()
    assert not [secret for secret in secrets_of(s3) if secret in str(raised.value)]
    assert place(s3, bucket).listed() == []
    assert s3.unfinished(bucket.removeprefix("s3://")) == []


MEASURED = """
import re, sys
from pathlib import Path
from oned.storage import locations
import obstore.store
there, path = locations.place(sys.argv[1]), Path(sys.argv[2])
def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = most()
there.put(path, replace=True)
there.fetch(path.with_suffix(".back"))
print(most() - before)
"""


def test_memory_is_bounded_by_parts_and_not_by_the_file(s3, bucket, tmp_path):
    path = tmp_path / "large.bck"
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(256):
            file.write(block)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"{bucket}/large.bck", str(path)],
        env=os.environ | s3.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(f"{done.stdout.strip()} MiB more for a file of 256 MiB")
    assert 1 < int(done.stdout) < 100
    assert path.with_suffix(".back").stat().st_size == 256 << 20


def test_an_upload_that_is_not_ended_is_seen(s3, bucket):
    """What the tests above hold against: `unfinished` shows something where something is left."""
    there = place(s3, f"{bucket}/zone.bck")
    assert isinstance(there, locations.Bucket)
    writer = obstore.open_writer(there._store(), there.key, buffer_size=locations.PART_BYTES)
    writer.write(bytes(2 * locations.PART_BYTES))
    writer.flush()
    assert len(s3.unfinished(bucket.removeprefix("s3://"))) >= 1
    writer.close()
    assert s3.unfinished(bucket.removeprefix("s3://")) == []
