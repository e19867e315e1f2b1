"""The operator's node loses its network for a moment: connections stay open, and are dead."""

from __future__ import annotations

from datetime import UTC, datetime

import clusters
import lab
import onezones
import timeouts

pytestmark = timeouts.limit(300)

MISSED_SECONDS = 6
"""The Lease is renewed every five seconds, and kept for ten: it is missed once, and not lost."""
HEARD = {"example.org/heard": "yes"}


def unrenewed_seconds() -> float:
    asked = datetime.now(UTC)  # not afterwards: what kubectl takes is no delay of the operator's
    lease = lab.kubectl_json("-n", clusters.NAMESPACE, "get", "lease", clusters.RELEASE)
    return (asked - datetime.fromisoformat(lease["spec"]["renewTime"])).total_seconds()


def test_a_change_of_the_spec_is_heard_of(nodes: None, zone: onezones.Zone) -> None:
    ((_, node, _),) = lab.operator_pods()
    lab.step(f"cutting off {node}, the node of the operator")
    lab.docker("network", "disconnect", "kind", node)
    try:
        lab.wait_until(
            "the operator misses a renewal",
            lambda: unrenewed_seconds() > MISSED_SECONDS,
            timeouts.STEP,
        )
    finally:
        lab.step(f"connecting {node}")
        lab.bring_node_back(node)
    zone.patch(endpoint={"annotations": HEARD})
    generation = zone.get()["metadata"]["generation"]
    lab.wait_until(
        "the operator has seen the spec",
        lambda: zone.get()["status"]["observedGeneration"] == generation,
        timeouts.SPEC_HEARD,
    )
    lab.step("  it was heard of")
    zone.patch(endpoint={"annotations": dict.fromkeys(HEARD)})
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
