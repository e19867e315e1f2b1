"""A server whose volume is lost comes back by itself, under its own name, and forgets nothing for
the zone.
"""

from __future__ import annotations

import lab
import onezones
import pytest
import timeouts
from writer import Writer

pytestmark = timeouts.limit(480)


def lose_volume(zone: onezones.Zone, server: str) -> str:
    """Delete the claim and the pod that holds it; returns the disk that is gone."""
    disk: str = zone.server_status(server)["disk"]
    where = ("-n", zone.namespace, "delete", "--wait=false")
    lab.kubectl(*where, "pvc", f"data-{server}")
    lab.kubectl(*where, "pod", server, "--force", "--grace-period=0")
    return disk


@pytest.mark.parametrize("which", ["a follower", "the first server", "the leader"])
def test_server_comes_back(zone: onezones.Zone, writer: Writer, which: str) -> None:
    """It gets a new disk and an empty database, is sent the state, and votes again only then.

    The first server is the one that made the zone: with an empty volume it joins, as any other,
    and never makes a second zone.
    """
    choose = {
        "a follower": zone.follower,
        "the first server": lambda: f"{zone.name}-0",
        "the leader": zone.leader,
    }
    server = choose[which]()
    uuid = zone.server_status(server)["zone_uuid"]
    lab.step(f"losing the volume of {server}")
    disk = lose_volume(zone, server)

    def has_new_disk() -> bool:
        status = zone.server_status(server)
        return bool(status["disk"] != disk and status["initialised"])

    lab.wait_until(f"{server} has the zone on a new disk", has_new_disk, timeouts.SERVER_BACK)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    assert zone.server_status(server)["zone_uuid"] == uuid
    members = zone.server_status(zone.leader())["members"]
    assert sorted(member["name"] for member in members) == zone.pods()
    assert all(member["voter"] for member in members)
    assert writer.longest_gap <= timeouts.FAILOVER
    writer.assert_nothing_lost()
