"""What the operator tells Prometheus of itself, and of the zones as it sees them.

Who measures calls a small function here, or one of the counters below.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from onezone_operator.models.status import BackupStatus, Condition

__all__ = [
    "CACHED",
    "ERRORS",
    "LEADING",
    "PASS_SECONDS",
    "QUEUE_SECONDS",
    "STATUS_WRITES",
    "STEPS",
    "ZONES",
    "forget_zone",
    "note_api_call",
    "note_backups",
    "note_conditions",
    "note_success",
]

PASS_SECONDS = Histogram(
    "onezone_operator_pass_seconds",
    "Duration of one pass over one zone, failed ones included; its count is the number of passes",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STEPS = Counter("onezone_operator_steps_total", "Steps that were carried out, by kind", ["step"])
ERRORS = Counter("onezone_operator_errors_total", "Passes that ended in an error", ["error"])
STATUS_WRITES = Counter(
    "onezone_operator_status_writes_total", "Writes of a status; a zone at rest causes none"
)
ZONES = Gauge("onezone_operator_zones", "Zones that are looked after")
LEADING = Gauge(
    "onezone_operator_leading", "1 in the replica that holds the Lease and works, 0 in the others"
)
CACHED = Gauge("onezone_operator_cached_objects", "Objects of Kubernetes that are held in memory")
QUEUE_SECONDS = Histogram(
    "onezone_operator_queue_seconds",
    "From a wake-up of a zone, or its time having come, to the beginning of its pass",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
)
_API_CALLS = Counter(
    "onezone_operator_api_calls_total",
    "Calls of the Kubernetes API by HTTP verb, resource and answer (a status, or unavailable)",
    ["verb", "resource", "answer"],
)
_API_SECONDS = Histogram(
    "onezone_operator_api_call_seconds",
    "Duration of calls of the Kubernetes API",
    ["verb"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_LAST_SUCCESS = Gauge(
    "onezone_operator_last_success_timestamp_seconds",
    "When the last pass over a zone succeeded",
    ["namespace", "zone"],
)
_CONDITION = Gauge(
    "onezone_zone_condition",
    "A condition of a zone as in its status: 1 true, 0 false, -1 unknown",
    ["namespace", "zone", "condition"],
)
_BACKUP_SUCCESS = Gauge(
    "onezone_backup_last_success_timestamp_seconds",
    "When the newest backup of a zone that succeeded was begun",
    ["namespace", "zone"],
)
_BACKUP_VERIFIED = Gauge(
    "onezone_backup_last_verified_timestamp_seconds",
    "When the newest backup of a zone was begun that a server was started on",
    ["namespace", "zone"],
)
_BACKUP_NEXT = Gauge(
    "onezone_backup_next_timestamp_seconds",
    "When the next backup of a zone is due by its schedule",
    ["namespace", "zone"],
)
_BACKUP_FAILURES = Gauge(
    "onezone_backup_failures",
    "Scheduled backups of a zone that failed since one succeeded",
    ["namespace", "zone"],
)
_VALUES = {"True": 1, "False": 0}
_UNKNOWN = -1


def note_api_call(verb: str, resource: str, answer: str, seconds: float) -> None:
    """One call of the Kubernetes API came back, or did not."""
    _API_CALLS.labels(verb, resource, answer).inc()
    _API_SECONDS.labels(verb).observe(seconds)


def note_success(namespace: str, zone: str) -> None:
    """A pass over this zone succeeded, just now."""
    _LAST_SUCCESS.labels(namespace, zone).set_to_current_time()


def note_conditions(namespace: str, zone: str, conditions: Iterable[Condition]) -> None:
    """What the status says, written or not."""
    for each in conditions:
        value = _VALUES.get(each.status, _UNKNOWN)
        _CONDITION.labels(namespace, zone, each.type).set(value)


def note_backups(namespace: str, zone: str, status: BackupStatus | None) -> None:
    """What the status says of backups. What there is not, has no value."""
    moments = (
        (_BACKUP_SUCCESS, status.last_successful_time if status is not None else None),
        (_BACKUP_VERIFIED, status.last_verified_time if status is not None else None),
        (_BACKUP_NEXT, status.next_time if status is not None else None),
    )
    for gauge, moment in moments:
        if moment is None:
            gauge.remove_by_labels({"namespace": namespace, "zone": zone})
        else:
            gauge.labels(namespace, zone).set(datetime.fromisoformat(moment).timestamp())
    if status is None:
        _BACKUP_FAILURES.remove_by_labels({"namespace": namespace, "zone": zone})
    else:
        _BACKUP_FAILURES.labels(namespace, zone).set(status.failures)


def forget_zone(namespace: str, zone: str) -> None:
    """The zone is gone: its last values must not linger and raise alarms."""
    note_backups(namespace, zone, None)
    for gauge in (_LAST_SUCCESS, _CONDITION):
        gauge.remove_by_labels({"namespace": namespace, "zone": zone})
