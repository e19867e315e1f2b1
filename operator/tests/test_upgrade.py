"""Which version may follow which, and what becomes of an image that may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_facts import NOW, build_observed, build_pod, build_reports, build_zone
from operator_world import World

from onezone_operator import naming
from onezone_operator.models.observed import ObservedStatefulSet
from onezone_operator.reconcile import build_status, plan, upgrade
from onezone_operator.reconcile.steps import ApplyObjects, RegisterMember, Wait
from onezone_operator.reconcile.upgrade import Version, judge_path

REFUSED = "example.org/oned:0.3.0"


def version(text):
    found = Version.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("running", "wanted"),
    [("0.1.0", "0.1.0"), ("0.1.0", "0.1.7"), ("0.1.7", "0.1.0"), ("0.1.3", "0.2.0-rc.1")],
)
def test_supported_paths(running, wanted):
    assert judge_path(version(running), version(wanted)) is None


@pytest.mark.parametrize(
    ("running", "wanted", "why"),
    [
        ("0.1.0", "0.3.0", "go to 0.2 first"),
        ("0.2.0", "0.1.9", "is older than 0.2.0"),
        ("0.9.0", "1.0.0", "no path"),
        ("1.4.0", "0.9.0", "is older"),
        ("0.9.0", "2.0.0", "no path"),
    ],
)
def test_unsupported_paths(running, wanted, why):
    assert why in judge_path(version(running), version(wanted))


def test_next_major_follows_the_last_minor(monkeypatch):
    monkeypatch.setattr(upgrade, "LAST_MINORS", {0: 9})
    assert judge_path(version("0.9.2"), version("1.0.0")) is None
    assert "by way of it" in judge_path(version("0.8.0"), version("1.0.0"))
    assert "by way of it" in judge_path(version("0.9.0"), version("1.1.0"))


def test_older_minor_of_the_same_log_format(monkeypatch):
    monkeypatch.setattr(upgrade, "LOG_FORMATS", {(0, 1): 1, (0, 2): 1, (0, 3): 2})
    assert judge_path(version("0.2.0"), version("0.1.0")) is None
    assert judge_path(version("0.3.0"), version("0.2.0")) is not None


NUMBERS = st.builds(Version, st.integers(0, 3), st.integers(0, 5), st.integers(0, 9))


@given(running=NUMBERS, wanted=NUMBERS)
def test_no_path_skips_a_version_or_goes_back(running, wanted):
    if judge_path(running, wanted) is None and running.major == wanted.major:
        assert 0 <= wanted.minor - running.minor <= 1


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("oned:0.2.1", "0.2.1"),
        ("registry.example.org:5000/one/oned:v0.2.1-rc.1@sha256:00ff", "0.2.1"),
        ("registry.example.org:5000/one/oned", None),
        ("oned:main", None),
        ("oned:1.2", None),
        ("oned@sha256:00ff", None),
    ],
)
def test_version_of_an_image(image, tag):
    assert Version.of_image(image) == (None if tag is None else version(tag))


def running(*versions):
    reports = build_reports(len(versions))
    return {
        name: replace(report, version=told)
        for (name, report), told in zip(reports.items(), versions, strict=True)
    }


def asked(image, *, annotations=None, versions=("0.1.0", "0.1.0", "0.1.0"), **spec):
    """A zone at rest with 0.1.0, and the same when another image is asked for."""
    before = build_zone(image="example.org/oned:0.1.0", **spec)
    observed = build_observed(before, reports=running(*versions))
    metadata = before.metadata.model_copy(update={"annotations": annotations or {}})
    after = before.spec.model_copy(update={"image": image})
    return before.model_copy(update={"spec": after, "metadata": metadata}), observed


def test_blocked_image_is_not_written():
    zone, observed = asked(REFUSED)
    step = plan(zone, observed, NOW)
    assert isinstance(step, Wait)
    assert (step.reason, step.is_trouble) == ("UpgradeBlocked", True)
    assert "go to 0.2 first" in step.message
    status = build_status(zone, observed, step, NOW)
    config = status.condition("ConfigInSync")
    assert (config.status, config.reason) == ("False", "UpgradeBlocked")
    assert status.condition("Ready").status == "True"


def test_other_changes_go_on_with_the_old_image():
    zone, observed = asked(REFUSED)
    spec = zone.spec.model_copy(update={"log_level": "debug"})
    step = plan(zone.model_copy(update={"spec": spec}), observed, NOW)
    assert isinstance(step, ApplyObjects)
    (statefulset,) = [each for each in step.manifests if each["kind"] == "StatefulSet"]
    (container,) = statefulset["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "example.org/oned:0.1.0"
    grown = zone.spec.model_copy(update={"replicas": 5})
    assert isinstance(plan(zone.model_copy(update={"spec": grown}), observed, NOW), RegisterMember)


def test_override_is_of_one_version():
    zone, observed = asked(REFUSED, annotations={naming.ALLOW_VERSION_ANNOTATION: "0.3.0"})
    assert isinstance(plan(zone, observed, NOW), ApplyObjects)
    zone, observed = asked(REFUSED, annotations={naming.ALLOW_VERSION_ANNOTATION: "0.2.0"})
    assert plan(zone, observed, NOW).reason == "UpgradeBlocked"


def test_oldest_and_newest_server_count():
    halfway = ("0.1.0", "0.2.0", "0.2.0")
    for image in ("example.org/oned:0.3.0", "example.org/oned:0.1.1"):
        zone, observed = asked(image, versions=halfway)
        assert plan(zone, observed, NOW).reason == "UpgradeBlocked"


def test_image_tells_while_no_server_does():
    zone, observed = asked(REFUSED)
    silent = replace(observed, reports={})
    step = plan(zone, silent, NOW)
    assert not isinstance(step, ApplyObjects)
    assert (
        build_status(zone, silent, step, NOW).condition("ConfigInSync").reason == "UpgradeBlocked"
    )


def test_image_without_a_version_is_not_held_back():
    zone, observed = asked("example.org/oned:main")
    assert isinstance(plan(zone, observed, NOW), ApplyObjects)


def test_reverting_a_crashing_image_is_allowed_halfway():
    """It never told a version: only the ones that run count."""
    zone, observed = asked("example.org/oned:0.1.0")
    live = {**observed.objects}
    live["StatefulSet", "zone"] = {
        **live["StatefulSet", "zone"],
        "spec": {
            **live["StatefulSet", "zone"]["spec"],
            "template": {"spec": {"containers": [{"image": "example.org/oned:0.2.0"}]}},
        },
    }
    crashed = build_pod(2, ready=False, trouble="CrashLoopBackOff")
    observed = replace(
        observed,
        objects=live,
        pods=(build_pod(0, revision="old"), build_pod(1, revision="old"), crashed),
        statefulset=ObservedStatefulSet(3, "new", True),
        reports={k: v for k, v in observed.reports.items() if k != "zone-2"},
    )
    assert isinstance(plan(zone, observed, NOW), ApplyObjects)


async def test_paused_zone_with_another_spec_is_not_in_sync():
    world = World()
    world.declare(replicas=3)
    await run(world, 40)
    assert world.is_as_desired()
    world.declare(paused=True, image="oned:2")
    await run(world, 3)
    conditions = {each.type: each for each in world.zone().status.conditions}
    assert conditions["Paused"].status == "True"
    assert conditions["ConfigInSync"].status == "False"
    assert "oned:2" in conditions["ConfigInSync"].message
    world.declare(paused=False)
    await run(world, 20)
    assert world.is_as_desired()


async def test_bad_image_stops_at_one_pod_and_reverting_returns_to_green():
    """A new image that does not run: the roll stops at its first pod."""
    world = World()
    world.declare(replicas=3, image="oned:1")
    await run(world, 40)
    world.bad_images = {"oned:bad"}
    world.declare(image="oned:bad")
    for _ in range(60):
        await world.run_pass()
        world.step()
        assert len(bad_pods(world)) <= 1, "the roll went on past a pod that does not run"
        assert world.leader is not None
    assert len(bad_pods(world)) == 1
    assert world.zone().status.condition("Degraded").status == "True"
    world.declare(image="oned:1")
    await run(world, 60)
    assert world.is_as_desired()


def bad_pods(world):
    return [
        name
        for (kind, name), pod in world.objects.items()
        if kind == "Pod" and pod["image"] in world.bad_images
    ]


async def run(world, passes):
    for _ in range(passes):
        await world.run_pass()
        world.step()
