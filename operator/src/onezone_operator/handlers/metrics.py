"""What the operator tells Prometheus of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

__all__ = ["ERRORS", "PASS_SECONDS", "STATUS_WRITES", "STEPS", "ZONES"]

PASS_SECONDS = Histogram(
    "onezone_operator_pass_seconds",
    "Duration of one pass over one zone",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STEPS = Counter("onezone_operator_steps_total", "Steps that were carried out, by kind", ["step"])
ERRORS = Counter("onezone_operator_errors_total", "Passes that ended in an error", ["error"])
STATUS_WRITES = Counter(
    "onezone_operator_status_writes_total", "Writes of a status; a zone at rest causes none"
)
ZONES = Gauge("onezone_operator_zones", "Zones that are looked after")
