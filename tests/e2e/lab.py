"""kubectl, docker and waiting: how the tests touch the cluster. No knowledge of OneZones here."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import timeouts

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "onezone-system"
OPERATOR_DEPLOYMENT = "deployment/onezone-operator"
POLL_SECONDS = 0.5

T = TypeVar("T")


class CommandFailed(AssertionError):
    """A command that had to succeed did not; the text is its error output."""


def step(text: str) -> None:
    """Narrate: a failed run is read from its log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command: object, stdin: str | None = None, seconds: float = timeouts.CALL) -> str:
    """The output of a command that must succeed within a time."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=stdin, text=True, capture_output=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def kubectl(*words: object, stdin: str | None = None, seconds: float = timeouts.CALL) -> str:
    """The output of kubectl."""
    # A single request may not outlive a fault of the cluster; verbs that wait bring their own time.
    limit = (
        () if {"rollout", "delete", "wait", "drain"} & set(words) else ("--request-timeout=20s",)
    )
    return run("kubectl", *limit, *words, stdin=stdin, seconds=seconds)


def kubectl_json(*words: object) -> Any:
    """An object or a list, parsed."""
    return json.loads(kubectl(*words, "-o", "json"))


def apply(manifest: dict[str, Any], *options: object) -> str:
    """Declare one object."""
    return kubectl("apply", *options, "-f", "-", stdin=json.dumps(manifest))


def refused(manifest: dict[str, Any]) -> str:
    """Declare an object that must not be accepted; returns what the user is told."""
    try:
        accepted = apply(manifest)
    except CommandFailed as error:
        return str(error)
    raise AssertionError(f"accepted: {accepted}")


def wait_until(what: str, question: Callable[[], T], seconds: float) -> T:
    """Ask until the answer is true, and return it. Commands that fail meanwhile count as no.

    An answer may take long, and is of the moment in which it was asked for: the last time is after
    the deadline, however long the time before took.
    """
    deadline = time.monotonic() + seconds
    answer: object = None
    while True:
        is_last = time.monotonic() > deadline
        try:
            if answer := question():
                return answer
        except (CommandFailed, subprocess.TimeoutExpired) as error:
            answer = error
        if is_last:
            raise AssertionError(f"not within {seconds} s: {what} (last answer: {answer})")
        time.sleep(POLL_SECONDS)


def docker(*words: object) -> str:
    """The output of docker, for faults of nodes."""
    return run("docker", *words).strip()


def node_address(node: str) -> str:
    """The address under which a node is reached from this machine."""
    found: str = kubectl(
        "get", "node", node, "-o",
        "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}",
    ).split()[0]  # fmt: skip
    return found


def entry_node() -> str:
    """A control plane's node: it runs no server, and no test takes it away."""
    return kubectl(
        "get", "nodes", "-l", "node-role.kubernetes.io/control-plane", "-o",
        "jsonpath={.items[0].metadata.name}",
    )  # fmt: skip


def is_ready(live: dict[str, Any]) -> bool:
    """What the control plane thinks of a node or a pod."""
    conditions = live["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def bring_node_back(node: str) -> None:
    """Undo a fault of a node, whichever it was, and wait until the control plane sees it Ready."""
    state = json.loads(docker("inspect", node))[0]
    if not state["State"]["Running"]:
        docker("start", node)
    if "kind" not in state["NetworkSettings"]["Networks"]:
        docker("network", "connect", "kind", node)
    wait_until(
        f"{node} is Ready", lambda: is_ready(kubectl_json("get", "node", node)), timeouts.NODE_BACK
    )


def drain(node: str, seconds: int = timeouts.DRAIN) -> None:
    """Ask every pod that can go elsewhere to leave a node, as an administrator does."""
    kubectl(
        "drain", node, "--ignore-daemonsets", "--delete-emptydir-data",
        f"--timeout={seconds}s", seconds=seconds + 10,
    )  # fmt: skip


def process_of_pod(uid: str, node: str, program: str = "oned serve") -> str:
    """The number of a pod's program on its node."""
    pattern = f"{uid}|{uid.replace('-', '_')}"
    script = (
        f"for cgroup in $(grep -lE '{pattern}' /proc/[0-9]*/cgroup 2>/dev/null); do"
        " process=${cgroup%/cgroup}; process=${process#/proc/};"
        f" if tr '\\0' ' ' < /proc/$process/cmdline | grep -q '{program}';"
        " then echo $process; fi; done"
    )
    found = docker("exec", node, "sh", "-c", script).split()
    assert found, f"no {program} of the pod {uid} found on {node}"
    return found[0]


def kill_process_of_pod(namespace: str, pod: str) -> float:
    """SIGKILL to the oned of one pod, from its node: nothing in the pod gets to say goodbye.

    Returns the moment by the node's clock.
    """
    found = kubectl_json("-n", namespace, "get", "pod", pod)
    node = found["spec"]["nodeName"]
    process = process_of_pod(found["metadata"]["uid"], node)
    return float(docker("exec", node, "sh", "-c", f"kill -9 {process} && date +%s.%N"))


def _operator_pods() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kubectl_json(
        "-n", OPERATOR_NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=onezone-operator"
    )["items"]
    return found


def operator_pods() -> list[tuple[str, str, str]]:
    """Uid, node and name of every pod of the operator."""
    return [
        (each["metadata"]["uid"], each["spec"].get("nodeName", ""), each["metadata"]["name"])
        for each in _operator_pods()
    ]


def kill_operator(uid: str, node: str, name: str) -> None:
    """SIGKILL to the operator of a pod; a new pod takes its place, which starts at once."""
    docker("exec", node, "kill", "-9", process_of_pod(uid, node, "onezone-operator"))
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", name, "--force", "--grace-period=0")


def scale_operator(replicas: int) -> None:
    """Stop the operator, or start it, and wait until that is so."""
    kubectl("-n", OPERATOR_NAMESPACE, "scale", OPERATOR_DEPLOYMENT, f"--replicas={replicas}")
    if replicas == 0:
        wait_until("the operator is gone", lambda: not operator_pods(), timeouts.OPERATOR_READY)
    else:
        kubectl(
            "-n", OPERATOR_NAMESPACE, "rollout", "status", OPERATOR_DEPLOYMENT,
            f"--timeout={timeouts.OPERATOR_READY}s", seconds=timeouts.OPERATOR_READY + 10,
        )  # fmt: skip

        # The Deployment's status may still count a pod that was killed a moment ago.
        wait_until(
            "the operator's pods are ready",
            lambda: sum(map(is_ready, _operator_pods())) == replicas,
            timeouts.OPERATOR_READY,
        )


def make_namespace() -> str:
    """A namespace with a name of its own, that holds its pods to the restricted standard."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "onezone.dev/e2e": "true"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return name
