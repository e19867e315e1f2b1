"""Following a OneZone from the outside: waiting until it is Ready, and telling how to reach its
leader.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import commands

READY_SECONDS = 600
"""A zone of three servers needs about one minute; a slow machine that pulls images, several."""
POLL_SECONDS = 1.0


def apply(example: Path) -> None:
    """Declare the zone."""
    commands.say(f"kubectl apply -f {example.relative_to(commands.ROOT)}")
    commands.run("kubectl", "apply", "-f", example, quiet=True)


def observe(name: str) -> dict[str, Any]:
    """The OneZone as the API server has it now."""
    zone: dict[str, Any] = json.loads(
        commands.output("kubectl", "get", "onezone", name, "-o", "json")
    )
    return zone


def condition(zone: dict[str, Any], kind: str) -> dict[str, Any]:
    """One of the zone's conditions, empty before it was first written."""
    found: list[dict[str, Any]] = zone.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def is_ready(zone: dict[str, Any]) -> bool:
    """Whether the newest spec is what runs."""
    status = zone.get("status", {})
    current = status.get("observedGeneration") == zone["metadata"]["generation"]
    complete = len(status.get("servers", [])) == zone["spec"]["replicas"]
    return bool(current and complete and condition(zone, "Ready").get("status") == "True")


def summary(zone: dict[str, Any]) -> str:
    """What is there and what is awaited, in one line."""
    status = zone.get("status", {})
    servers = " ".join(
        f"{server['name']}={server.get('role', '?')}{'' if server.get('voter') else ' (learner)'}"
        for server in status.get("servers", [])
    )
    message = (
        status.get("plan", {}).get("message")
        or condition(zone, "Ready").get("message")
        or "not looked at yet"
    )
    return f"{status.get('readyServers') or '0/0'} ready [{servers}] {message}"


def wait_until_ready(name: str) -> None:
    """Print each change of the zone until it is Ready."""
    started = time.monotonic()
    last = ""
    while True:
        zone = observe(name)
        if (line := summary(zone)) != last:
            commands.say(f"{time.monotonic() - started:5.0f} s  {line}")
            last = line
        if is_ready(zone):
            return
        if time.monotonic() - started > READY_SECONDS:
            commands.fail(
                f"the zone {name} was not Ready in {READY_SECONDS} s",
                next_command=f"kubectl describe onezone {name}",
            )
        time.sleep(POLL_SECONDS)


def how_to_reach(name: str, exports: str) -> str:
    """The lines that lead a person to the leader."""
    service = json.loads(commands.output("kubectl", "get", "service", name, "-o", "json"))
    port = service["spec"]["ports"][0].get("nodePort")
    address = commands.output(
        "kubectl",
        "get",
        "nodes",
        "-o",
        "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}",
    )
    direct = (
        f"http://{address}:{port}/RPC2"
        if port
        else f"http://{name}.default.svc:2633/RPC2 (inside of the cluster)"
    )
    return f"""
The zone is Ready. Its leader, through the leader Service: {direct}

  {exports}
  kubectl get onezone {name}

  export ONE_XMLRPC={direct.split(maxsplit=1)[0]} ONE_AUTH=$PWD/.one_auth
  kubectl get secret {name}-auth -o jsonpath='{{.data.one_auth}}' | base64 -d > .one_auth
  .venv/bin/onezone list

The servers, as they see each other:    kubectl exec {name}-0 -- onezone show 0
Where that address cannot be reached:   kubectl port-forward service/{name} 2633
                                        export ONE_XMLRPC=http://localhost:2633/RPC2

Kill the leader and look again:         kubectl delete pod --force --grace-period=0 \\
                                    $(kubectl get onezone {name} -o jsonpath='{{.status.leader}}')
All of it goes away with:               make down"""
