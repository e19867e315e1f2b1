"""Every example is accepted as documentation shows it; one goes all the way to a floating
address.
"""

from __future__ import annotations

import subprocess
import sys

import clusters
import lab
import onezones
import pytest
import timeouts
from writer import Writer

EXAMPLES = sorted(path.stem for path in (lab.ROOT / "examples").glob("*.yaml"))
METALLB_READY = 600


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_accepted(namespace: str, name: str) -> None:
    """By the API server itself, rules included, unchanged."""
    path = lab.ROOT / "examples" / f"{name}.yaml"
    lab.kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", path)


@timeouts.limit(600 + METALLB_READY)
def test_floating_address_follows_the_leader(cluster: clusters.Cluster, namespace: str) -> None:
    """examples/metallb.yaml: one address, answered by whoever leads."""
    if cluster.kind_name is None:
        pytest.skip("MetalLB is only brought along for clusters of this machine")
    subprocess.run(
        [sys.executable, lab.ROOT / "tools" / "cluster", "metallb"],
        check=True,
        timeout=METALLB_READY,
    )
    zone = onezones.make(namespace, onezones.example("metallb"), 3)

    def address() -> str:
        service = lab.kubectl_json("-n", namespace, "get", "service", zone.name)
        found = service["status"].get("loadBalancer", {}).get("ingress", [])
        return found[0]["ip"] if found else ""

    ip = lab.wait_until("MetalLB gave an address", address, timeouts.STEP)
    with Writer(zone, f"http://{ip}:{onezones.API_PORT}/RPC2") as writer:
        lab.kill_process_of_pod(namespace, zone.leader())
        writer.wait_for_writes(20, timeouts.NODE_LOSS)
        zone.wait_until_ready(3, timeouts.SERVER_BACK)
    writer.assert_nothing_lost()
