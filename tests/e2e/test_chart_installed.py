"""The chart as it is installed: `helm test` passes, and the operator lacks no right."""

from __future__ import annotations

import re

import clusters
import lab
import onezones
import timeouts

pytestmark = timeouts.limit(240)

WHERE = ("--namespace", clusters.NAMESPACE)


def test_helm_test(zone: onezones.Zone) -> None:
    """The operator answers, and the zone's leader takes a call through its Service."""
    settings = (f"test.zoneName={zone.name}", f"test.zoneNamespace={zone.namespace}")
    chosen = [word for setting in settings for word in ("--set", setting)]
    upgrade = ("helm", "upgrade", clusters.RELEASE, clusters.CHART, *WHERE, "--reuse-values")
    lab.run(*upgrade, *chosen, seconds=timeouts.OPERATOR_READY)
    try:
        done = lab.run("helm", "test", clusters.RELEASE, *WHERE, seconds=timeouts.OPERATOR_READY)
        assert "Phase:          Succeeded" in done
    finally:
        lab.run(*upgrade, "--set", "test.zoneName=", seconds=timeouts.OPERATOR_READY)


def test_operator_was_never_forbidden_anything(zone: onezones.Zone) -> None:
    """Rights that are missing would show in its log, in the API server's own words for it.

    The word "forbidden" alone is also used for writes into a namespace that is being deleted.
    """
    del zone
    log = lab.kubectl("-n", clusters.NAMESPACE, "logs", lab.OPERATOR_DEPLOYMENT, "--tail=5000")
    assert not [line for line in log.splitlines() if re.search(r"cannot \w+ resource", line)]
