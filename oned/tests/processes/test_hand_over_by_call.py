"""Three real processes under load: leadership is handed over by call again and again.

How long no write is acknowledged is measured, and nothing acknowledged is lost.
"""

from __future__ import annotations

import itertools
import time

import pytest
from local_zone import LocalZone, Writer
from test_leader_killed_twenty_times import wait_until_equal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

HAND_OVERS = 20
WRITERS = 3
GAP_SECONDS_P95 = 0.8
"""No election timeout passes, which is a second or more. It is less than a tenth of that without
load on the machine, and some syncs one after the other on a slow disk.
"""


class WatchfulWriter(Writer):
    """Remembers when each write was acknowledged, too."""

    def __init__(self, zone: LocalZone, number: int) -> None:
        super().__init__(zone, number)
        self.moments: list[float] = []

    def __setattr__(self, name: str, value: object) -> None:
        if name == "last_success" and "moments" in vars(self):
            self.moments.append(value)  # type: ignore[arg-type]
        super().__setattr__(name, value)


def gap_around(moments: list[float], begin: float, end: float) -> float:
    """The longest time without an acknowledgement between two moments."""
    inside = [m for m in moments if begin - 0.2 <= m <= end + 0.5]
    assert len(inside) > 2, "nobody wrote"
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def test_leadership_is_handed_over_twenty_times(tmp_path, capsys):
    zone = LocalZone(tmp_path)
    zone.up()
    writers = [WatchfulWriter(zone, number) for number in range(WRITERS)]
    try:
        for writer in writers:
            writer.start()
        time.sleep(0.5)  # load is what the gap is measured under
        spans = []
        for turn in range(HAND_OVERS):
            leader = zone.leader()
            others = [s for s in zone.listed() if s["name"] != leader["name"]]
            # Any server takes the call; a follower sends it on to the leader.
            asked = [leader, *others][turn % 3]
            wanted = -1 if turn % 4 == 3 else others[turn % 2]["id"]
            begin = time.monotonic()
            answered = zone.client(asked).zone.transferleader(0, wanted)
            spans.append((begin, time.monotonic()))
            assert answered != leader["id"]
            assert wanted in {-1, answered}
            now = zone.leader()
            assert now["id"] == answered
            time.sleep(0.5)  # as above
        for writer in writers:
            writer.stop()
        moments = sorted(m for w in writers for m in w.moments)
        gaps = sorted(gap_around(moments, *span) for span in spans)
        calls = sorted(end - begin for begin, end in spans)
        acknowledged = {oid: name for w in writers for oid, name in w.acknowledged.items()}
        p50, p95 = gaps[len(gaps) // 2], gaps[round(0.95 * len(gaps)) - 1]
        with capsys.disabled():
            print(
                f"\n{HAND_OVERS} hand-overs, {len(acknowledged)} acknowledged writes: write gap"
                f" p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, max {gaps[-1] * 1000:.0f} ms;"
                f" call p50 {calls[len(calls) // 2] * 1000:.0f} ms, max {calls[-1] * 1000:.0f} ms"
            )
        assert [w.failure for w in writers] == [None] * WRITERS
        wait_until_equal(zone)
    finally:
        zone.down()
    first, *others = [zone.tables(server["name"]) for server in zone.listed()]
    for other in others:
        assert other == first
    assert acknowledged.items() <= {row[0]: row[1] for row in first["document_pool"]}.items()
    assert p95 <= GAP_SECONDS_P95
