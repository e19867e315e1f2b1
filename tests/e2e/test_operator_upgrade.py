"""A newer chart with a newer operator, and back again: zones do not notice.

What docs/how-to/upgrade.md tells users to type is what runs here.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import clients
import clusters
import lab
import onezones
import pytest
import timeouts
import yaml

pytestmark = timeouts.limit(600)

NEWER = "0.1.999"
MARK = "example.org/upgrade"
"""An annotation of the leader Service, that the spec asks for."""
WHERE = ("-n", clusters.NAMESPACE)
CHILDREN = (
    "statefulsets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,"
    "persistentvolumeclaims,poddisruptionbudgets,roles,rolebindings,networkpolicies"
)
LOOKS = 3
"""Of the operator at a zone, after which a write that it wanted to make would have been made."""
STEADY_SECONDS = 5
"""Between two of them."""


@dataclasses.dataclass(frozen=True)
class State:
    """What an upgrade must leave alone.

    Attributes:
        versions: of every object of the zone but for its status; servers' pods among them.
        pods: uid of each server's pod.
        generation: of the OneZone.
    """

    versions: dict[str, str]
    pods: dict[str, str]
    generation: int

    @classmethod
    def of(cls, zone: onezones.Zone) -> State:
        """As it is now."""
        own = f"onezone.dev/zone={zone.name}"
        found = lab.kubectl_json("-n", zone.namespace, "get", CHILDREN, "-l", own)["items"]
        items = {f"{each['kind']}/{each['metadata']['name']}": each["metadata"] for each in found}
        return cls(
            versions={name: each["resourceVersion"] for name, each in items.items()},
            pods={name: items[f"Pod/{name}"]["uid"] for name in zone.pods()},
            generation=zone.get()["metadata"]["generation"],
        )


def documented(begins: str) -> list[str]:
    """The one command of the page that begins so, in words."""
    page = (lab.ROOT / "docs" / "how-to" / "upgrade.md").read_text()
    (found,) = re.findall(rf"^{re.escape(begins)} .*$", page, re.MULTILINE)
    return shlex.split(found)


def make_newer_chart(folder: Path) -> Path:
    """A copy of the chart with a later version of it and of what it installs."""
    chart = folder / "onezone-operator"
    shutil.copytree(clusters.CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    about |= {"version": NEWER, "appVersion": NEWER}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    return chart


def deployment() -> dict[str, Any]:
    found: dict[str, Any] = lab.kubectl_json(*WHERE, "get", lab.OPERATOR_DEPLOYMENT)
    return found


def image() -> str:
    return str(deployment()["spec"]["template"]["spec"]["containers"][0]["image"])


def make_newer_image(cluster: clusters.Cluster) -> str:
    """The operator's image under a later tag, on the nodes."""
    repository, _, _ = image().rpartition(":")
    name = f"{repository}:{NEWER}"
    lab.docker("tag", image(), name)
    lab.run(
        "kind", "load", "docker-image", "--name", cluster.kind_name, name,
        seconds=timeouts.OPERATOR_READY,
    )  # fmt: skip
    return name


def leading_image() -> str:
    """The image of the operator that holds the Lease; empty while its pod is gone."""
    lease = lab.kubectl_json(*WHERE, "get", "lease", clusters.RELEASE)
    holder = str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
    found = lab.kubectl_json(
        *WHERE, "get", "pods", "-l", "app.kubernetes.io/name=onezone-operator"
    )["items"]
    images = {
        each["metadata"]["name"]: each["spec"]["containers"][0]["image"]
        for each in found
        if "deletionTimestamp" not in each["metadata"]
    }
    return str(images.get(holder, ""))


def see_at_work(zone: onezones.Zone, wanted: str, number: int) -> None:
    """Wait until an operator of this image leads, and has carried out a change of the spec."""
    lab.wait_until(
        "the other operator holds the Lease",
        lambda: leading_image() == wanted,
        timeouts.OPERATOR_READY,
    )
    annotations = {MARK: str(number)}
    zone.patch(endpoint={"annotations": annotations})

    def is_done() -> bool:
        service = lab.kubectl_json("-n", zone.namespace, "get", "service", zone.name)
        return annotations.items() <= service["metadata"].get("annotations", {}).items()

    lab.wait_until("it does what the spec says", is_done, timeouts.STEP)
    zone.wait_until_ready(3, timeouts.STEP)


def looked_at(zone: onezones.Zone) -> None:
    """Let the operator that leads look at the zone again and again."""
    time.sleep(LOOKS * STEADY_SECONDS)  # what must not happen cannot be waited for
    zone.wait_until_ready(3, timeouts.STEP)


def test_newer_and_back_without_a_restart(
    cluster: clusters.Cluster, zone: onezones.Zone, tmp_path: Path
) -> None:
    """Under a client that writes: pods, generation and every version of a child stay."""
    if cluster.kind_name is None:
        pytest.skip("an image can only be given to a kind cluster of this machine")
    chart, before = make_newer_chart(tmp_path), image()
    newer = make_newer_image(cluster)
    state, revision = State.of(zone), deployment()["metadata"]["generation"]
    assert f"StatefulSet/{zone.name}" in state.versions
    with clients.RetryingClient(zone.url(), zone.session()) as client:
        lab.step(f"upgrading to the chart {NEWER} and {newer}")
        crds = documented("kubectl apply --server-side")
        lab.run(*crds[:-1], lab.ROOT / crds[-1])
        upgrade = documented("helm upgrade")
        assert lab.ROOT / upgrade[3] == clusters.CHART
        upgrade[3] = str(chart)
        lab.run(*upgrade, "--set-string", f"image.tag={NEWER}", seconds=timeouts.OPERATOR_READY)
        try:
            lab.wait_until(
                "the newer operator holds the Lease",
                lambda: leading_image() == newer,
                timeouts.OPERATOR_READY,
            )
            assert deployment()["metadata"]["generation"] > revision
            looked_at(zone)
            assert State.of(zone) == state
            see_at_work(zone, newer, 1)
        finally:
            settled = State.of(zone)
            lab.step(f"rolling back to {before}")
            lab.run(*documented("helm rollback"), seconds=timeouts.OPERATOR_READY)
        lab.wait_until(
            "the older operator holds the Lease",
            lambda: leading_image() == before,
            timeouts.OPERATOR_READY,
        )
        looked_at(zone)
        assert State.of(zone) == settled
        see_at_work(zone, before, 2)
    zone.patch(endpoint={"annotations": {MARK: None}})
    lab.scale_operator(1)
    assert State.of(zone).pods == state.pods
    assert not client.failed
    assert not client.errors, "a call had to be tried again"
    client.assert_nothing_lost(zone)
