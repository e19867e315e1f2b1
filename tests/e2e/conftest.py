"""The cluster, the zones and the evidence of the e2e tests.

One file a promise. A test gets either ``zone``, three servers that tests share and must leave
Ready, or ``namespace``, a new namespace of its own. What a failed test leaves behind is written to
``tests/e2e/logs/<test>/``.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import clusters  # noqa: E402 - the tools and the helpers beside this file are no packages
import floating  # noqa: E402
import lab  # noqa: E402
import onezones  # noqa: E402
import timeouts  # noqa: E402
from writer import Writer  # noqa: E402

LOGS = HERE / "logs"
KILLS = 3
SOAK_STEPS = 3
SOAK_SEED = 1
LOG_LINES = 3000
DEFAULT_LIMIT = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    """Longer runs than those of CI."""
    parser.addoption("--kills", type=int, default=KILLS, help="of the leader, to measure failover")
    parser.addoption("--soak-steps", type=int, default=SOAK_STEPS, help="of test_soak.py")
    parser.addoption("--soak-seed", type=int, default=SOAK_SEED, help="decides the steps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster; a test's limit does not count the making of that."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(timeouts.limit(DEFAULT_LIMIT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let fixtures see whether their test failed."""
    report = yield
    if report.when in ("setup", "call") and report.failed:
        item.stash[FAILED] = True
    return report


FAILED = pytest.StashKey[bool]()


# --- cluster -----------------------------------------------------------------


def _give_up(reason: str) -> None:
    """No cluster: loud where a person reads, a failure where a machine decides."""
    print(f"\n{'!' * 78}\n!!! e2e: no cluster, nothing of it was tested: {reason}\n{'!' * 78}")
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.exit(f"CI=true and no cluster could be had: {reason}", returncode=1)
    pytest.skip(f"no cluster: {reason}")


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """One run at a time on this machine: the tests break nodes and stop the operator."""
    clusters.LOCK.parent.mkdir(parents=True, exist_ok=True)
    with clusters.LOCK.with_name("e2e.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lab.step("waiting for another run of these tests to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cluster(alone: None) -> clusters.Cluster:
    """A cluster that runs the operator of these sources."""
    lab.step("preparing the cluster, the images and the operator")
    try:
        subprocess.run(
            [sys.executable, ROOT / "tools" / "cluster", "prepare"],
            check=True, timeout=timeouts.CLUSTER_READY, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        _give_up(error.stderr.strip()[-2000:])
    except subprocess.TimeoutExpired:
        _give_up(f"not ready within {timeouts.CLUSTER_READY} s")
    found = clusters.find()
    assert found is not None
    found.use()
    context = found.context
    if not context.startswith("kind-") and os.environ.get("ONEZONE_E2E_ANY_CONTEXT") != "1":
        pytest.exit(
            f"the kube-context {context} is not one of kind's: these tests break nodes and delete "
            "zones. ONEZONE_E2E_ANY_CONTEXT=1 runs them all the same.",
            returncode=1,
        )
    lab.scale_operator(1)  # a run that was interrupted may have left it stopped
    return found


@pytest.fixture(scope="session")
def nodes(cluster: clusters.Cluster) -> None:
    """Nodes that are containers of this machine: what tests that break nodes need."""
    if cluster.kind_name is None:
        pytest.skip("nodes can only be broken on a kind cluster of this machine")
    for node in lab.kubectl("get", "nodes", "-o", "name").split():
        lab.bring_node_back(node.removeprefix("node/"))


# --- zones ---------------------------------------------------------------------


@pytest.fixture
def namespace(cluster: clusters.Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test, deleted with all that is in it."""
    name = lab.make_namespace()
    yield name
    if request.node.stash.get(FAILED, False):
        save_evidence(name, request.node.name)
    lab.kubectl("delete", "namespace", name, "--wait=false")


class SharedZone:
    """Three servers for all tests that leave them as they were; made anew after a failure."""

    def __init__(self, example: str) -> None:
        self._example = example
        self.zone: onezones.Zone | None = None

    def make(self) -> onezones.Zone:
        """The zone, Ready."""
        if self.zone is None:
            self.zone = onezones.make(lab.make_namespace(), onezones.example(self._example), 3)
        self.zone.wait_until_ready(3, timeouts.SERVER_BACK)
        return self.zone

    def drop(self) -> None:
        """Do not use it again."""
        if self.zone is not None:
            lab.kubectl("delete", "namespace", self.zone.namespace, "--wait=false")
            self.zone = None

    def lend(self, request: pytest.FixtureRequest) -> Iterator[onezones.Zone]:
        """The zone for one test, after whose failure it is not used again."""
        found = self.make()
        yield found
        if request.node.stash.get(FAILED, False):
            save_evidence(found.namespace, request.node.name)
            self.drop()


@pytest.fixture(scope="session")
def shared_zone(cluster: clusters.Cluster) -> Iterator[SharedZone]:
    """The keeper of the shared zone."""
    keeper = SharedZone("three-servers")
    yield keeper
    keeper.drop()


@pytest.fixture(scope="session")
def shared_floating(cluster: clusters.Cluster) -> Iterator[SharedZone]:
    """The keeper of the shared zone with a floating address."""
    if cluster.kind_name is None:
        pytest.skip("MetalLB is only brought along for clusters of this machine")
    floating.install_metallb()
    keeper = SharedZone("metallb")
    yield keeper
    keeper.drop()


@pytest.fixture
def zone(shared_zone: SharedZone, request: pytest.FixtureRequest) -> Iterator[onezones.Zone]:
    """A Ready zone of three servers, from examples/three-servers.yaml."""
    yield from shared_zone.lend(request)


@pytest.fixture
def floating_zone(
    shared_floating: SharedZone, request: pytest.FixtureRequest
) -> Iterator[onezones.Zone]:
    """A Ready zone of three servers behind an address of MetalLB, from examples/metallb.yaml."""
    yield from shared_floating.lend(request)


@pytest.fixture
def writer(zone: onezones.Zone) -> Iterator[Writer]:
    """A client that writes to the zone all along the test."""
    with Writer(zone) as running:
        yield running


# --- evidence ------------------------------------------------------------------


def save_evidence(namespace: str, test: str) -> None:
    """Objects, events and every container's log, before they are deleted."""
    folder = LOGS / test.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)

    def save(file: str, *words: object) -> None:
        try:
            text = lab.kubectl(*words)
        except (lab.CommandFailed, subprocess.TimeoutExpired) as error:
            text = str(error)
        (folder / file).write_text(text)

    where = ("-n", namespace)
    # Secrets are named, not shown.
    kinds = "onezones,onezonetasks,onezonebackups,jobs,statefulsets,pods,services,endpointslices"
    kinds += ",configmaps,pvc,pdb,networkpolicies"
    save("objects.yaml", *where, "get", kinds, "-o", "yaml")
    save("secrets.txt", *where, "get", "secrets")
    save("events.txt", *where, "get", "events", "--sort-by=.lastTimestamp")
    save("nodes.txt", "get", "nodes,pods", "-A", "-o", "wide")
    operator = ("-n", lab.OPERATOR_NAMESPACE, "logs", lab.OPERATOR_DEPLOYMENT)
    save("operator.log", *operator, f"--tail={LOG_LINES}")
    for pod in lab.kubectl(*where, "get", "pods", "-o", "name").split():
        name = pod.removeprefix("pod/")
        save(f"{name}.log", *where, "logs", name, f"--tail={LOG_LINES}")
        save(f"{name}.previous.log", *where, "logs", name, "--previous", f"--tail={LOG_LINES}")
    lab.step(f"  evidence in {folder.relative_to(ROOT)}")
