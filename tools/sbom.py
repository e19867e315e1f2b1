"""Bills of materials: what the images are made of, as CycloneDX, and under which licences.

    python tools/sbom.py [--output DIRECTORY]

One file a distribution (oned, onezone-operator), from its locked requirements: name, version, the
hashes that an installation is checked against, the licence and who needs it. Licences are those of
the packages installed here, which are the locked ones.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import commands

LOCKS = {"oned": "oned", "onezone-operator": "operator"}
"""Distribution -> its folder, and the name of its lock file."""
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: *; *([^\\]+))?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"^ +#(?: via)? +([A-Za-z0-9._-]+)(?: \(.*\))?$")
UNKNOWN = "not said"


@dataclass(slots=True)
class Package:
    """A line of a lock file."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    via: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def read_lock(path: Path) -> list[Package]:
    """Packages of a lock file."""
    found: list[Package] = []
    for line in path.read_text().splitlines():
        if match := PIN.match(line):
            found.append(Package(match[1], match[2], (match[3] or "").strip()))
        elif found:
            found[-1].hashes += HASH.findall(line)
            if (via := VIA.match(line)) and not line.lstrip(" #").startswith("-c"):
                found[-1].via.append(via[1])
    return found


def licence(package: Package) -> str:
    """As the package says it: its SPDX expression, else its classifiers, else its own words."""
    try:
        metadata = importlib.metadata.metadata(package.name)
    except importlib.metadata.PackageNotFoundError:
        # For another platform.
        return UNKNOWN
    if expression := metadata.json.get("license_expression"):
        return str(expression)
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or []
        if each.startswith("License :: ") and each.count("::") > 1
    ]
    words = str(metadata.json.get("license") or "").strip().splitlines()
    return " AND ".join(classifiers) or (words[0] if words else UNKNOWN)


def build(distribution: str) -> dict[str, Any]:
    """The bill of one distribution; the same sources give the same bill."""
    folder = LOCKS[distribution]
    project = tomllib.loads((commands.ROOT / folder / "pyproject.toml").read_text())["project"]
    lock = commands.ROOT / "requirements" / f"{folder}.txt"
    packages = read_lock(lock)
    root = f"pkg:pypi/{distribution}@{project['version']}"
    references = {each.name.lower(): each.reference for each in packages}
    needs: dict[str, list[str]] = {root: []}
    for each in packages:
        needs.setdefault(each.reference, [])
    for each in packages:
        for user in each.via:
            needs.setdefault(references.get(user.lower(), root), []).append(each.reference)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + lock.read_text())}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": distribution,
                "version": project["version"],
                "purl": root,
            }
        },
        "components": [_component(each) for each in packages],
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(set(used))} for reference, used in needs.items()
        ],
    }


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": package.reference,
        "name": package.name,
        "version": package.version,
        "purl": package.reference,
        "licenses": [{"license": {"name": licence(package)}}],
        # One of these: a lock is for several platforms.
        "externalReferences": [
            {
                "type": "distribution",
                "url": package.reference,
                "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
            }
        ],
    }
    if package.marker:
        component["properties"] = [{"name": "python:marker", "value": package.marker}]
    return component


def licences() -> str:
    """A list for people: what each package is under."""
    found = {
        (each.name, each.version, licence(each))
        for folder in LOCKS.values()
        for each in read_lock(commands.ROOT / "requirements" / f"{folder}.txt")
    }
    width = max(len(f"{name} {version}") for name, version, _ in found)
    lines = [f"{f'{name} {version}':<{width}}  {text}" for name, version, text in sorted(found)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=commands.ROOT / "dist" / "sbom")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for distribution in LOCKS:
        path = output / f"{distribution}.cdx.json"
        path.write_text(json.dumps(build(distribution), indent=2) + "\n")
        commands.say(f"wrote {path}")
    (output / "licences.txt").write_text(licences())
    commands.say(f"wrote {output / 'licences.txt'}")


if __name__ == "__main__":
    main()
