"""A real Prometheus finds the cluster's pods, has every series that alerts and dashboards ask for,
and is silent about a healthy zone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lab
import monitoring
import onezones
import pytest
import timeouts
import yaml

pytestmark = timeouts.limit(420)

SCRAPE = "2s"
PORT = 39090
DISCOVERED = "discovered.json"
HERE = "/opt/e2e-prometheus"
"""On the control plane's node, which reaches every pod; docker cannot copy to its /tmp."""

NOT_YET = {
    # While all is well.
    "oned_snapshot_sending_seconds",
    "onezone_operator_errors_total",
    # Without backups.
    "onezone_backup_failures",
    "onezone_backup_last_success_timestamp_seconds",
    "onezone_backup_last_verified_timestamp_seconds",
    # From an operator that has changed nothing since it was started.
    "onezone_operator_steps_total",
}
"""Have no series yet."""


class Prometheus:
    """What is asked of it."""

    def __init__(self, address: str, directory: Path) -> None:
        self.directory = directory
        self._base = f"http://{address}:{PORT}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """One answer of its API."""
        query = urllib.parse.urlencode(parameters)
        text = lab.run("curl", "-sf", "-m", "5", f"{self._base}/{path}?{query}")
        return json.loads(text)["data"]

    def names(self) -> set[str]:
        """Every series' name."""
        return set(self.get("label/__name__/values"))

    def answering(self, job: str) -> int:
        """How many targets of a job answer."""
        found = self.get("query", query=f'count(up{{job="{job}"}} == 1)')["result"]
        return int(found[0]["value"][1]) if found else 0

    def alerts(self, namespace: str) -> set[str]:
        """Those that fire for a namespace's zone, or for none in particular."""
        return {
            each["labels"]["alertname"]
            for each in self.get("alerts")["alerts"]
            if each["labels"].get("namespace", namespace) == namespace
        }


def asked_for() -> set[str]:
    """The series in every alert and on every dashboard."""
    expressions = [rule["expr"] for rule in monitoring.rules()]
    for board in monitoring.dashboards().values():
        expressions += monitoring.queries(board)
    names = {name for each in expressions for name in monitoring.asked_for(each)}
    return names - monitoring.PROMETHEUS_OWN - NOT_YET


def configuration() -> dict[str, Any]:
    """What docs/how-to/monitor.md tells users to write.

    Debian's Prometheus is built without a Kubernetes client, so that ``discover`` writes a file of
    what that would find; the page's rules for it stay as they are.
    """
    page = (lab.ROOT / "docs" / "how-to" / "monitor.md").read_text()
    block = re.search(r"```yaml\n(scrape_configs:.*?)```", page, re.DOTALL)
    assert block
    found: dict[str, Any] = yaml.safe_load(block[1])
    for job in found["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["file_sd_configs"] = [{"files": [DISCOVERED]}]
    found["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": "1s"}
    found["global"]["evaluation_interval"] = SCRAPE
    return found


def discover(directory: Path) -> None:
    """Tell Prometheus of every port of every pod, with the labels that it has from Kubernetes."""
    targets = []
    for pod in lab.kubectl_json("get", "pods", "--all-namespaces")["items"]:
        facts = {"namespace": pod["metadata"]["namespace"], "pod_name": pod["metadata"]["name"]}
        for label, value in pod["metadata"].get("labels", {}).items():
            facts[f"pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', label)}"] = value
        for container in pod["spec"]["containers"]:
            for port in container.get("ports", []):
                known = {**facts, "pod_container_port_name": port.get("name", "")}
                address = f"{pod['status'].get('podIP', '')}:{port['containerPort']}"
                labels = {f"__meta_kubernetes_{name}": value for name, value in known.items()}
                targets.append({"targets": [address], "labels": labels})
    (directory / DISCOVERED).write_text(json.dumps(targets))
    lab.docker("cp", directory / DISCOVERED, f"{lab.entry_node()}:{HERE}/{DISCOVERED}")


def rules() -> dict[str, Any]:
    """The chart's alerts without their patience, which promtool's tests look at."""
    groups = [
        {
            "name": "all",
            "rules": [
                {key: value for key, value in rule.items() if key != "for"}
                for rule in monitoring.rules()
            ],
        }
    ]
    return {"groups": groups}


@pytest.fixture(scope="module")
def prometheus(nodes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Debian's Prometheus, as a process of the control plane's node."""
    program = shutil.which("prometheus")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("prometheus is missing: make deps installs it, from Debian")
    if program is None:
        pytest.skip("no prometheus: it is Debian's package of that name")
    node, directory = lab.entry_node(), tmp_path_factory.mktemp("prometheus")
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration()))
    (directory / "alerts.yaml").write_text(yaml.safe_dump(rules()))
    shutil.copy2(program, directory / "prometheus")
    lab.docker("exec", node, "rm", "-rf", HERE)
    lab.docker("cp", directory, f"{node}:{HERE}")
    # It would die of writing to a pipe that nobody reads.
    options = f"--config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=:{PORT}"
    start = f"exec {HERE}/prometheus {options} > log 2>&1"
    lab.docker("exec", "-d", "-w", HERE, node, "sh", "-c", start)
    try:
        yield Prometheus(lab.node_address(node), directory)
    finally:
        # It writes until it has ended: a folder to which files are added cannot be removed.
        ours = f"-f '^{HERE}/prometheus'"
        end = f"pkill {ours} && while pgrep {ours} > /dev/null; do sleep 0.1; done"
        lab.docker("exec", node, "sh", "-c", end)
        lab.docker("exec", node, "rm", "-rf", HERE)


def missing(prometheus: Prometheus) -> set[str]:
    """What alerts and dashboards ask for, and Prometheus does not have."""
    return asked_for() - prometheus.names()


def wait_for_none(what: str, found: Callable[[], set[str]]) -> None:
    """Wait until nothing is found, or say what is."""

    def none() -> bool:
        if left := found():
            raise lab.CommandFailed(f"{what}: {sorted(left)}")
        return True

    lab.wait_until(f"no {what}", none, timeouts.SCRAPED)


def test_healthy_zone_shows_every_series_and_no_alert(
    prometheus: Prometheus, zone: onezones.Zone
) -> None:
    """The page that users follow finds servers and operator."""
    zone.documents(zone.leader())
    discover(prometheus.directory)
    lab.wait_until(
        "servers and operator are scraped",
        lambda: prometheus.answering("oned") >= 3 and prometheus.answering("onezone-operator"),
        timeouts.SCRAPED,
    )
    wait_for_none("series that are missing", lambda: missing(prometheus))
    wait_for_none("alerts", lambda: prometheus.alerts(zone.namespace))


def test_zone_without_a_majority_alarms(prometheus: Prometheus, zone: onezones.Zone) -> None:
    """Two of three servers stand still."""
    leader = zone.leader()
    discover(prometheus.directory)
    still = []
    for server in zone.pods():
        if server != leader:
            pod = lab.kubectl_json("-n", zone.namespace, "get", "pod", server)
            node = pod["spec"]["nodeName"]
            still.append((node, lab.process_of_pod(pod["metadata"]["uid"], node)))
    expected = {"OneZoneServerDown", "OneZoneNoLeader"}
    try:
        for node, process in still:
            lab.docker("exec", node, "kill", "-STOP", process)
        lab.wait_until(
            f"{sorted(expected)}",
            lambda: expected <= prometheus.alerts(zone.namespace),
            timeouts.SCRAPED,
        )
        lab.step(f"  {sorted(prometheus.alerts(zone.namespace))}")
    finally:
        for node, process in still:
            lab.docker("exec", node, "kill", "-CONT", process)
    zone.wait_until_ready(3, timeouts.SERVER_BACK)
    lab.wait_until(
        "they are over", lambda: not expected & prometheus.alerts(zone.namespace), timeouts.SCRAPED
    )
