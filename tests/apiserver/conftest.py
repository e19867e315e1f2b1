"""A real API server for each test process: etcd, kube-apiserver, the StatefulSet's controller, and
simulated servers (``benchmarks.scale``). No nodes and no containers.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import BenchmarkError
from benchmarks.scale import apiserver
from benchmarks.scale.lab import Lab

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "certmanager"))

import rendering  # noqa: E402 - beside this file, which is no package

LIMIT_SECONDS = 120
BUILD_SECONDS = 1500
"""The first test may have to wait until Kubernetes is compiled, which is done once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real processes. A test's limit does not count the making of the binary."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("timeout") is None:
                built = apiserver.BINARY.exists() and rendering.BUILT.exists()
                limit = LIMIT_SECONDS if built else BUILD_SECONDS
                item.add_marker(pytest.mark.timeout(limit))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The API server, CRDs installed; servers answer for every pod."""
    reason = apiserver.missing()
    if os.geteuid() != 0 or not shutil.which("ip"):
        reason = "the simulated servers' addresses take root and iproute2"
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(f"NO API SERVER: {reason}")
    try:
        apiserver.binary()
    except BenchmarkError as error:
        pytest.fail(str(error))
    with Lab() as lab:
        lab.api.make_namespace("onezone-system")
        yield lab
