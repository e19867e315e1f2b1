"""Every example is accepted as documentation shows it."""

from __future__ import annotations

import lab
import pytest

EXAMPLES = sorted(path.stem for path in (lab.ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_accepted(namespace: str, name: str) -> None:
    """By the API server itself, rules included, unchanged."""
    path = lab.ROOT / "examples" / f"{name}.yaml"
    lab.kubectl("-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", path)
