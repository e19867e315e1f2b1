"""From the leader's death to the first acknowledged write through the floating address, as a client
outside of the cluster sees it. `make failover` repeats it 20 times.
"""

from __future__ import annotations

import clients
import floating
import lab
import onezones
import pytest
import timeouts
from watches import RouteWatch

pytestmark = timeouts.limit(3600)


def kill_and_measure(
    zone: onezones.Zone, client: clients.RetryingClient, heard: floating.Neighbour
) -> float:
    """Seconds without the zone; on return it has its three servers again."""
    leader = zone.leader()
    term = zone.server_status(leader)["term"]
    killed = lab.kill_process_of_pod(zone.namespace, leader)
    first = client.first_after(killed, timeouts.FAILOVER)
    seconds = first.answered - killed
    claims = [claim.at - killed for claim in heard.claims if claim.at > killed]
    announced = f"{claims[0]:.2f} s" if claims else "not needed"
    lab.step(f"  killed {leader} of term {term}: {seconds:.2f} s, announced {announced}")
    # A pod that dies again and again is started later and later; a new one is started at once.
    lab.kubectl(
        "-n", zone.namespace, "delete", "pod", leader, f"--timeout={timeouts.STEP}s",
        seconds=timeouts.STEP + 10,
    )  # fmt: skip
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    return seconds


def test_from_kill_to_first_write(
    floating_zone: onezones.Zone, request: pytest.FixtureRequest
) -> None:
    """Half of the failovers take no more than three seconds."""
    zone = floating_zone
    with (
        RouteWatch(zone) as watch,
        floating.Neighbour(floating.address(zone)) as heard,
        floating.client(zone) as client,
    ):
        taken = [
            kill_and_measure(zone, client, heard)
            for _ in range(request.config.getoption("--kills", default=3))
        ]
    half, most = (clients.percentile(taken, share) for share in (0.5, 0.95))
    lab.step(
        f"failover through the floating address: {len(taken)} kills, p50 {half:.2f} s, "
        f"p95 {most:.2f} s, max {max(taken):.2f} s"
    )
    assert half <= timeouts.FLOATING_FAILOVER
    assert max(taken) <= timeouts.FAILOVER
    assert not client.failed
    watch.assert_never_backwards()
    client.assert_nothing_lost(zone)
