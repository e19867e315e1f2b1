"""The operator's numbers: what passes, wake-ups, conditions and calls of the API leave behind."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from onezone_operator.errors import Unavailable
from onezone_operator.handlers import metrics
from onezone_operator.handlers.reconciler import Outcome
from onezone_operator.handlers.wakeups import Wakeups
from onezone_operator.kube.client import KubeClient, _resource
from onezone_operator.models.status import BackupStatus, Condition


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels)


def condition(kind, status):
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": "Test",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    )


async def run_until(outcomes, *, zone):
    """Passes with these outcomes, the last of which stays; ends when all were given."""
    given = asyncio.Event()
    left = list(outcomes)

    async def run_pass(namespace, name):
        outcome = left.pop(0)
        if not left:
            given.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    wakeups = Wakeups(run_pass, concurrent_passes=1, backoff_max_seconds=0.01)
    wakeups.wake("metrics", zone)
    async with asyncio.timeout(5):
        await given.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    return wakeups


async def test_every_pass_notes_how_long_it_was_due():
    before = value("onezone_operator_queue_seconds_count")
    wakeups = await run_until([Outcome("", 0.001), Outcome("", 3600)], zone="due")
    assert value("onezone_operator_queue_seconds_count") == before + 2
    await wakeups.stop()


async def test_moment_of_the_last_success_is_known_and_goes_with_the_zone():
    labels = {"namespace": "metrics", "zone": "good"}
    wakeups = await run_until([Outcome("", 3600)], zone="good")
    moment = value("onezone_operator_last_success_timestamp_seconds", **labels)
    assert time.time() - 5 < moment <= time.time()
    metrics.note_conditions("metrics", "good", [condition("Ready", "True")])
    await wakeups.stop()
    assert value("onezone_operator_last_success_timestamp_seconds", **labels) is None
    assert value("onezone_zone_condition", **labels, condition="Ready") is None


async def test_failed_pass_is_an_error_and_no_success():
    before = value("onezone_operator_errors_total", error="Unavailable") or 0
    wakeups = await run_until([Unavailable("no answer")], zone="bad")
    assert value("onezone_operator_errors_total", error="Unavailable") == before + 1
    labels = {"namespace": "metrics", "zone": "bad"}
    assert value("onezone_operator_last_success_timestamp_seconds", **labels) is None
    await wakeups.stop()


@pytest.mark.parametrize(("status", "number"), [("True", 1), ("False", 0), ("Unknown", -1)])
def test_conditions_are_numbers(status, number):
    metrics.note_conditions("metrics", "conditions", [condition("Quorate", status)])
    labels = {"namespace": "metrics", "zone": "conditions", "condition": "Quorate"}
    assert value("onezone_zone_condition", **labels) == number
    metrics.forget_zone("metrics", "conditions")


def test_forgetting_a_zone_spares_others():
    metrics.note_conditions("metrics", "one", [condition("Ready", "True")])
    metrics.note_conditions("metrics", "two", [condition("Ready", "True")])
    metrics.forget_zone("metrics", "one")
    labels = {"namespace": "metrics", "condition": "Ready"}
    assert value("onezone_zone_condition", zone="one", **labels) is None
    assert value("onezone_zone_condition", zone="two", **labels) == 1
    metrics.forget_zone("metrics", "two")


async def test_calls_of_the_api_are_counted_with_what_came_of_them(tmp_path, monkeypatch):
    """Nothing listens at that port: the call is unavailable, and counted as that."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: none\n"
        "clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: none, user: {token: none}}]\n"
        "contexts: [{name: none, context: {cluster: none, user: none}}]\n"
    )
    monkeypatch.setattr(
        "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig)
    )
    noted = []
    async with KubeClient(request_seconds=2, note_call=lambda *call: noted.append(call)) as kube:
        with pytest.raises(Unavailable):
            await kube.get("Pod", "default", "zone-0")
    ((verb, resource, answer, seconds),) = noted
    assert (verb, resource, answer) == ("GET", "pods", "unavailable")
    assert 0 <= seconds < 2


def test_a_noted_call_is_a_count_and_a_duration():
    labels = {"verb": "PATCH", "resource": "pods", "answer": "409"}
    before = value("onezone_operator_api_calls_total", **labels) or 0
    metrics.note_api_call("PATCH", "pods", "409", 0.02)
    assert value("onezone_operator_api_calls_total", **labels) == before + 1
    assert value("onezone_operator_api_call_seconds_count", verb="PATCH") >= 1


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces/front/pods/zone-0:2636/proxy/status", "pods"),
        ("/apis/apps/v1/namespaces/front/statefulsets", "statefulsets"),
        ("/apis/onezone.dev/v1alpha1/onezones", "onezones"),
        ("/api/v1/namespaces", "namespaces"),
        ("/version", "unknown"),
    ],
)
def test_a_call_is_counted_for_the_resource_in_its_path(path, resource):
    assert _resource(path) == resource


def test_backups_of_a_zone_are_told_and_forgotten():
    status = BackupStatus(last_successful_time="2026-03-01T02:00:00Z", failures=2)
    metrics.note_backups("front", "zone", status)
    labels = {"namespace": "front", "zone": "zone"}
    moment = REGISTRY.get_sample_value("onezone_backup_last_success_timestamp_seconds", labels)
    assert moment == datetime(2026, 3, 1, 2, tzinfo=UTC).timestamp()
    assert REGISTRY.get_sample_value("onezone_backup_failures", labels) == 2
    assert REGISTRY.get_sample_value("onezone_backup_next_timestamp_seconds", labels) is None
    metrics.forget_zone("front", "zone")
    assert REGISTRY.get_sample_value("onezone_backup_failures", labels) is None
    assert (
        REGISTRY.get_sample_value("onezone_backup_last_success_timestamp_seconds", labels) is None
    )
