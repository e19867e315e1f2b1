"""Volumes that grow, from the first pass to the last."""

from __future__ import annotations

from operator_cluster import ZONE
from operator_operations import DELETED
from operator_world import World

from onezone_operator.handlers.memory import ASK_AGAIN

PASSES_MAX = 120


async def settled(replicas=3, **changes):
    world = World(**changes)
    world.declare(replicas=replicas, **DELETED)
    await settle(world)
    world.note_pods()
    return world


async def settle(world):
    for _ in range(PASSES_MAX):
        await world.run_pass()
        world.step()
        if world.is_as_desired():
            return
    status = world.zone().status
    raise AssertionError(f"not settled: {status.plan} {status.conditions}")


def enlarge(world, size="20Gi", **spec):
    world.declare(storage={**DELETED["storage"], "size": size}, **spec)


def uids(world, servers=3):
    return {
        f"{ZONE}-{each}": world.objects[("Pod", f"{ZONE}-{each}")]["metadata"]["uid"]
        for each in range(servers)
    }


def sizes(world):
    return {
        name: live["status"]["capacity"]["storage"]
        for (kind, name), live in world.objects.items()
        if kind == "PersistentVolumeClaim"
    }


async def test_expansion_replaces_no_pod_and_later_servers_have_the_new_size():
    world = await settled(growth_takes=5)
    before = uids(world)
    made = world.objects[("StatefulSet", ZONE)]["metadata"]["uid"]
    enlarge(world)
    await settle(world)
    assert set(sizes(world).values()) == {"20Gi"}
    assert uids(world) == before
    assert world.objects[("StatefulSet", ZONE)]["metadata"]["uid"] != made
    history = [each.step for each in world.zone().status.history]
    assert history.count("ExpandVolume") == 3
    assert history.count("RecreateStatefulSet") == 1
    world.declare(replicas=5)
    await settle(world)
    assert sizes(world)["data-zone-4"] == "20Gi"
    assert uids(world) == before


async def test_refused_expansion_rests_without_a_write_and_is_taken_back():
    world = await settled(expandable=False)
    before = uids(world)
    enlarge(world)
    for _ in range(30):
        await world.run_pass()
        world.step()
    told = world.zone().status.condition("VolumesInSync")
    assert (told.status, told.reason) == ("False", "ExpansionRefused")
    assert "only dynamically provisioned pvc can be resized" in told.message
    writes, calls = world.writes, world.calls
    for _ in range(30):
        world.step(2)
        await world.run_pass()
    assert (world.writes, world.calls) == (writes, calls)
    enlarge(world, "10Gi")
    await settle(world)
    assert world.zone().status.condition("VolumesInSync").status == "True"
    assert uids(world) == before
    assert set(sizes(world).values()) == {"10Gi"}


async def test_storage_class_that_allows_it_meanwhile_is_found_out():
    world = await settled(expandable=False)
    enlarge(world)
    for _ in range(30):
        await world.run_pass()
        world.step()
    world.expandable = True
    world.step(int(ASK_AGAIN.total_seconds()))
    await settle(world)
    assert set(sizes(world).values()) == {"20Gi"}


async def test_smaller_size_writes_nothing_but_the_status():
    world = await settled()
    before = uids(world)
    enlarge(world, "5Gi")
    for _ in range(5):
        await world.run_pass()
        world.step()
    assert world.zone().status.condition("VolumesInSync").reason == "ShrinkRefused"
    writes, calls = world.writes, world.calls
    for _ in range(30):
        world.step(2)
        await world.run_pass()
    assert (world.writes, world.calls) == (writes, calls)
    enlarge(world, "10Gi")
    await settle(world)
    assert uids(world) == before


async def test_state_of_a_claim_is_read_from_its_status():
    world = await settled(growth_takes=1000)
    enlarge(world)
    for _ in range(10):
        await world.run_pass()
        world.step()
    growing = [name for name, live in claims(world) if live["status"].get("conditions")]
    assert growing == ["data-zone-1"]
    plan_of = world.zone().status.plan
    assert plan_of.waiting_for == "VolumeGrowing"
    claim = dict(claims(world))["data-zone-1"]
    claim["status"]["conditions"] = [
        {"type": "ControllerResizeError", "status": "True", "message": "pool is full"}
    ]
    claim["status"]["allocatedResourceStatuses"] = {"storage": "ControllerResizeInfeasible"}
    await world.run_pass()
    told = world.zone().status.condition("VolumesInSync")
    assert "ControllerResizeError, ControllerResizeInfeasible: pool is full" in told.message


def claims(world):
    return [
        (name, live)
        for (kind, name), live in sorted(world.objects.items())
        if kind == "PersistentVolumeClaim"
    ]
