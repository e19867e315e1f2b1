"""A server that is too far behind for the log: how its snapshot arrives."""

from __future__ import annotations

import random

from zone_of_nodes import attributes, running_zone, until

from oned.state.entry import Change, Statement
from oned.telemetry.metrics import Metrics
from oned.transport import peers

PATIENT = 2.0
"""Election timeout in seconds: these tests need one leader all along, on a busy machine too."""

SLOWLY = 200_000
"""Bytes of a snapshot a second: what is looked at or stopped under way takes seconds more."""

ROW = "INSERT INTO system_attributes VALUES (?, ?)"


async def fill(zone, rows: int, size: int) -> None:
    """Content that does not compress away."""
    noise = random.Random(7)
    leader = await zone.leader()
    for number in range(rows):
        body = noise.randbytes(size // 2).hex()
        await leader.propose(
            Change((Statement(ROW, (f"row-{number}", body)),)), term=leader.core.term
        )


async def falls_behind(zone) -> tuple[str, object]:
    """A follower stops, and the log goes on without what it has."""
    leader = await zone.leader()
    absent = next(n for n in zone.nodes.values() if n is not leader)
    await zone.stop(absent.settings.name)
    last = leader.core.log.last_index
    await fill(zone, rows=80, size=20_000)
    await until(lambda: leader.core.log.base_index > last)
    return absent.settings.name, leader


def received(zone, name: str) -> int:
    """Bytes of a snapshot that have arrived so far."""
    files = (zone.directory / name / "snapshots").glob("incoming-*")
    return sum(file.stat().st_size for file in files)


async def test_broken_stream_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "SNAPSHOT_BYTES_A_SECOND", SLOWLY)
    monkeypatch.setattr(peers, "SNAPSHOT_BLOCK", 20_000)
    async with running_zone(tmp_path, retention=10, election_timeout=PATIENT) as zone:
        name, leader = await falls_behind(zone)
        await zone.start(name)
        await until(lambda: received(zone, name) > 200_000)
        await zone.stop(name)
        half = received(zone, name)
        node = await zone.start(name)
        offsets = []
        tell = node.snapshots.offset
        node.snapshots.offset = lambda *which: offsets.append(tell(*which)) or offsets[-1]
        await until(lambda: attributes(node) == attributes(leader))
        assert offsets[0] == half
        # What was installed is seen a moment before its file is removed.
        await until(lambda: not list((zone.directory / name / "snapshots").glob("incoming-*")))


async def test_stream_under_way_is_told_by_both_and_counted_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "SNAPSHOT_BYTES_A_SECOND", SLOWLY)
    monkeypatch.setattr(peers, "SNAPSHOT_BLOCK", 20_000)
    async with running_zone(tmp_path, retention=10, election_timeout=PATIENT) as zone:
        name, leader = await falls_behind(zone)
        node = await zone.start(name)
        scraped = {each: Metrics(process=False) for each in (node, leader)}
        for each, metrics in scraped.items():
            each.observers.snapshot = metrics.snapshot

        def value(each, sample, **labels):
            scraped[each].observe_status({**each.report(), "certificates": {}})
            return scraped[each].registry.get_sample_value(sample, labels)

        await until(lambda: node.report()["snapshots"]["received_bytes"] > 200_000)
        assert node.report()["snapshots"]["receiving"] is True
        assert leader.report()["snapshots"]["sending"][name] > 0
        assert value(node, "oned_snapshot_receiving") == 1
        half = value(node, "oned_snapshot_received_bytes")
        assert half > 200_000
        assert value(leader, "oned_snapshot_sending_seconds", member=name) > 0
        await until(lambda: value(node, "oned_snapshot_received_bytes") > half)
        await until(lambda: attributes(node) == attributes(leader))
        await until(lambda: not leader.report()["snapshots"]["sending"])
        for each, direction in ((node, "received"), (leader, "sent")):
            ended = {"direction": direction, "outcome": "success"}
            assert value(each, "oned_snapshots_total", **ended) == 1
        assert value(node, "oned_snapshot_receiving") == 0
        assert value(leader, "oned_snapshot_sending_seconds", member=name) is None
        idle = {"sending": {}, "receiving": False, "received_bytes": 0}
        assert node.report()["snapshots"] == idle


async def test_two_servers_share_one_export(tmp_path):
    async with running_zone(tmp_path, servers=5, retention=10, election_timeout=PATIENT) as zone:
        leader = await zone.leader()
        made = []
        write = leader.snapshots._exports._writer

        async def counted(*which):
            made.append(which)
            return await write(*which)

        leader.snapshots._exports._writer = counted
        names = [n.settings.name for n in zone.nodes.values() if n is not leader][:2]
        for name in names:
            await zone.stop(name)
        last = leader.core.log.last_index
        await fill(zone, rows=60, size=1000)
        await until(lambda: leader.core.log.base_index > last)
        for name in names:
            await zone.start(name)
        for name in names:
            await until(lambda name=name: attributes(zone.nodes[name]) == attributes(leader))
        assert 1 <= len(made) <= 2
        await until(lambda: not list((zone.directory / "server-0" / "snapshots").iterdir()))
