"""A bill of materials names exactly what the images install, with hashes and licences."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sbom = importlib.import_module("sbom")


@pytest.mark.parametrize("distribution", sbom.LOCKS)
def test_every_locked_package_is_in_the_bill(distribution: str):
    bill = sbom.build(distribution)
    lock = (ROOT / "requirements" / f"{sbom.LOCKS[distribution]}.txt").read_text()
    pinned = re.findall(r"^([^\s#]+)==([^\s;\\]+)", lock, re.MULTILINE)
    assert [(each["name"], each["version"]) for each in bill["components"]] == pinned
    hashes = [
        found["content"]
        for each in bill["components"]
        for found in each["externalReferences"][0]["hashes"]
    ]
    assert hashes == re.findall(r"sha256:([0-9a-f]{64})", lock)
    assert bill == sbom.build(distribution), "the same sources give the same bill"


@pytest.mark.parametrize("distribution", sbom.LOCKS)
def test_everything_is_needed_by_something(distribution: str):
    bill = sbom.build(distribution)
    root = bill["metadata"]["component"]["bom-ref"]
    edges = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    reached, waiting = set(), [root]
    while waiting:
        each = waiting.pop()
        if each not in reached:
            reached.add(each)
            waiting += edges[each]
    assert reached == {root, *(each["bom-ref"] for each in bill["components"])}


def test_licences_of_what_is_installed_are_known_and_allow_its_use():
    """No package whose licence would bind those who distribute the images to publish their own."""
    for line in sbom.licences().splitlines():
        package, _, text = line.partition("  ")
        name = package.split()[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        assert text.strip() != sbom.UNKNOWN, line
        assert not re.search(r"\b(AGPL|GPL)", text) or "LGPL" in text, line
