"""Deleting a OneZone ends, and leaves what the policy keeps, no more and no less."""

from __future__ import annotations

import lab
import onezones
import pytest
import timeouts
from writer import Writer

pytestmark = timeouts.limit(480)

KINDS = (
    "statefulsets", "pods", "services", "endpointslices", "configmaps", "secrets",
    "serviceaccounts", "roles", "rolebindings", "persistentvolumeclaims", "poddisruptionbudgets",
    "leases",
)  # fmt: skip


def leftovers(namespace: str, zone: str) -> set[str]:
    """Everything in the namespace that bears the zone's name."""
    listed = lab.kubectl("-n", namespace, "get", ",".join(KINDS), "-o", "name").split()
    return {item for item in listed if zone in item.partition("/")[2]}


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_nothing_is_left_but_what_the_policy_keeps(namespace: str, policy: str) -> None:
    """With Retain a OneZone of the same name finds the data of the one that was deleted."""
    manifest = onezones.example("one-server")
    manifest["spec"]["storage"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": policy}
    zone = onezones.make(namespace, manifest, 1)
    with Writer(zone) as writer:
        writer.wait_for_writes(10, timeouts.FAILOVER)
    lab.kubectl(
        "-n", namespace, "delete", "onezone", zone.name, f"--timeout={timeouts.DELETED}s",
        seconds=timeouts.DELETED + 10,
    )  # fmt: skip

    def is_clean() -> bool:
        left = leftovers(namespace, zone.name)
        kinds = {item.partition("/")[0] for item in left}
        if policy == "Delete":
            return not left
        return kinds <= {"persistentvolumeclaim", "secret"} and "persistentvolumeclaim" in kinds

    lab.wait_until(f"only what {policy} says is left", is_clean, timeouts.DELETED)
    lab.step(f"  left: {sorted(leftovers(namespace, zone.name))}")
    if policy == "Retain":
        again = onezones.make(namespace, manifest, 1)
        assert writer.acknowledged.items() <= again.documents(f"{again.name}-0").items()


def test_delete_ends_without_an_operator(namespace: str) -> None:
    """Whoever takes the operator away first can still delete zones."""
    zone = onezones.make(namespace, onezones.example("one-server"), 1)
    lab.scale_operator(0)
    try:
        lab.kubectl(
            "-n", namespace, "delete", "onezone", zone.name, f"--timeout={timeouts.DELETED}s",
            seconds=timeouts.DELETED + 10,
        )  # fmt: skip
        lab.wait_until("the pods are gone", lambda: not zone.pods(), timeouts.DELETED)
    finally:
        lab.scale_operator(1)
