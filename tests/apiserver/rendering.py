"""Helm, compiled where the machine has none, and what it makes of the chart."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.goprograms import NotBuilt
from benchmarks.scale import apiserver

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "onezone-operator"
BUILT = apiserver.HOME / "bin" / "helm"
RENDER_SECONDS = 50


def helm() -> str:
    """The program; compiled once. Without Go the test is skipped, and fails with CI=true."""
    found = shutil.which("helm")
    if found is not None:
        return found
    try:
        return str(apiserver.compiled("helm"))
    except NotBuilt as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"NO HELM: {error}")


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
