"""A real S3 server for tests: versitygw, built from its pinned module, on a directory."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.goprograms import GoProgram, NotBuilt
from benchmarks.processes import free_ports, stop

__all__ = ["REGION", "NotBuilt", "S3Server", "binary", "running"]

PROGRAM = GoProgram(
    "versitygw", Path(__file__).resolve().parent, "github.com/versity/versitygw/cmd/versitygw"
)
START_SECONDS = 30
STOP_SECONDS = 10
REGION = "eu-test-1"


def binary() -> Path:
    """The server's program.

    Raises:
        NotBuilt: see `GoProgram`.
    """
    return PROGRAM.binary()


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        directory: a folder in it is a bucket, and files are objects.
        authority: PEM file to trust, when it speaks https.
    """

    endpoint: str
    directory: Path
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes]
    authority: Path | None = None

    def environment(self) -> dict[str, str]:
        """What `onedb` needs to use it."""
        trust = {"AWS_CA_BUNDLE": str(self.authority)} if self.authority else {}
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            **trust,
        }

    def bucket(self, name: str) -> str:
        """Make a bucket; its URL."""
        (self.directory / name).mkdir()
        return f"s3://{name}"

    def unfinished(self, bucket: str) -> list[str]:
        """Multipart uploads that were begun, and neither completed nor aborted."""
        place = self.directory / bucket / ".sgwtmp" / "multipart"
        return sorted(str(each.relative_to(place)) for each in place.glob("*/*"))  # key, upload


@contextlib.contextmanager
def running(
    directory: Path,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    authority: Path | None = None,
    address: str = "127.0.0.1",
) -> Iterator[S3Server]:
    """A server on a free port, with keys of its own; stopped in the end.

    Args:
        directory: where its data and its log are.
        certificate: PEM file, with `key`: it speaks https.
        key: see `certificate`.
        authority: what clients are to trust then.
        address: of this machine; one that containers reach, for tests on a cluster.

    Raises:
        NotBuilt: see `binary`.
    """
    program = binary()
    data = directory / "s3"
    data.mkdir(parents=True)
    access_key, secret_key = f"test{secrets.token_hex(6)}", secrets.token_urlsafe(24)
    (port,) = free_ports(1, address)
    command = [str(program), "--port", f"{address}:{port}", "--region", REGION]
    command += ["--health", "/health", "--quiet"]
    if certificate and key:
        command += ["--cert", str(certificate), "--key", str(key)]
    # Extended attributes are no part of every file system that tests run on.
    (directory / "sidecar").mkdir()
    command += ["posix", "--sidecar", str(directory / "sidecar"), str(data)]
    keys = {"ROOT_ACCESS_KEY_ID": access_key, "ROOT_SECRET_ACCESS_KEY": secret_key}
    with (directory / "s3.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **keys}, cwd=directory
        )
    scheme = "https" if certificate else "http"
    server = S3Server(
        f"{scheme}://{address}:{port}", data, access_key, secret_key, process, authority
    )
    try:
        _wait(process, address, port, scheme, directory / "s3.log")
        yield server
    finally:
        stop(process, STOP_SECONDS)


def _wait(
    process: subprocess.Popen[bytes], address: str, port: int, scheme: str, log: Path
) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        # It is the server of this test that answers, not what a certificate is worth.
        context = ssl._create_unverified_context()
        connection = (
            http.client.HTTPSConnection(address, port, timeout=2, context=context)
            if scheme == "https"
            else http.client.HTTPConnection(address, port, timeout=2)
        )
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError(f"the S3 server does not answer:\n{log.read_text()[-2000:]}")
