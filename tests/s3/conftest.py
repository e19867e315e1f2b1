"""The S3 server of the tests in this folder; skipped loudly where none can be had."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "oned" / "tests" / "processes"))

import server  # noqa: E402

from oned import pki  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def built():
    """Fails with CI=true, where a test that does not run is one that nobody has."""
    try:
        server.binary()
    except server.NotBuilt as error:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(f"CI=true and no S3 server: {error}")
        pytest.skip(f"NO S3 SERVER: {error}")


@pytest.fixture(scope="module")
def s3(built, tmp_path_factory):
    with server.running(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture(scope="module")
def secure_s3(built, tmp_path_factory):
    """As ``s3``, over https with a certificate of an authority of its own."""
    directory = tmp_path_factory.mktemp("secure")
    authority = pki.create_authority(directory / "authority")
    pki.issue_api(authority, hosts=("127.0.0.1",), directory=directory / "tls")
    with server.running(
        directory,
        certificate=directory / "tls" / "tls.crt",
        key=directory / "tls" / "tls.key",
        authority=directory / "tls" / "ca.crt",
    ) as started:
        yield started
