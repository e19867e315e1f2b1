"""cert-manager for tests: its own controllers, built from its pinned module, as a local process.

The program is the one that the e2e tests run beside their cluster.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "e2e" / "kindlab" / "certmanager"
CACHE = Path(os.environ.get("ONEZONE_CACHE", Path.home() / ".cache" / "onezone")) / "cert-manager"
MODULE = "github.com/cert-manager/cert-manager"
BUILD_SECONDS = 1200
STOP_SECONDS = 10
KINDS = ("certificaterequests", "certificates", "clusterissuers", "issuers")


class NotBuilt(Exception):
    """The controllers cannot be had on this machine."""


def go() -> str | None:
    """The Go compiler, None where there is none."""
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")


def binary() -> Path:
    """The program; built once for each state of its sources.

    Raises:
        NotBuilt: there is no Go, or its modules cannot be had.
    """
    pinned = b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    path = CACHE / f"certmanager-{hashlib.sha256(pinned).hexdigest()[:16]}"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes, one build
        if not path.exists():
            temporary = path.with_name(f".{path.name}")
            _go("build", "-trimpath", "-ldflags=-s -w", "-o", str(temporary), ".")
            temporary.replace(path)
    return path


def crds() -> list[Path]:
    """The files with cert-manager's own kinds, of the same version."""
    folder = Path(_go("list", "-m", "-f", "{{.Dir}}", MODULE).strip()) / "deploy" / "crds"
    return [folder / f"cert-manager.io_{kind}.yaml" for kind in KINDS]


@contextlib.contextmanager
def running(kubeconfig: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The controllers at work, with the rights of a kubeconfig; stopped in the end.

    Raises:
        NotBuilt: see `binary`.
    """
    command = [str(binary()), f"-kubeconfig={kubeconfig}"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
        assert process.poll() is None, f"cert-manager ended: {log.read_text()[-2000:]}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _go(*words: str) -> str:
    program = go()
    if program is None:
        raise NotBuilt("there is no Go compiler to build cert-manager with: 1.26 is needed")
    try:
        done = subprocess.run(
            [program, *words],
            cwd=SOURCE,
            env={**os.environ, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"cert-manager was not built in {BUILD_SECONDS} seconds") from None
    if done.returncode:
        raise NotBuilt(f"go {words[0]} of cert-manager failed: {done.stderr.strip()[-500:]}")
    return done.stdout
