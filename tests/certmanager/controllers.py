"""cert-manager for tests: its own controllers, built from a pinned module, as a local process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.goprograms import GoProgram, NotBuilt
from benchmarks.processes import stop

__all__ = ["NotBuilt", "binary", "crds", "running"]

PROGRAM = GoProgram("certmanager", Path(__file__).resolve().parent)
MODULE = "github.com/cert-manager/cert-manager"
STOP_SECONDS = 10
KINDS = ("certificaterequests", "certificates", "clusterissuers", "issuers")


def binary() -> Path:
    """The program.

    Raises:
        NotBuilt: see `GoProgram`.
    """
    return PROGRAM.binary()


def crds() -> list[Path]:
    """The files with cert-manager's own kinds, of the same version."""
    folder = PROGRAM.module_folder(MODULE) / "deploy" / "crds"
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
        stop(process, STOP_SECONDS)
