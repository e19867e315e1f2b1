"""The two images, built when what they are made of has changed.

An image's tag is a digest of its sources, so that a tag never means two things, a node that has it
needs no pull, and a workload that names it is rolled when the code changed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import commands

DEFAULT_BASE_IMAGE = "python:3.13-slim"
LAB_BASE_IMAGE = "localhost/python:base"
REPOSITORY = "localhost/onezone"
"""Where local images live: a name that no engine and no node tries to pull from elsewhere."""
TARGETS = ("oned", "operator")
WHEELS = commands.ROOT / "dist" / "wheels"
KINDLAB = commands.ROOT / "tests" / "e2e" / "kindlab" / "kindlab"
PULL_SECONDS = 300


def base_image() -> str:
    """BASE_IMAGE if set; else the default where a registry answers, else a Debian base made from
    packages.
    """
    if chosen := os.environ.get("BASE_IMAGE"):
        return chosen
    if commands.answers("docker", "image", "inspect", DEFAULT_BASE_IMAGE):
        return DEFAULT_BASE_IMAGE
    if commands.answers("docker", "image", "inspect", LAB_BASE_IMAGE):
        return LAB_BASE_IMAGE
    if commands.answers("docker", "pull", DEFAULT_BASE_IMAGE, seconds=PULL_SECONDS):
        return DEFAULT_BASE_IMAGE
    if not shutil.which("debootstrap"):
        commands.fail(
            f"no registry has {DEFAULT_BASE_IMAGE} for us, and debootstrap, which makes a base "
            "image, is missing",
            next_command="BASE_IMAGE=<a Debian image with python3 and python3-venv> make image",
        )
    commands.say(f"no registry answers: making the base image {LAB_BASE_IMAGE} from packages")
    commands.run(KINDLAB, "base", LAB_BASE_IMAGE)
    return LAB_BASE_IMAGE


def sources(target: str) -> list[Path]:
    """The files that an image is made of."""
    root = commands.ROOT
    files = [root / "Dockerfile", root / "requirements" / "build.txt"]
    files += [root / "requirements" / f"{target}.txt"]
    files += [root / target / "pyproject.toml", root / target / "README.md"]
    files += [path for path in (root / target / "src").rglob("*") if path.is_file()]
    return sorted(path for path in files if path.suffix != ".pyc" and ".egg-info" not in str(path))


def tag(target: str, base: str) -> str:
    """The name of the image of these sources on this base."""
    digest = hashlib.sha256(
        commands.output("docker", "image", "inspect", "-f", "{{.Id}}", base).encode()
    )
    for path in sources(target):
        digest.update(str(path.relative_to(commands.ROOT)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{REPOSITORY}/{target}:{digest.hexdigest()[:12]}"


def collect_wheels(base: str) -> None:
    """Put every locked dependency into dist/wheels, for the base image's Python.

    They are fetched outside of the build on purpose: this machine's pip already knows how to reach
    a package index (a mirror, a proxy, its CA), a build container does not, and nothing of that
    belongs into an image.
    """
    version = commands.output(
        "docker", "run", "--rm", "--entrypoint", "python3", base, "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])",
    )  # fmt: skip
    locks = [
        commands.ROOT / "requirements" / name for name in ("build.txt", "oned.txt", "operator.txt")
    ]
    content = hashlib.sha256(
        version.encode() + b"".join(lock.read_bytes() for lock in locks)
    ).hexdigest()
    stamp = WHEELS / ".content"
    if stamp.exists() and stamp.read_text() == content:
        return
    commands.say(f"fetching the locked dependencies for Python {version}")
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    machine = platform.machine()
    tags = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
    platforms = [word for name in tags for word in ("--platform", f"{name}_{machine}")]
    for lock in locks:
        commands.run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--require-hashes", "--no-deps", "--only-binary=:all:", "--implementation", "cp",
            "--python-version", version, *platforms, "-d", WHEELS, "-r", lock,
        )  # fmt: skip
    stamp.write_text(content)


def build() -> dict[str, str]:
    """Build what is not there, and return the name of each target's image."""
    if not commands.answers("docker", "info"):
        commands.fail(
            "no Docker engine answers", next_command=f"{KINDLAB.relative_to(commands.ROOT)} engine"
        )
    base = base_image()
    names = {target: tag(target, base) for target in TARGETS}
    missing = [
        t for t, name in names.items() if not commands.answers("docker", "image", "inspect", name)
    ]
    if missing:
        collect_wheels(base)
    for target in missing:
        commands.say(f"building {names[target]} on {base}")
        commands.run(
            "docker", "build", "--quiet", "--target", target, "--build-arg", f"BASE_IMAGE={base}",
            "-t", names[target], ".", quiet=True,
        )  # fmt: skip
        subprocess.run(
            ["docker", "tag", names[target], f"{REPOSITORY}/{target}:latest"], check=True
        )
    return names


def main() -> None:
    """Print the names, one a line."""
    for name in build().values():
        print(name)
