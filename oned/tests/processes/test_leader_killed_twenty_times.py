"""Three real processes under load: the leader is killed with SIGKILL again and again.

A new leader takes a write each time, nothing acknowledged is lost, and at the end all
databases are equal row by row.
"""

from __future__ import annotations

import statistics
import time

import pytest
from local_zone import LocalZone, Writer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

KILLS = 20
WRITERS = 3


def write_after(writers: list[Writer], moment: float, seconds: float = 20.0) -> float:
    """Seconds from ``moment`` to the first write acknowledged after it."""
    end = moment + seconds
    while time.monotonic() < end:
        latest = [w.last_success for w in writers if w.last_success > moment + 0.05]
        if latest:
            return min(latest) - moment
        time.sleep(0.005)
    raise AssertionError(f"no write within {seconds} s")


def test_leader_killed_twenty_times(tmp_path, capsys):
    zone = LocalZone(tmp_path)
    zone.up()
    writers = [Writer(zone, number) for number in range(WRITERS)]
    try:
        for writer in writers:
            writer.start()
        gaps = []
        for _ in range(KILLS):
            leader = zone.leader()
            killed = time.monotonic()
            zone.kill(leader)
            gaps.append(write_after(writers, killed))
            zone.up()
        for writer in writers:
            writer.stop()
        acknowledged = {oid: name for w in writers for oid, name in w.acknowledged.items()}
        with capsys.disabled():
            print(
                f"\n{KILLS} kills, {len(acknowledged)} acknowledged writes: "
                f"kill to next write median {statistics.median(gaps):.2f} s, max {max(gaps):.2f} s"
            )
        assert [w.failure for w in writers] == [None] * WRITERS
        wait_until_equal(zone)
        documents = {row[0]: row[1] for row in _documents(zone)}
        lost = {oid: name for oid, name in acknowledged.items() if documents.get(oid) != name}
        assert not lost, f"{len(lost)} acknowledged writes are lost"
    finally:
        zone.down()
    first, *others = [zone.tables(server["name"]) for server in zone.listed()]
    for other in others:
        assert other == first
    assert acknowledged.items() <= {row[0]: row[1] for row in first["document_pool"]}.items()


def wait_until_equal(zone: LocalZone, seconds: float = 20.0) -> None:
    """Wait until every server has applied what the leader has."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        applied = {(zone.status(s) or {}).get("applied") for s in zone.listed()}
        if len(applied) == 1 and None not in applied:
            return
        time.sleep(0.05)
    raise AssertionError("the servers did not agree")


def _documents(zone: LocalZone) -> list[tuple[int, str]]:
    pool = zone.client(zone.leader()).documentpool.info(-2, -1, -1, 7)
    return [(document.ID, document.NAME) for document in pool.DOCUMENT]
