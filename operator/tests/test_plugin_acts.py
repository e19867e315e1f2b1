"""``kubectl onezone promote``, ``replace``, ``recover``, ``restore``: asked for and carried out.

The operator's own passes run beside the command, over the same world.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import pytest
import structlog
import yaml
from click.testing import CliRunner
from kube_server import KubeServer
from operator_operations import DELETED
from test_model_world import grown, settle

from onezone_operator import naming
from onezone_operator.errors import OperatorError
from onezone_operator.plugin import follow
from onezone_operator.plugin import main as plugin

LOCATION = "s3://backups/zone.bck"
STORAGE = {"storage": {"volume": {"claimName": "backups"}}}


@pytest.fixture(autouse=True)
def quiet():
    """The operator's log would stand among what the command prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def server(tmp_path, unused_tcp_port_factory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = KubeServer(await grown(3))
    server.kubeconfig = await server.start(unused_tcp_port_factory(), tmp_path)
    server.writable = {naming.TASK_KIND}
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.02)
    yield server
    await server.stop()


@pytest.fixture
def run(server):
    """Run the command in a thread, with the operator at work until it ends."""

    async def operator():
        while True:
            with contextlib.suppress(OperatorError):
                await server.world.run_pass()
            server.world.step()
            await asyncio.sleep(0.01)

    async def invoke(*arguments, works=True):
        task = asyncio.create_task(operator()) if works else None
        try:
            return await asyncio.to_thread(
                CliRunner().invoke,
                plugin.main,
                [*arguments, "--kubeconfig", str(server.kubeconfig)],
            )
        finally:
            if task is not None:
                task.cancel()

    return invoke


def tasks(server):
    return {task.name: task for task in server.world.tasks()}


async def test_promote_hands_over_and_says_who_leads(run, server):
    answer = await run("promote", "zone", "2")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == "zone-2 leads\n"
    assert answer.stderr.startswith("onezonetask zone-handover-")
    assert server.world.leader == "zone-2"
    (task,) = tasks(server).values()
    assert (task.spec.server, task.spec.zone_ref.name) == ("zone-2", "zone")


async def test_promote_without_a_server_lets_the_best_lead(run, server):
    answer = await run("promote", "zone", "-o", "json")
    assert answer.exit_code == 0, answer.output
    data = json.loads(answer.stdout)
    assert (data["kind"], data["spec"]["type"]) == ("OneZoneTask", "HandOver")
    assert data["status"]["conditions"][0]["status"] == "True"
    assert server.world.leader != "zone-0"


async def test_promote_works_without_an_operator(run, server):
    server.writable = set()
    answer = await run("promote", "zone", "zone-1", "--direct", works=False)
    assert (answer.exit_code, answer.stdout) == (0, "zone-1 leads\n")
    assert server.world.leader == "zone-1"
    assert server.written == []


async def test_promote_works_where_the_zone_speaks_https(run, server):
    server.world.declare(tls={"enabled": True})
    answer = await run("promote", "zone", "zone-1", "--direct", works=False)
    assert (answer.exit_code, answer.stdout) == (0, "zone-1 leads\n")


async def test_direct_needs_the_credentials_and_a_member(run, server):
    answer = await run("promote", "zone", "zone-7", "--direct", works=False)
    assert answer.exit_code == 1
    assert "zone-7 is no member of the zone; it has: zone-0, zone-1, zone-2" in answer.stderr
    assert "try:   kubectl onezone status zone" in answer.stderr
    server.world.refusal = "Server 1 (zone-1) is too far behind"
    answer = await run("promote", "zone", "zone-1", "--direct", works=False)
    assert answer.exit_code == 1
    assert "too far behind" in answer.stderr
    server.forbidden = {"Secret"}
    answer = await run("promote", "zone", "zone-1", "--direct", works=False)
    assert answer.exit_code == 1
    assert "Secret zone-auth cannot be read" in answer.stderr
    assert server.world.session not in answer.output


async def test_a_task_that_fails_is_told_with_the_next_command(run, server):
    answer = await run("promote", "zone", "zone-9")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "error: zone-9 is no member of the zone" in answer.stderr
    assert "try:   kubectl onezone status zone -n front" in answer.stderr


async def test_replace_tells_its_steps(run, server):
    answer = await run("replace", "zone", "1")
    assert answer.exit_code == 0, answer.output
    assert "zone-1 is a voter with an empty past" in answer.stdout
    assert "Waiting until zone-1 has caught up and votes" in answer.stderr
    assert server.world.replaced == {"zone-1"}


async def test_replace_does_not_wait_when_told_so(run, server):
    answer = await run("replace", "zone", "1", "--no-wait", "-o", "yaml", works=False)
    assert answer.exit_code == 0
    assert yaml.safe_load(answer.stdout)["spec"]["server"] == "zone-1"
    assert server.world.replaced == set()


async def test_without_an_operator_the_wait_ends_in_time(run, server, monkeypatch):
    monkeypatch.setattr(follow, "UNSEEN_SECONDS", 0.2)
    answer = await run("replace", "zone", "1", "--timeout", "1", works=False)
    assert answer.exit_code == 4
    assert "does it run?" in answer.stderr
    assert "not over in time, and goes on" in answer.stderr
    assert "get onezonetask zone-replaceserver-" in answer.stderr


async def test_recover_shows_first_and_recovers_when_confirmed(run, server):
    world = server.world
    world.declare(**DELETED)
    await settle(world)
    world.lose_volume("zone-0")
    world.lose_volume("zone-2")
    world.step()
    answer = await run("recover", "zone")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.startswith("1. All servers are stopped, and zone-1 begins the zone anew")
    assert "type the same with --confirm" in answer.stderr
    assert world.foundings == []
    answer = await run("recover", "zone", "--confirm")
    assert answer.exit_code == 0, answer.output
    assert "The zone went on with zone-1; all servers are back" in answer.stdout
    assert world.foundings == ["zone-1"]
    assert len(tasks(server)) == 1


async def test_recover_of_a_healthy_zone_does_nothing(run, server):
    answer = await run("recover", "zone", "--confirm")
    assert answer.exit_code == 1
    assert "The zone is Healthy. A quorum is recovered only while it is certain" in answer.stderr
    assert server.world.foundings == []


async def test_restore_in_place(run, server):
    answer = await run("restore", "zone", "--location", LOCATION)
    assert answer.exit_code == 0, answer.output
    assert f"from {LOCATION}" in answer.stdout
    assert server.world.foundings == []
    answer = await run("restore", "zone", "--location", LOCATION, "--confirm")
    assert answer.exit_code == 0, answer.output
    assert server.world.foundings == ["zone-0"]


async def test_restore_prints_a_new_zone(run, server):
    answer = await run("restore", "zone", "--backup", "nightly", "--as", "copy", works=False)
    assert answer.exit_code == 0, answer.output
    printed = yaml.safe_load(answer.stdout)
    assert (printed["kind"], printed["metadata"]["name"]) == ("OneZone", "copy")
    assert printed["spec"]["bootstrap"] == {"restore": {"backupRef": {"name": "nightly"}}}
    assert printed["spec"]["replicas"] == 3
    assert server.written == []


async def test_restore_from_a_location_needs_to_know_its_storage(run, server):
    words = ("restore", "zone", "--location", LOCATION, "--as", "copy")
    answer = await run(*words, works=False)
    assert answer.exit_code == 3
    assert "name a OneZoneBackup with --backup" in answer.stderr
    server.world.declare(backup=STORAGE)
    answer = await run(*words, works=False)
    restore = yaml.safe_load(answer.stdout)["spec"]["bootstrap"]["restore"]
    assert restore == {"location": LOCATION, **STORAGE}


@pytest.mark.parametrize("words", [[], ["--backup", "a", "--location", LOCATION]])
async def test_restore_needs_one_source(run, words):
    answer = await run("restore", "zone", *words, works=False)
    assert answer.exit_code == 2
    assert "give --backup or --location" in answer.stderr


async def test_a_zone_that_is_none_is_told(run, server):
    answer = await run("replace", "nope", "1", works=False)
    assert answer.exit_code == 3
    assert "there is no OneZone nope in namespace front" in answer.stderr
    assert server.written == []


async def test_who_may_not_write_tasks_is_told(run, server):
    server.forbidden = {naming.TASK_KIND}
    answer = await run("replace", "zone", "1", works=False)
    assert answer.exit_code == 3
    assert "onezonetasks is forbidden" in answer.stderr
    assert "try:   kubectl auth can-i --list" in answer.stderr


async def test_fence_and_unfence_change_the_spec_and_nothing_else(run, server):
    server.writable = {naming.KIND}
    before = dict(server.world.objects[(naming.KIND, "zone")]["spec"])
    for words, text, fenced in (
        (("fence", "zone", "2"), "zone-2 is fenced\n", ["zone-2"]),
        (("fence", "zone", "zone-1"), "zone-1 is fenced\n", ["zone-1", "zone-2"]),
        (("fence", "zone", "1"), "zone-1 is fenced already\n", ["zone-1", "zone-2"]),
        (("unfence", "zone", "2"), "zone-2 is fenced no longer\n", ["zone-1"]),
        (("unfence", "zone", "2"), "zone-2 is not fenced already\n", ["zone-1"]),
    ):
        answer = await run(*words, works=False)
        assert (answer.exit_code, answer.stdout) == (0, text), answer.output
        spec = server.world.objects[(naming.KIND, "zone")]["spec"]
        assert spec == {**before, "fencedServers": fenced}
    answer = await run("fence", "zone", "7", works=False)
    assert answer.exit_code == 3
    assert "zone zone has no server zone-7; it has: zone-0, zone-1, zone-2" in answer.stderr


async def _take(server, outcome):
    """What the operator does with a backup: it is taken, or not."""
    while True:
        for (kind, _), live in server.world.objects.items():
            if kind == naming.BACKUP_KIND and "status" not in live:
                live["status"] = {
                    "message": "Stored" if outcome == "True" else "the bucket is gone",
                    "conditions": [
                        {
                            "type": "Succeeded",
                            "status": outcome,
                            "reason": "Done",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                        }
                    ],
                }
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("outcome", "code"), [("True", 0), ("False", 1)])
async def test_backup_asks_for_one_and_tells_what_becomes_of_it(run, server, outcome, code):
    server.world.declare(backup=STORAGE)
    server.writable = {naming.BACKUP_KIND}
    taking = asyncio.create_task(_take(server, outcome))
    answer = await run("backup", "zone", "--no-verify", works=False)
    taking.cancel()
    assert answer.exit_code == code, answer.output
    assert ("Stored\n" if code == 0 else "") == answer.stdout
    assert ("error: the bucket is gone" in answer.stderr) == (code == 1)
    (made,) = [live for (kind, _), live in server.world.objects.items() if "Backup" in kind]
    assert made["spec"] == {"zoneRef": {"name": "zone"}, "verify": False}


async def test_backup_needs_a_place_to_store_it(run, server):
    answer = await run("backup", "zone", works=False)
    assert answer.exit_code == 3
    assert "zone zone has no spec.backup.storage" in answer.stderr
    assert server.written == []


async def completed(server, monkeypatch, capsys, *words):
    """What Tab offers after these words; the last one is typed in part."""
    command, *rest = words
    login = ["--kubeconfig", str(server.kubeconfig)]
    monkeypatch.setattr("sys.argv", ["kubectl_complete-onezone", command, *login, *rest])
    await asyncio.to_thread(plugin.complete)
    *offered, last = capsys.readouterr().out.splitlines()
    assert last == ":4"
    return offered


async def test_tab_completes_zones_and_servers(server, monkeypatch, capsys):
    assert await completed(server, monkeypatch, capsys, "replace", "z") == ["zone\tHealthy"]
    assert await completed(server, monkeypatch, capsys, "replace", "zone", "zone-") == [
        "zone-0\tleader",
        "zone-1\tfollower",
        "zone-2\tfollower",
    ]
    assert await completed(server, monkeypatch, capsys, "promote", "nope", "") == []
    await server.stop()
    assert await completed(server, monkeypatch, capsys, "replace", "") == []
    server.kubeconfig = await server.start(0, server.kubeconfig.parent)
