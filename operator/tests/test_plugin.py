"""``kubectl onezone`` against a real HTTP server that answers like the Kubernetes API."""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import stat
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from kube_server import KubeServer
from test_model_world import grown

from onezone_operator import naming
from onezone_operator.plugin import main as plugin

KEPT = ("onezone.yaml", "summary.txt", "pods.yaml", "services.yaml", "endpointslices.yaml")


@pytest.fixture
async def server(tmp_path, unused_tcp_port_factory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = KubeServer(await grown(3))
    kubeconfig = await server.start(unused_tcp_port_factory(), tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    server.kubeconfig = kubeconfig
    yield server
    await server.stop()


@pytest.fixture
def run(server):
    """Run the command as a user would: in a thread, since it has an event loop of its own."""

    async def invoke(*arguments, kubeconfig=True, **options):
        arguments = [*arguments]
        if kubeconfig:
            arguments += ["--kubeconfig", str(server.kubeconfig)]
        return await asyncio.to_thread(CliRunner().invoke, plugin.main, arguments, **options)

    return invoke


async def test_status_of_a_healthy_zone(run, server):
    answer = await run("status", "zone")
    assert answer.exit_code == 0, answer.output
    assert "Health:   Healthy: 3 of 3 voters follow the leader" in answer.output
    assert f"Leader:   zone-0, term {server.world.term}" in answer.output
    assert "Next:     3 of 3 servers, all healthy" in answer.output
    (leader,) = [line.split() for line in answer.output.splitlines() if line.startswith("zone-0")]
    assert leader[:8] == ["zone-0", "leader", "yes", "1", "0", "ok", "yes", "node"]
    assert server.written == []


async def test_status_with_a_server_away_tells_why_and_what_is_awaited(run, server):
    server.world.down.add("zone-2")
    server.world.step()
    answer = await run("status", "zone", "-o", "json")
    assert answer.exit_code == 1, answer.output
    data = json.loads(answer.output)
    assert (data["health"], data["leader"], data["plannedBy"]) == ("Partial", "zone-0", "plugin")
    assert (data["step"], data["waitingFor"]) == ("Wait", "ServerNotReady")
    away = data["servers"][2]
    assert (away["name"], away["role"], away["ready"]) == ("zone-2", "unreachable", False)
    assert "connection refused" in away["note"]


async def test_status_without_a_quorum_forces_nothing(run, server):
    server.world.down |= {"zone-1", "zone-2"}
    server.world.step()
    answer = await run("status", "zone")
    assert answer.exit_code == 1
    assert "NoQuorum: 1 of 3 voters answer, 2 are needed" in answer.output
    assert server.written == []


async def test_status_of_all_zones(run, server):
    for arguments in (("-A",), ("-n", "front"), ()):
        answer = await run("status", *arguments, "-o", "yaml")
        assert answer.exit_code == 0, answer.output
        (item,) = yaml.safe_load(answer.output)["items"]
        assert (item["namespace"], item["name"], item["readyServers"]) == ("front", "zone", "3/3")
    table = (await run("status", "-A")).output.splitlines()
    assert table[0].split()[:3] == ["NAMESPACE", "NAME", "HEALTH"]
    assert table[1].split()[:4] == ["front", "zone", "Healthy", "3/3"]


@pytest.mark.parametrize("kind", ["Secret", "Role", "StatefulSet", "PersistentVolumeClaim"])
async def test_who_may_not_read_everything_is_shown_the_operators_plan(run, server, kind):
    server.forbidden.add(kind)
    answer = await run("status", "zone")
    assert answer.exit_code == 0, answer.output
    assert "(as the operator last said)" in answer.output
    refused = await run("explain", "-f", "-", input=wanted(replicas=5))
    assert refused.exit_code == 3
    assert f"may not read: {kind}" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("status", "other"), 3, "there is no OneZone other in namespace front"),
        (("report", "other"), 3, "try:   kubectl onezone status -A"),
        (("logs", "zone", "--server", "7"), 3, "it has: zone-0, zone-1, zone-2"),
        (("status", "zone", "-A"), 2, "not both"),
        (("status", "zone", "--context", "nowhere"), 3, "kubectl config get-contexts"),
    ],
)
async def test_errors_tell_what_to_type_next(run, arguments, code, text):
    answer = await run(*arguments)
    assert answer.exit_code == code, answer.output
    assert text in answer.stderr


async def test_a_cluster_that_is_not_there(run, tmp_path, unused_tcp_port_factory):
    elsewhere = tmp_path / "elsewhere"
    text = (tmp_path / "kubeconfig").read_text()
    content = json.loads(text)
    content["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{unused_tcp_port_factory()}"
    elsewhere.write_text(json.dumps(content))
    answer = await run("status", "--kubeconfig", str(elsewhere), kubeconfig=False)
    assert answer.exit_code == 3
    assert "try:   kubectl cluster-info" in answer.stderr


def wanted(name="zone", **spec):
    metadata = {"name": name, "namespace": "front"}
    return yaml.safe_dump(
        {"apiVersion": naming.API_VERSION, "kind": "OneZone", "metadata": metadata, "spec": spec}
    )


async def test_explain_tells_the_steps_and_writes_nothing(run, server):
    answer = await run("explain", "-f", "-", input=wanted(replicas=5))
    assert answer.exit_code == 0, answer.output
    assert "Adding server zone-3 to the zone" in answer.output
    assert "Changing the number of pods from 4 to 5" in answer.output
    assert answer.output.rstrip().endswith("Then: AsDesired: 5 of 5 servers, all healthy")
    (dry_run,) = server.written
    assert dry_run.startswith("PUT /apis/onezone.dev/v1alpha1/namespaces/front/onezones/zone?")
    assert len(server.world.members) == 3


async def test_explain_of_what_is_there_already(run, server):
    answer = await run("explain", "-f", "-", "-o", "json", input=wanted(replicas=3))
    (step,) = json.loads(answer.output)["steps"]
    assert step["step"] == "Nothing"


async def test_explain_of_what_the_api_server_refuses(run, server):
    answer = await run("explain", "-f", "-", input=wanted(replicas=2))
    assert answer.exit_code == 3
    assert "replicas must be odd" in answer.stderr
    assert "kubectl explain onezone.spec" in answer.stderr
    mistaken = await run("explain", "-f", "-", input="kind: Pod")
    assert mistaken.exit_code == 2


async def test_logs_of_one_and_of_all(run, server):
    server.logs = {"zone-0": b"one\ntwo\n", "zone-1": b"three\n", "zone-2": b"half a line"}
    one = await run("logs", "zone", "--server", "0", "--tail", "1")
    assert (one.exit_code, one.stdout) == (0, "two\n")
    every = await run("logs", "zone", "-f")
    assert set(every.stdout.splitlines()) == {
        "[zone-0] one",
        "[zone-0] two",
        "[zone-1] three",
        "[zone-2] half a line",
    }


async def test_report_holds_everything_but_secrets(run, server, tmp_path):
    secret = server.world.objects[("Secret", "zone-auth")]["data"]["one_auth"]
    session = plugin.report.base64.b64decode(secret).decode()
    password = session.partition(":")[2]
    server.logs = {"zone-0": f"logged in with {password}\n".encode(), "zone-1": b"quiet\n"}
    server.world.objects[("Pod", "zone-1")]["metadata"]["annotations"] = {"note": secret}
    answer = await run("report", "zone", "-o", "out.zip")
    assert answer.exit_code == 0, answer.output
    assert "3 Secrets" in answer.stderr
    assert "none is left" in answer.stderr
    path = tmp_path / "out.zip"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(KEPT) <= set(files)
    assert json.loads(files["status/zone-0.json"])["state"] == "leader"
    assert b"logged in with [***]" in files["logs/zone-0.log"]
    for (kind, _), live in server.world.objects.items():
        if kind != "Secret":
            continue
        for key, value in live["data"].items():
            if key.endswith(".crt"):
                continue
            plain = plugin.report.base64.b64decode(value).strip()
            assert not [name for name, text in files.items() if plain in text]
            assert not [name for name, text in files.items() if value.encode() in text]
    again = await run("report", "zone", "-o", "out.zip")
    assert again.exit_code == 1
    assert "File exists" in again.stderr


async def test_report_says_when_it_could_not_look_for_secrets(run, server, tmp_path):
    server.forbidden.add("Secret")
    server.world.down.add("zone-2")
    answer = await run("report", "zone", "-o", "out.zip")
    assert answer.exit_code == 0, answer.output
    assert "were not looked for" in answer.stderr
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert b"status of zone-2" in archive.read("missing.txt")


@pytest.fixture
def interruptible():
    """A shell that runs the tests in the background has them ignore interrupts, and so a child."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.integration
@pytest.mark.usefixtures("interruptible")
async def test_live_view_outlives_an_outage_and_ends_on_interrupt(server):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "onezone_operator.plugin.main",
        "status",
        "zone",
        "-w",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await shown(process.stdout, "Healthy")
    server.forbidden.add("Pod")
    await shown(process.stderr, "trying again")
    server.forbidden.clear()
    server.world.down.add("zone-1")
    await shown(process.stdout, "Partial")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 10) == 130


async def shown(stream, text):
    async with asyncio.timeout(20):
        while text not in (line := (await stream.readline()).decode()):
            assert line, f"the output ended before {text}"


def test_tab_completes_commands_and_options(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kubectl_complete-onezone", "st"])
    plugin.complete()
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("status\t")
    assert out[-1] == ":4"
    monkeypatch.setattr("sys.argv", ["kubectl_complete-onezone", "logs", "zone", "--fo"])
    plugin.complete()
    assert capsys.readouterr().out.startswith("--follow")


def test_installed_programs_are_these():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    scripts = tomllib.loads(text)["project"]["scripts"]
    for name, function in (("kubectl-onezone", "main"), ("kubectl_complete-onezone", "complete")):
        module, _, attribute = scripts[name].partition(":")
        assert importlib.import_module(module) is plugin
        assert attribute == function
        assert callable(getattr(plugin, attribute))
