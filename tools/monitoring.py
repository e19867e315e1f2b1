"""What the two programs export, and what alerts and dashboards ask for: for the reference pages and
for the tests that hold the one against the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import commands
import yaml
from prometheus_client import REGISTRY, CollectorRegistry

import onezone_operator.handlers.metrics  # noqa: F401 - what it defines is in REGISTRY then
from oned.telemetry.metrics import Metrics

FILES = commands.ROOT / "charts" / "onezone-operator" / "files"
RUNBOOKS = commands.ROOT / "docs" / "runbooks"

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
    "info": ("_info",),
}
"""Type of a metric -> what its series are called behind its name."""

PROMETHEUS_OWN = frozenset({"up", "ALERTS"})
"""Series that Prometheus makes itself."""

_AGGREGATION = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "Inf", "NaN"})
_NAME = re.compile(r"(?<![\w.$])[A-Za-z_:][\w:]*(?!\w)(?!\s*\()")
_AGGREGATORS = re.compile(r"\b(?:sum|min|max|avg|count|count_values|topk|bottomk|quantile)\b")

Row = tuple[str, str, tuple[str, ...], str]
"""Name as one asks for it (a histogram's without suffix), type, labels, meaning."""


def registries() -> dict[str, CollectorRegistry]:
    """Program -> what it exports of its own accord, in order of definition."""
    return {"oned": Metrics("server", process=False).registry, "onezone-operator": REGISTRY}


def rows(registry: CollectorRegistry) -> Iterator[Row]:
    """Every metric of ours."""
    for collector in registry._collector_to_names:  # noqa: SLF001 - labels without series are
        labels = tuple(getattr(collector, "_labelnames", ()))  # told nowhere else
        for family in collector.collect():
            if family.name.startswith(("oned", "opennebula", "onezone")):
                suffix = "_total" if family.type == "counter" else ""
                yield f"{family.name}{suffix}", family.type, labels, family.documentation


def exported() -> frozenset[str]:
    """The names of all series, those of a process included."""
    full = [*registries().values(), Metrics("server").registry]
    return frozenset(
        f"{family.name}{suffix}"
        for registry in full
        for family in registry.collect()
        for suffix in SUFFIXES.get(family.type, ("",))
    )


def rules() -> list[dict[str, Any]]:
    """The alerts of the chart, in their order."""
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> dict[str, dict[str, Any]]:
    """File name -> dashboard."""
    found = sorted((FILES / "dashboards").glob("*.json"))
    return {path.name: json.loads(path.read_text()) for path in found}


def queries(dashboard: dict[str, Any]) -> list[str]:
    """Every expression of a dashboard's panels."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def asked_for(expression: str) -> frozenset[str]:
    """The names of the series in an expression of Prometheus' language."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = _AGGREGATORS.sub(" ", _AGGREGATION.sub(" ", bare))
    return frozenset(_NAME.findall(bare)) - _WORDS


# --- pages ---------------------------------------------------------------------


def build_metrics() -> str:
    """Every metric with type, labels and meaning."""
    parts = [
        "# Metrics\n",
        "What `/metrics` shows: of a server at port 2636, of the operator at port 8081.",
        "Both export `process_*` and `python_*` as well.",
        "A histogram has series ending in `_bucket`, `_sum` and `_count`.",
    ]
    for name, registry in registries().items():
        parts.append(f"\n## {name}\n\n| metric | type | labels | meaning |\n|---|---|---|---|")
        for metric, kind, labels, meaning in rows(registry):
            shown = ", ".join(f"`{label}`" for label in labels)
            parts.append(f"| `{metric}` | {kind} | {shown} | {meaning} |")
    return "\n".join(parts) + "\n"


def build_alerts() -> str:
    """Every alert with its expression."""
    parts = [
        "# Alerts\n",
        "From `charts/onezone-operator/files/alerts.yaml`; the chart's value `monitoring.alerts`",
        "ships them. How to turn them on: [Monitor zones](../how-to/monitor.md).",
        "*Critical*: clients notice, or soon will. *Warning*: somebody should look within a day.\n",
        "| alert | severity | for | what |\n|---|---|---|---|",
    ]
    for rule in rules():
        name, about = rule["alert"], rule["annotations"]["description"]
        about = re.sub(r"\{\{ \$(value|labels\.\w+)[^}]*\}\}", "…", about)
        severity, lasting = rule["labels"]["severity"], rule.get("for", "at once")
        parts.append(f"| [{name}](../runbooks/{name}.md) | {severity} | {lasting} | {about} |")
    parts.append("\n## Expressions\n")
    parts += [f"**{rule['alert']}**\n\n```text\n{rule['expr'].rstrip()}\n```\n" for rule in rules()]
    return "\n".join(parts).rstrip() + "\n"
