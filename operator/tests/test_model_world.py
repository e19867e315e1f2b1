"""Passes in a model of the world: they converge, whatever is cut off, and break nothing on the way.

``operator_world`` raises ``ViolationError`` when two changes are in flight, when a member's pod is
taken, when a removal or a replacement costs the quorum, or when a second zone is made. Operators
that are killed are in ``test_interruption``.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_world import NAMESPACE, ZONE, World
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from onezone_operator import naming
from onezone_operator.errors import OperatorError

PASSES_MAX = 120


async def settle(world: World, passes: int = PASSES_MAX) -> int:
    """Run passes until all is as desired; how many it took."""
    for count in range(passes):
        with contextlib.suppress(OperatorError):
            await world.run_pass()
        world.step()
        if world.is_as_desired():
            return count
    status = world.zone().status
    raise AssertionError(f"not settled: {status.plan} {world.members} {status.conditions}")


async def grown(replicas: int = 3) -> World:
    world = World()
    world.declare(replicas=replicas)
    await settle(world)
    return world


async def test_zone_grows_to_its_size():
    world = await grown(3)
    status = world.zone().status
    assert status.condition("Ready").status == "True"
    assert (status.replicas, status.ready_servers, status.leader) == (3, "3/3", "zone-0")
    assert status.bootstrapped
    assert world.objects[("ConfigMap", "zone-config")]["data"]["bootstrap"] == ""


async def test_steady_zone_is_not_written():
    world = await grown(3)
    world.step()
    await world.run_pass()
    writes, calls = world.writes, world.calls
    for _ in range(30):
        world.step(2)
        outcome = await world.run_pass()
        assert outcome.retry_seconds == 5.0
    assert (world.writes, world.calls) == (writes, calls)


async def test_every_record_says_zone_and_step():
    world = World()
    world.declare(replicas=1)
    with capture_logs([merge_contextvars]) as records:
        await settle(world)
    done = [each for each in records if each["event"] == "step done"]
    assert {"CreateAuthority", "ApplyObjects", "RecordBootstrap"} <= {each["step"] for each in done}
    assert {(each["namespace"], each["zone"]) for each in records} == {(NAMESPACE, ZONE)}


@pytest.mark.parametrize("sizes", [(1, 3, 5, 3, 1), (5, 1, 7), (3, 5, 3, 5)])
async def test_size_changes(sizes):
    world = await grown(sizes[0])
    for size in sizes[1:]:
        world.declare(replicas=size)
        await settle(world)
        assert len(world.members) == size


async def test_size_flipped_back_visits_nothing():
    world = await grown(5)
    world.declare(replicas=3)
    await world.run_pass()
    assert len(world.members) == 4
    world.declare(replicas=5)
    smallest = len(world.members)
    for _ in range(PASSES_MAX):
        await world.run_pass()
        world.step()
        smallest = min(smallest, len(world.members))
    assert smallest == 4
    assert world.is_as_desired()


async def test_members_decide_over_a_scaled_statefulset():
    world = await grown(3)
    world.scale_statefulset(5)
    world.step()
    await settle(world)
    assert len(world.members) == 3
    world.scale_statefulset(1)
    for _ in range(3):
        world.step()
    assert world.leader is None
    await settle(world)
    assert len(world.voters()) == 3


async def test_lost_volume_of_the_first_server_makes_no_second_zone():
    world = await grown(3)
    world.lose_volume("zone-0")
    for _ in range(3):
        world.step()
    await settle(world)
    assert world.zones_made == 1


async def test_lost_status_and_volume_make_no_second_zone():
    world = await grown(1)
    del world.objects[(naming.KIND, ZONE)]["status"]
    world.lose_volume("zone-0")
    for _ in range(20):
        world.step()
        await world.run_pass()
    assert world.zones_made == 1
    assert world.zone().status.bootstrapped


async def test_no_quorum_is_said_and_nothing_done():
    world = await grown(3)
    world.down = {"zone-1", "zone-2"}
    world.declare(replicas=5)
    world.step()
    for _ in range(5):
        await world.run_pass()
        world.step()
    status = world.zone().status
    assert len(world.members) == 3
    assert status.condition("Ready").status == "False"
    assert status.condition("Degraded").status == "True"
    assert status.plan.step == "Wait"
    world.down = set()
    await settle(world)
    assert len(world.members) == 5


async def test_shrink_is_vetoed_when_it_would_cost_the_quorum():
    world = await grown(5)
    world.down = {"zone-0", "zone-1"}
    world.step()
    world.declare(replicas=3)
    for _ in range(10):
        await world.run_pass()
        world.step()
    assert len(world.members) == 5
    assert world.zone().status.condition("Degraded").reason == "TooFewHealthyServers"
    world.down = set()
    await settle(world)


async def test_route_is_repaired_when_the_hook_fails():
    world = await grown(3)
    world.hook_works = False
    world.down = {"zone-0"}
    for _ in range(10):
        world.step()
        await world.run_pass()
    live = world.objects[("EndpointSlice", "zone-leader")]
    leader = world.objects[("Pod", world.leader)]["status"]["podIP"]
    assert live["endpoints"][0]["addresses"] == [leader]
    assert live["metadata"]["annotations"][naming.TERM_ANNOTATION] == str(world.term)
    assert world.zone().status.condition("RoutingInSync").status == "True"


async def test_route_of_a_later_term_is_left_alone():
    world = await grown(3)
    world.hook_works = False
    live = world.objects[("EndpointSlice", "zone-leader")]
    live["metadata"]["annotations"][naming.TERM_ANNOTATION] = "99"
    live["endpoints"] = [{"addresses": ["10.9.9.9"]}]
    for _ in range(10):
        world.step()
        await world.run_pass()
    assert live["endpoints"] == [{"addresses": ["10.9.9.9"]}]
    assert world.zone().status.condition("RoutingInSync").status == "False"


async def test_new_image_replaces_followers_first():
    world = await grown(3)
    world.declare(image="oned:2")
    leaders = []
    before = {
        name: pod["metadata"]["uid"] for (kind, name), pod in world.objects.items() if kind == "Pod"
    }
    for _ in range(PASSES_MAX):
        await world.run_pass()
        for name in list(before):
            pod = world.objects.get(("Pod", name))
            if pod is not None and pod["metadata"]["uid"] != before[name]:
                leaders.append(name)
                del before[name]
        world.step()
        if not before and world.is_as_desired():
            break
    assert leaders == ["zone-1", "zone-2", "zone-0"]
    assert world.zone().status.condition("ConfigInSync").status == "True"


async def test_drift_of_a_child_is_repaired():
    world = await grown(3)
    world.objects[("Service", "zone")]["spec"]["ports"][0]["port"] = 99
    del world.objects[("PodDisruptionBudget", "zone")]
    await settle(world)
    assert world.objects[("Service", "zone")]["spec"]["ports"][0]["port"] == 2633
    assert world.objects[("PodDisruptionBudget", "zone")]["spec"]["maxUnavailable"] == 1


async def test_paused_zone_is_reported_and_not_changed():
    world = await grown(3)
    world.declare(paused=True, replicas=5)
    for _ in range(5):
        world.step()
        await world.run_pass()
    assert len(world.members) == 3
    assert world.zone().status.condition("Paused").status == "True"


async def test_kept_volumes_are_taken_up_by_a_new_onezone():
    world = await grown(3)
    uuid = world.zone().status.zone_uuid
    for kind, name in list(world.objects):
        if kind != "PersistentVolumeClaim" and (kind, name) != ("Secret", "zone-auth"):
            del world.objects[(kind, name)]
    world.leader = None
    world.declare(replicas=3)
    await settle(world)
    assert world.zone().status.zone_uuid == uuid
    assert world.zones_made == 1


async def test_foreign_object_is_left_alone():
    world = World()
    world.declare(replicas=1)
    await world.create(
        {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "zone"}}, manager="x"
    )
    for _ in range(5):
        await world.run_pass()
    assert world.zone().status.condition("Degraded").reason == "NameTaken"
    assert set(world.objects) == {(naming.KIND, ZONE), ("Service", "zone")}


async def test_object_that_someone_keeps_changing_does_not_hold_up_the_rest():
    world = await grown(3)
    world.declare(replicas=5)
    calls = world.calls
    for _ in range(60):
        world.objects[("Service", "zone")]["spec"]["ports"][0]["port"] = 99
        await world.run_pass()
        world.step()
    assert len(world.voters()) == 5
    assert world.calls - calls < 60
    assert world.zone().status.condition("ConfigInSync").reason == "ObjectsContested"
    world.step(60)
    await world.run_pass()
    assert world.objects[("Service", "zone")]["spec"]["ports"][0]["port"] == 2633


async def test_refused_step_is_told_and_tried_again():
    world = await grown(3)
    world.refusal = "Not authorized"
    world.declare(replicas=5)
    for _ in range(3):
        with contextlib.suppress(OperatorError):
            await world.run_pass()
    writes = world.writes
    for _ in range(5):
        world.step()
        with pytest.raises(OperatorError):
            await world.run_pass()
    status = world.zone().status
    assert status.condition("Degraded").reason == "StepFailed"
    assert "Not authorized" in status.plan.message
    assert world.writes == writes
    world.refusal = ""
    await settle(world)
    assert world.zone().status.condition("Degraded").status == "False"


async def test_gone_zone_ends():
    world = World()
    outcome = await world.reconciler().run_pass(NAMESPACE, ZONE)
    assert outcome.retry_seconds is None


EVENTS = st.sampled_from(
    [
        "pass",
        "pass",
        "pass",
        "pass",
        "step",
        "kill",
        "lose",
        "down",
        "up",
        "size",
        "meddle",
        "image",
    ]
)


@pytest.mark.timeout(180)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_anything_may_happen_and_it_converges(data):
    """Random sizes, kills, lost volumes (one at a time) and cut-offs; then peace."""

    async def run() -> None:
        world = World(pod_stays=data.draw(st.integers(0, 3)))
        world.declare(replicas=3)
        for number in range(data.draw(st.integers(5, 40))):
            world.cut_before = len(world.requests) + data.draw(st.integers(1, 150))
            match data.draw(EVENTS):
                case "pass":
                    with contextlib.suppress(OperatorError):
                        await world.run_pass()
                case "kill":
                    world.kill_pod(f"{ZONE}-{data.draw(st.integers(0, 4))}")
                case "down":
                    world.down = {f"{ZONE}-{data.draw(st.integers(0, 4))}"}
                case "up":
                    world.down = set()
                case "lose":
                    name = f"{ZONE}-{data.draw(st.integers(0, 4))}"
                    # More lost volumes than the zone can bear is no promise of anybody's.
                    if len(world.voters()) >= 3 and world.has_quorum(without=name):
                        world.lose_volume(name)
                case "size":
                    world.declare(replicas=data.draw(st.sampled_from([1, 3, 5])))
                case "meddle" if ("StatefulSet", ZONE) in world.objects:
                    world.scale_statefulset(data.draw(st.integers(0, 5)))
                case "image":
                    world.declare(image=f"oned:{number}")
            world.step()
        world.down, world.cut_before, world.hook_works = set(), None, True
        await settle(world)

    asyncio.run(run())
