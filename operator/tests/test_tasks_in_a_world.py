"""OneZoneTasks from the first pass to the last; those that are killed: ``test_interruption``."""

from __future__ import annotations

import json

from operator_world import ZONE, World
from test_model_world import grown, settle

from onezone_operator import naming


async def _until(world: World, holds, passes: int = 80) -> None:
    for _ in range(passes):
        if holds():
            return
        await world.run_pass()
        world.step()
    raise AssertionError(world.zone().status.plan)


async def test_a_recovery_waits_for_its_confirmation_and_keeps_the_volumes():
    world = await grown(3)
    world.declare(storage={"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}})
    await settle(world)
    world.lose_volume("zone-0")
    world.lose_volume("zone-2")
    world.ask("rescue", type="RecoverQuorum")
    for _ in range(10):
        await world.run_pass()
        world.step()
    assert world.foundings == []
    assert "zone-1 begins the zone anew" in world.task("rescue").status.preview[0]
    acknowledged = world.disks["zone-1"].commit
    world.confirm("rescue")
    await settle(world)
    assert world.foundings == ["zone-1"]
    assert world.disks["zone-1"].commit >= acknowledged
    assert world.task("rescue").status.outcome.status == "True"
    policy = world.objects[("StatefulSet", ZONE)]["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy["whenScaled"] == "Delete"
    named = json.loads(world.objects[("ConfigMap", "zone-config")]["data"]["founding"])
    assert named["server"] == ""


async def test_a_server_that_loses_its_volume_after_a_restore_joins_and_founds_nothing():
    world = await grown(3)
    world.ask("back", type="Restore", location="s3://b/zone.bck", confirm=True)
    await settle(world)
    assert world.foundings == ["zone-0"]
    world.lose_volume("zone-0")
    await settle(world)
    assert world.foundings == ["zone-0"]


async def test_a_task_that_is_deleted_half_way_leaves_nobody_named():
    world = await grown(3)
    world.ask("back", type="Restore", location="s3://b/zone.bck", confirm=True)
    await _until(world, lambda: bool(world.foundings))
    del world.objects[(naming.TASK_KIND, "back")]
    await settle(world)
    assert world.foundings == ["zone-0"]
    named = json.loads(world.objects[("ConfigMap", "zone-config")]["data"]["founding"])
    assert named["server"] == ""


async def test_tasks_of_a_zone_come_one_after_another():
    world = await grown(3)
    world.ask("a", type="ReplaceServer", server="zone-1")
    world.step()
    world.ask("b", type="ReplaceServer", server="zone-0")
    world.step()
    world.ask("c", type="HandOver", server="zone-0", ttlSecondsAfterFinished=3)
    running = set()
    for _ in range(120):
        await world.run_pass()
        world.step()
        begun = {t.name for t in world.tasks() if t.is_started and not t.is_finished}
        running.add(frozenset(begun))
        if world.is_as_desired() and len(world.tasks()) == 2:
            break
    assert all(len(each) <= 1 for each in running)
    assert {t.name: t.status.outcome.status for t in world.tasks()} == {"a": "True", "b": "True"}
    assert world.replaced == {"zone-0", "zone-1"}
    assert world.leader == "zone-0"


async def test_a_refused_hand_over_says_why_until_it_is_given_up():
    world = await grown(3)
    world.refusal = "Server 2 (zone-2) is too far behind"
    world.ask("task", type="HandOver", server="zone-2")
    for _ in range(20):
        try:
            await world.run_pass()
        except Exception as error:  # noqa: BLE001 - the pass fails, which is told in the task
            assert "too far behind" in str(error)  # noqa: PT017 - not in every pass
        world.step(10)
    status = world.task("task").status
    assert status.outcome.status == "False"
    assert "zone-0 still leads" in status.message
    assert "too far behind" in status.message
