"""A real S3 server beside the cluster: on this machine, at an address that pods reach."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import pytest

from oned import pki

sys.path.append(str(lab.ROOT / "tests" / "s3"))

import server as s3

NETWORK = "kind"
"""kind's Docker network: this machine has the gateway's address on its bridge."""
KEYS = "s3-keys"
AUTHORITY = "s3-authority"
BUCKET = "backups"


def gateway() -> str:
    """This machine's address on the nodes' network."""
    network = json.loads(lab.docker("network", "inspect", NETWORK))[0]["IPAM"]["Config"]
    return next(str(each["Gateway"]) for each in network if ":" not in each["Subnet"])


@dataclasses.dataclass(frozen=True)
class Store:
    """The server with one bucket, as a namespace's Secrets know it."""

    server: s3.S3Server

    def storage(self, prefix: str, *, keys: str = KEYS) -> dict[str, Any]:
        """What a OneZone's spec says of it."""
        return {
            "s3": {
                "bucket": BUCKET,
                "prefix": prefix,
                "endpoint": self.server.endpoint,
                "region": s3.REGION,
                "credentialsSecretRef": {"name": keys},
                "caSecretRef": {"name": AUTHORITY},
            }
        }

    def make_secrets(self, namespace: str) -> None:
        """Keys and authority, as a user makes them."""
        assert self.server.authority is not None
        environment = self.server.environment()
        keys = {key: environment[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        make_secret(namespace, KEYS, keys)
        make_secret(namespace, AUTHORITY, {"ca.crt": self.server.authority.read_text()})

    def file(self, location: str) -> Path:
        """The object at a location, as the server keeps it."""
        prefix = f"s3://{BUCKET}/"
        assert location.startswith(prefix), location
        return self.server.directory / BUCKET / location.removeprefix(prefix)


def make_secret(namespace: str, name: str, values: dict[str, str]) -> None:
    """A Secret of texts."""
    lab.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values},
        "-n",
        namespace,
    )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Store]:
    """The server, over https with a certificate of its own authority, and a bucket."""
    address = gateway()
    authority = pki.create_authority(directory / "authority")
    pki.issue_api(authority, hosts=(address,), directory=directory / "tls")
    try:
        with s3.running(
            directory,
            certificate=directory / "tls" / "tls.crt",
            key=directory / "tls" / "tls.key",
            authority=directory / "tls" / "ca.crt",
            address=address,
        ) as started:
            started.bucket(BUCKET)
            yield Store(started)
    except s3.NotBuilt as error:
        pytest.skip(f"NO S3 SERVER: {error}")
