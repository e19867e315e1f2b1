"""Helm, compiled where the machine has none, and what it makes of the chart."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.scale import apiserver

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "onezone-operator"
BUILT = apiserver.HOME / "bin" / "helm"
BUILD_SECONDS = 900
RENDER_SECONDS = 50


def helm() -> str:
    """The program; compiled once. Without Go the test is skipped, and fails with CI=true."""
    found = shutil.which("helm")
    if found is not None:
        return found
    apiserver.HOME.mkdir(parents=True, exist_ok=True)
    with (apiserver.HOME / "helm.lock").open("w") as lock:
        # Test processes side by side need it at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not BUILT.exists():
            _build()
    return str(BUILT)


def _build() -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/local/go/bin"
    if shutil.which("go", path=path) is None:
        reason = "NO HELM: neither is there one, nor Go to compile it with"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [apiserver.KINDLAB, "helm"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if done.returncode:
        pytest.fail(f"Helm was not compiled: {done.stderr[-2000:]}")


def render(release: str, namespace: str, *settings: str) -> list[dict[str, Any]]:
    """The chart's objects."""
    options = [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(
        [
            helm(), "template", release, str(CHART), "-n", namespace, "--kube-version", "1.35",
            *options,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=RENDER_SECONDS,
    )  # fmt: skip
    return [each for each in yaml.safe_load_all(done.stdout) if each]
