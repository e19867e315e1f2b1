"""A real Prometheus scrapes a real zone: panels show something, and a killed server alarms."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.processes import free_ports

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
monitoring = importlib.import_module("monitoring")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SECONDS = 45.0
"""For whatever is waited for: a member is unreachable after 5, on a busy machine a little later."""

NEEDS_TROUBLE = {"Snapshots under way", "Databases in trouble"}
"""Panels that are empty while all is well."""

NO_OPERATOR = {"OneZoneOperatorDown"}
"""None runs here, and the alert is right."""


class Prometheus:
    """What is asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=5) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self.get("query", query=expression)["result"]

    def alerts(self) -> set[str]:
        """Those that fire, or will when it lasts."""
        return {each["labels"]["alertname"] for each in self.get("alerts")["alerts"]}


def wait_until(what: Callable[[], object], meaning: str) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if what():
                return
        except OSError:
            pass  # not listening yet
        time.sleep(0.2)
    raise AssertionError(f"not within {SECONDS:.0f} s: {meaning}")


def zone(*words: object) -> None:
    command = [sys.executable, "-m", "oned", "zone", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    directory = tmp_path_factory.mktemp("scraped") / "zone"
    zone("up", "--servers", 3, "--dir", directory)
    try:
        found = json.loads((directory / "zone.json").read_text())["servers"]
        session = (directory / "one_auth").read_text().strip()
        with xmlrpc.client.ServerProxy(found[0]["endpoint"]) as proxy:
            assert proxy.one.user.allocate(session, "alice", "secret", "core", [])[0]
        yield found
    finally:
        zone("down", "--dir", directory)


@pytest.fixture(scope="module")
def prometheus(
    servers: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("prometheus is missing: make deps installs it, from Debian")
    if program is None:
        pytest.skip("no prometheus: it is Debian's package of that name")
    directory = tmp_path_factory.mktemp("prometheus")
    targets = [
        {
            "targets": [urllib.parse.urlsplit(each["admin_endpoint"]).netloc],
            "labels": {"namespace": "default", "zone": "zone", "pod": each["name"]},
        }
        for each in servers
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "oned", "static_configs": targets}],
        "rule_files": [str(monitoring.FILES / "alerts.yaml")],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    found = Prometheus(f"http://{address}")
    try:
        wait_until(
            lambda: len(found.query('up{job="oned"} == 1')) == len(servers),
            f"all servers are scraped, see {directory / 'log'}",
        )
        yield found
    finally:
        process.terminate()
        process.wait(timeout=20)
        log.close()


def filled_in(expression: str) -> str:
    values = {"$namespace": "default", "$zone": "zone", "$__rate_interval": "30s"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def test_dashboard_of_a_zone_shows_something_in_every_panel(prometheus: Prometheus):
    for panel in monitoring.dashboards()["zone.json"]["panels"]:
        for target in panel["targets"]:
            expression = filled_in(target["expr"])
            if panel["title"] in NEEDS_TROUBLE:
                assert prometheus.query(expression) == []
            else:
                wait_until(lambda ask=expression: prometheus.query(ask), f"data for {expression}")


def test_what_is_scraped_is_what_the_registry_says(prometheus: Prometheus):
    scraped = set(prometheus.get("label/__name__/values"))
    ours = {name for name in scraped if name.startswith(("oned_", "opennebula_"))}
    assert ours
    assert {name for name in ours if not name.endswith("_created")} <= monitoring.exported()


def test_zone_at_rest_raises_no_alert_and_a_killed_follower_does(
    prometheus: Prometheus, servers: list[dict[str, Any]]
):
    wait_until(lambda: prometheus.query("oned_is_leader == 1"), "a leader is known")
    wait_until(lambda: prometheus.alerts() <= NO_OPERATOR, "no alert but that of the operator")
    (leader,) = (each["metric"]["pod"] for each in prometheus.query("oned_is_leader == 1"))
    follower = next(each for each in servers if each["name"] != leader)
    os.kill(follower["pid"], signal.SIGKILL)
    expected = {"OneZoneServerDown", "OneZoneFollowerUnreachable", "OneZoneQuorumAtRisk"}
    wait_until(lambda: expected <= prometheus.alerts(), "the alerts of a killed follower")
    assert not {"OneZoneNoLeader", "OneZoneTwoLeaders"} & prometheus.alerts()
