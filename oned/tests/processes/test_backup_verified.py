"""A backup is proved by a server that is started on it; nothing of that is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SECONDS = 60
PROGRAM = (sys.executable, "-c", "from oned.cli.onedb import main; main()")


@pytest.fixture
def environment(tmp_path):
    """Of a solo server whose administrator has a name of its own."""
    (tmp_path / "oned.conf").write_text('FEDERATION = [ SERVER_ID = "-1" ]\n')
    (tmp_path / "one_auth").write_text("root:secret\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ONE_", "ONED_"))}
    return clean | {"ONED_VAR": str(tmp_path / "var"), "ONE_AUTH": str(tmp_path / "one_auth")}


@pytest.fixture
def made(environment, tmp_path):
    """A backup of it."""
    config = tmp_path / "oned.conf"
    run(environment, sys.executable, "-m", "oned", "init", "-c", config)
    run(environment, *PROGRAM, "backup", tmp_path / "zone.bck", "-c", config)
    return tmp_path / "zone.bck"


@pytest.fixture
def scratch(tmp_path):
    path = tmp_path / "scratch"
    path.mkdir()
    return path


def run(environment, *command: object, code: int = 0) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def servers_in(directory: Path) -> list[int]:
    """Processes whose command line names a file in a directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and any(os.fsencode(directory) in word for word in words):
            found.append(int(each.parent.name))
    return found


def test_a_server_answers_on_a_good_backup(environment, made, scratch):
    said = run(environment, *PROGRAM, "verify", made, "--start", "--scratch", scratch)
    assert "is whole, and a server works with it" in said
    assert list(scratch.iterdir()) == []
    assert servers_in(scratch) == []


def test_a_backup_without_an_administrator_is_none(environment, made, scratch, tmp_path):
    """Whole as a file, and useless: only a server that is asked can tell."""
    lines = subprocess.run(["zcat", made], capture_output=True, check=True).stdout.splitlines()
    kept = [line for line in lines if b"<USER><ID>0</ID>" not in line]
    assert len(kept) == len(lines) - 1
    kept[-1] = json.dumps({"rows": json.loads(kept[-1])["rows"] - 1}).encode()
    other = tmp_path / "other.bck"
    packed = subprocess.run(
        ["gzip", "-c"], input=b"\n".join(kept) + b"\n", capture_output=True, check=True
    )
    other.write_bytes(packed.stdout)
    assert "is whole" in run(environment, *PROGRAM, "verify", other, "--scratch", scratch)
    words = ("verify", other, "--start", "--scratch", scratch)
    assert "no administrator" in run(environment, *PROGRAM, *words, code=255)
    assert list(scratch.iterdir()) == []


def test_a_damaged_database_gives_no_backup_and_a_report(environment, made, scratch, tmp_path):
    report = tmp_path / "report"
    database = Path(environment["ONED_VAR"]) / "one.db"
    database.write_bytes(database.read_bytes()[:4096])
    words = ("backup", "-s", database, "--to", (tmp_path / "new.bck").as_uri(), "--verify")
    words += ("--report", report, "--scratch", scratch)
    run(environment, *PROGRAM, *words, code=1)
    assert json.loads(report.read_text()).keys() == {"error"}
    assert not (tmp_path / "new.bck").exists()
    assert list(scratch.iterdir()) == []


def test_a_stop_leaves_no_server_and_no_file(environment, made, scratch):
    words = [*PROGRAM, "verify", str(made), "--start", "--scratch", str(scratch)]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + SECONDS
        while not servers_in(scratch):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert servers_in(scratch) == []
    assert list(scratch.iterdir()) == []


STOPPED_AT_ONCE = """
import os, signal, subprocess
from oned.cli.onedb import main
start = subprocess.Popen

def stopped(*words, **options):
    process = start(*words, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    return process

subprocess.Popen = stopped
main()
"""


def test_a_stop_as_the_server_is_started_leaves_none(environment, made, scratch):
    words = [sys.executable, "-c", STOPPED_AT_ONCE, "verify", made, "--start", "--scratch", scratch]
    run(environment, *words, code=128 + signal.SIGTERM)
    assert servers_in(scratch) == []
    assert list(scratch.iterdir()) == []


READ_ONLY = """
set -e
mount --bind "$SCRATCH" "$SCRATCH"
mount -o remount,ro,bind /
! touch /tmp/written 2>/dev/null
exec "$@"
"""


def test_only_the_scratch_directory_is_written(environment, made, scratch):
    """As in a pod with a read-only root and an emptyDir."""
    unshare = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh"]
    given = environment | {"SCRATCH": str(scratch), "TMPDIR": str(scratch)}
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    probe = subprocess.run([*unshare, "true"], env=given, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace can be made here: {probe.stderr.decode()}")
    said = run(given, *unshare, *PROGRAM, "verify", made.as_uri(), "--start")
    assert "a server works with it" in said
    assert list(scratch.iterdir()) == []
