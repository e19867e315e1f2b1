"""`kubectl scale` works on a OneZone, and servers that left come back into the zone."""

from __future__ import annotations

import lab
import onezones
import pytest
import timeouts
from writer import Writer

pytestmark = timeouts.limit(600)


def scale(zone: onezones.Zone, replicas: int) -> None:
    """What a user types."""
    lab.kubectl("-n", zone.namespace, "scale", f"onezone/{zone.name}", f"--replicas={replicas}")


def test_scale_to_one_and_back(zone: onezones.Zone, writer: Writer) -> None:
    """The servers that come back find their old volumes, which the zone has left behind."""
    scale(zone, 1)
    zone.wait_until_ready(1, timeouts.STEP * 2)
    writer.wait_for_writes(10, timeouts.FAILOVER)
    scale(zone, 3)
    zone.wait_until_ready(3, timeouts.STEP * 2)
    status = zone.get()["status"]
    assert status["replicas"] == 3
    selected = lab.kubectl_json("-n", zone.namespace, "get", "pods", "-l", status["selector"])
    assert len(selected["items"]) == 3
    writer.assert_nothing_lost()


def test_scale_to_even_is_refused(zone: onezones.Zone) -> None:
    """Two servers survive no more than one: the API server says so, and nothing changes."""
    before = zone.get()["metadata"]["generation"]
    with pytest.raises(lab.CommandFailed, match="must be odd"):
        scale(zone, 2)
    assert zone.get()["metadata"]["generation"] == before
