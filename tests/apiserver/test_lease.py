"""Two replicas of the operator: one is at work, the other takes over, and never are both."""

from __future__ import annotations

import signal
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.processes import wait_until
from benchmarks.scale.lab import Lab, Operator

LEASE = "/apis/coordination.k8s.io/v1/namespaces/onezone-system/leases/replicas"
PLANNED_SECONDS = 2.0
CRASH_SECONDS = 17.0


@pytest.fixture
def pair(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[str, list[Operator]]]:
    """A zone that was made by the first of two replicas, which log in as different users."""
    namespace = f"replicas-{request.node.name[5:20].replace('_', '-').rstrip('-')}"
    lab.api.make_namespace(namespace)
    operators = []
    for name in ("first", "second"):
        login = lab.api.kubeconfig(name, groups=("system:masters",))
        operators.append(
            lab.operator(
                f"{namespace}-{name}",
                kubeconfig=login,
                namespaces=namespace,
                lease_namespace="onezone-system",
                lease_name="replicas",
            )
        )
        wait_until(lambda: bool(holder(lab)), "held: the Lease", 90)
        wait_until(lambda each=operators[-1]: is_up(each), "up", 90)  # type: ignore[misc]
    lab.declare(namespace, "zone", replicas=1)
    lab.wait_until_steady(namespace, "zone")
    yield namespace, operators
    for each in operators:
        if not each.has_ended():
            lab.end(each)
    # Given back, unless that took too long: then the next test's operators would wait for its end.
    lab.api.request("DELETE", LEASE)


def is_up(operator: Operator) -> bool:
    try:
        url = f"http://127.0.0.1:{operator.probe_port}/healthz"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def holder(lab: Lab) -> str:
    lease = lab.api.find(LEASE) or {}
    return str(lease.get("spec", {}).get("holderIdentity") or "")


def touch(lab: Lab, namespace: str, text: str) -> None:
    lab.declare(namespace, "zone", replicas=1, endpoint={"annotations": {"example.org/is": text}})


def is_done(lab: Lab, namespace: str, text: str) -> bool:
    service = lab.api.request("GET", f"/api/v1/namespaces/{namespace}/services/zone")
    return bool(service["metadata"].get("annotations", {}).get("example.org/is") == text)


def writes(lab: Lab, user: str, mark: int) -> list[Any]:
    return [
        event
        for event in lab.api.requests(user, since=mark)
        if event["verb"] not in {"get", "list", "watch"}
        and event["objectRef"]["resource"] != "leases"
    ]


def wait_until_taken(lab: Lab, before: str, seconds: float) -> float:
    started = time.monotonic()
    wait_until(lambda: holder(lab) not in {"", before}, "taken over", seconds)
    return time.monotonic() - started


def test_planned_hand_over(lab: Lab, pair: tuple[str, list[Operator]]):
    namespace, (first, _) = pair
    mark, before = lab.api.mark(), holder(lab)
    assert is_up(first)
    started = time.monotonic()
    first.kill(signal.SIGTERM)
    wait_until_taken(lab, before, 10)
    took = time.monotonic() - started
    print(f"planned hand-over: {took:.2f} s from SIGTERM")
    assert took <= PLANNED_SECONDS
    touch(lab, namespace, "after")
    wait_until(lambda: is_done(lab, namespace, "after"), "at work", 10)
    assert writes(lab, "second", mark)
    assert not _overlap(lab, mark)


def test_crash(lab: Lab, pair: tuple[str, list[Operator]]):
    namespace, (first, _) = pair
    mark, before = lab.api.mark(), holder(lab)
    started = time.monotonic()
    first.kill(signal.SIGKILL)
    touch(lab, namespace, "crash")
    wait_until_taken(lab, before, 30)
    took = time.monotonic() - started
    wait_until(lambda: is_done(lab, namespace, "crash"), "at work", 10)
    print(f"crash: taken after {took:.2f} s, at work after {time.monotonic() - started:.2f} s")
    assert took <= CRASH_SECONDS
    assert not _overlap(lab, mark)


def test_one_that_was_stopped_for_long_does_nothing_when_it_goes_on(
    lab: Lab, pair: tuple[str, list[Operator]]
):
    """A paused process holds its Lease in mind: it must look at the clock before it writes."""
    namespace, (first, _) = pair
    before = holder(lab)
    first.kill(signal.SIGSTOP)
    wait_until_taken(lab, before, 30)
    mark = lab.api.mark()
    first.kill(signal.SIGCONT)
    for number in range(5):
        touch(lab, namespace, f"pause-{number}")
        wait_until(lambda n=number: is_done(lab, namespace, f"pause-{n}"), "at work", 10)  # type: ignore[misc]
    assert not writes(lab, "first", mark)
    assert writes(lab, "second", mark)


def _overlap(lab: Lab, mark: int) -> list[Any]:
    """Writes of the first after the second's first one."""
    second = writes(lab, "second", mark)
    return [
        event
        for event in writes(lab, "first", mark)
        if second and event["requestReceivedTimestamp"] > second[0]["requestReceivedTimestamp"]
    ]
