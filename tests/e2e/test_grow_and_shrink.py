"""A zone grows from one server to five and shrinks back to one under a client that writes all
along.
"""

from __future__ import annotations

import lab
import onezones
import timeouts
from watches import SizeWatch
from writer import Writer

pytestmark = timeouts.limit(900)


def test_no_acknowledged_write_is_lost(namespace: str) -> None:
    """1 → 3 → 5 → 1, one server at a time, and the client hardly notices."""
    zone = onezones.make(namespace, onezones.example("one-server"), 1)
    sizes = (3, 5, 1)
    with Writer(zone) as writer, SizeWatch(zone) as watch:
        before = 1
        for replicas in sizes:
            lab.step(f"{before} -> {replicas} servers")
            zone.patch(replicas=replicas)
            zone.wait_until_ready(replicas, timeouts.STEP * abs(replicas - before))
            writer.wait_for_writes(10, timeouts.FAILOVER)
            assert writer.longest_gap <= timeouts.FAILOVER
            before = replicas
            if replicas == max(sizes):
                lab.step("every one of five servers has the first write")
                first = min(writer.acknowledged)
                for server in zone.pods():
                    assert zone.documents(server)[first] == writer.acknowledged[first]
    watch.assert_one_at_a_time()
    assert zone.pods() == [f"{zone.name}-0"]
    writer.assert_nothing_lost()
