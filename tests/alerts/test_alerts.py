"""Alerts fire when they should and rest when they should; nothing asks for what nobody exports."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
monitoring = importlib.import_module("monitoring")

HERE = Path(__file__).resolve().parent
ALERTS = {rule["alert"]: rule for rule in monitoring.rules()}
QUERIES = [
    (name, expression)
    for name, dashboard in monitoring.dashboards().items()
    for expression in monitoring.queries(dashboard)
]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is missing: make deps installs it, from Debian's prometheus")
    if found is None:
        pytest.skip("no promtool: it is in Debian's package prometheus")
    return found


def run(*command: object) -> str:
    """Output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cases() -> list[dict]:
    paths = sorted(HERE.glob("*.yaml"))
    return [case for path in paths for case in yaml.safe_load(path.read_text())["tests"]]


def exports(expression: str) -> frozenset[str]:
    """What an expression asks for and nobody exports."""
    return monitoring.asked_for(expression) - monitoring.exported() - monitoring.PROMETHEUS_OWN


def test_rules_are_sound(promtool: str):
    assert f"{len(ALERTS)} rules" in run(
        promtool, "check", "rules", monitoring.FILES / "alerts.yaml"
    )


@pytest.mark.parametrize("name", ["zones.yaml", "operator.yaml"])
def test_alerts_fire_and_rest(promtool: str, name: str):
    run(promtool, "test", "rules", HERE / name)


def test_promtool_notices_an_alert_that_does_not_fire(promtool: str, tmp_path: Path):
    """The cases ask for ``ALERTS``: were it empty always, none of them would show anything."""
    (case,) = (case for case in cases() if case["name"].startswith("OneZoneServerDown fires"))
    case["promql_expr_test"][0]["exp_samples"] = []
    rules = str(monitoring.FILES / "alerts.yaml")
    path = tmp_path / "wrong.yaml"
    path.write_text(
        yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "15s", "tests": [case]})
    )
    done = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, check=False, timeout=50
    )
    assert done.returncode == 1


def test_queries_of_dashboards_parse(promtool: str, tmp_path: Path):
    """As recording rules, with Grafana's variables filled in."""
    rules = [
        {"record": f"query:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, (_, expression) in enumerate(QUERIES)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    run(promtool, "check", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert: str):
    expected = [
        bool(each["exp_samples"])
        for case in cases()
        for each in case["promql_expr_test"]
        if each["expr"] == f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    ]
    assert True in expected
    assert False in expected


def test_cases_are_of_alerts_that_exist():
    named = {
        re.match(r'ALERTS\{alertname="(\w+)"', each["expr"])[1]
        for case in cases()
        for each in case["promql_expr_test"]
    }
    assert named == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_asks_for_what_is_exported(alert: str):
    assert monitoring.asked_for(ALERTS[alert]["expr"])
    assert not exports(ALERTS[alert]["expr"])


@pytest.mark.parametrize(("dashboard", "expression"), QUERIES)
def test_dashboard_asks_for_what_is_exported(dashboard: str, expression: str):
    assert monitoring.asked_for(expression)
    assert not exports(expression)


def test_cases_use_series_that_are_exported():
    """A case with a misspelt series would rest for ever, and look right."""
    for case in cases():
        for each in case["input_series"]:
            assert not exports(each["series"]), case["name"]


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_says_what_somebody_who_is_woken_needs(alert: str):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == monitoring.RUNBOOKS / f"{alert}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    for section in ("## What it means", "## How to see it", "## What to do"):
        assert section in text


def test_each_runbook_page_has_its_alert():
    pages = {path.stem for path in monitoring.RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == set(ALERTS)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("oned_term", {"oned_term"}),
        ('sum by (pod, le) (rate(oned_a_bucket{x="oned_b"}[5m])) > 1e6', {"oned_a_bucket"}),
        ("oned_a and on (zone) (max by (zone) (oned_b) == 1)", {"oned_a", "oned_b"}),
        ("a / ignoring (error) group_left () sum (b_count)", {"a", "b_count"}),
        ('count_values by (zone) ("term", oned_term) > 1', {"oned_term"}),
        ("time() - x_seconds > 300", {"x_seconds"}),
        ("sum(x) by (y)", {"x"}),
    ],
)
def test_names_are_found_in_expressions(expression: str, names: set[str]):
    assert monitoring.asked_for(expression) == names


def test_a_name_that_nobody_exports_is_found():
    assert exports("rate(oned_calls_totals[5m])") == {"oned_calls_totals"}
