"""Volumes grow while a client writes, one at a time, and no pod is replaced; what cannot be is told
and can be taken back.

The lab's volumes are directories, and its storage class does not let them grow: so much is
refused by a real API server. For the rest the class is told to allow it, and the test stands in for
the storage driver: it says that a volume has become larger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import clients
import lab
import onezones
import pytest
import timeouts

pytestmark = timeouts.limit(900)

CLASS = "standard"
DIRECTORIES = "kindlab/hostpath"
BEFORE, AFTER, LESS = "1Gi", "2Gi", "512Mi"
PATIENCE_SECONDS = 10
"""How long it is watched that no second claim asks, while the first waits for its driver."""


@pytest.fixture
def storage_class(nodes: None) -> Iterator[str]:
    """The lab's class, which allows no expansion before and after."""
    found = lab.kubectl_json("get", "storageclass", CLASS)
    if found["provisioner"] != DIRECTORIES:
        pytest.skip("the storage driver is only stood in for in the lab")
    allow(CLASS, is_allowed=False)
    yield CLASS
    allow(CLASS, is_allowed=False)


def test_volumes_grow_one_at_a_time_or_say_why_not(namespace: str, storage_class: str) -> None:
    """Refused, taken back, refused to shrink, and then carried out, under one client."""
    zone = onezones.make(namespace, onezones.example("three-servers"), 3)
    leader, before = zone.leader(), uids(zone)
    with clients.RetryingClient(zone.url(), zone.session()) as client:
        set_size(zone, AFTER)
        told = wait_for_verdict(zone, "ExpansionRefused")
        assert "resize" in told
        assert set(sizes(zone).values()) == {(BEFORE, BEFORE)}
        set_size(zone, BEFORE)
        wait_for_verdict(zone, "UpToDate")
        zone.wait_until_ready(3)

        set_size(zone, LESS)
        assert f"Set storage.size to {BEFORE}" in wait_for_verdict(zone, "ShrinkRefused")

        allow(storage_class, is_allowed=True)
        set_size(zone, AFTER)
        grown: list[str] = []
        for _ in zone.pods():
            claim = lab.wait_until(
                "one claim asks for more",
                lambda: asking(zone)[0] if len(asking(zone)) == 1 else "",
                timeouts.STEP,
            )
            if not grown:
                watch_that_no_other_asks(zone, claim)
            grow(zone, claim)
            grown.append(claim)
        wait_for_verdict(zone, "UpToDate")
        zone.wait_until_ready(3)
        client.first_after(client.done[-1].answered, timeouts.FAILOVER)
    assert set(sizes(zone).values()) == {(AFTER, AFTER)}
    assert sorted(grown) == sorted(f"data-{server}" for server in zone.pods())
    assert grown[-1] == f"data-{leader}"
    assert template_size(zone) == AFTER
    assert uids(zone) == before
    assert not client.failed
    assert client.longest_gap() <= timeouts.FAILOVER
    client.assert_nothing_lost(zone)


def watch_that_no_other_asks(zone: onezones.Zone, claim: str) -> None:
    lab.step(f"watch that only {claim} asks while its driver takes its time")
    for _ in range(PATIENCE_SECONDS):
        assert asking(zone) == [claim]
        lab.run("sleep", "1")
    # A server that answers late is waited for first, for one pass.
    lab.wait_until(
        "the zone waits for the driver",
        lambda: zone.get()["status"]["plan"].get("waitingFor") == "VolumeGrowing",
        timeouts.STEP,
    )


# --- what is declared, and told ------------------------------------------------------------------


def set_size(zone: onezones.Zone, size: str) -> None:
    lab.step(f"storage.size: {size}")
    zone.patch(storage={"size": size})


def wait_for_verdict(zone: onezones.Zone, reason: str) -> str:
    """Wait until VolumesInSync has this reason for the present spec; its message."""

    def message() -> str:
        live = zone.get()
        told = [
            each
            for each in live["status"]["conditions"]
            if each["type"] == "VolumesInSync"
            and each["observedGeneration"] == live["metadata"]["generation"]
            and each["reason"] == reason
        ]
        return str(told[0]["message"]) if told else ""

    text = lab.wait_until(f"VolumesInSync says {reason}", message, timeouts.STEP)
    lab.step(f"  {text}")
    return text


# --- claims, and the driver that is stood in for --------------------------------------------------


def allow(storage_class: str, *, is_allowed: bool) -> None:
    lab.kubectl(
        "patch", "storageclass", storage_class, "--type=merge",
        "-p", json.dumps({"allowVolumeExpansion": is_allowed}),
    )  # fmt: skip


def sizes(zone: onezones.Zone) -> dict[str, tuple[str, str]]:
    """What each claim asks for, and has."""
    items = lab.kubectl_json("-n", zone.namespace, "get", "pvc")["items"]
    return {
        item["metadata"]["name"]: (
            item["spec"]["resources"]["requests"]["storage"],
            item["status"]["capacity"]["storage"],
        )
        for item in items
    }


def asking(zone: onezones.Zone) -> list[str]:
    """Claims that ask for more than they have."""
    return [name for name, (asked, has) in sizes(zone).items() if asked != has]


def grow(zone: onezones.Zone, claim: str) -> None:
    """As a storage driver says that it is done: first of the volume, then of the claim."""
    found = lab.kubectl_json("-n", zone.namespace, "get", "pvc", claim)
    size = {"storage": found["spec"]["resources"]["requests"]["storage"]}
    volume = json.dumps({"spec": {"capacity": size}})
    lab.kubectl("patch", "pv", found["spec"]["volumeName"], "--type=merge", "-p", volume)
    lab.kubectl(
        "-n", zone.namespace, "patch", "pvc", claim, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {"capacity": size}}),
    )  # fmt: skip


def template_size(zone: onezones.Zone) -> str:
    """What new servers would get."""
    live = lab.kubectl_json("-n", zone.namespace, "get", "statefulset", zone.name)
    claim = live["spec"]["volumeClaimTemplates"][0]["spec"]
    return str(claim["resources"]["requests"]["storage"])


def uids(zone: onezones.Zone) -> set[str]:
    items = lab.kubectl_json(
        "-n", zone.namespace, "get", "pods", "-l", f"app.kubernetes.io/instance={zone.name}"
    )["items"]
    return {item["metadata"]["uid"] for item in items}
