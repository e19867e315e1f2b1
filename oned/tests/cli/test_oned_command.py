"""``oned check``, ``config`` and ``pki``; the server itself has its own tests."""

import uuid

import pytest

from oned import pki
from oned.cli.main import oned
from oned.config import default_text


@pytest.fixture
def oned_run(run):
    return lambda *arguments: run(oned, *arguments, failure=1)


def test_config_prints_a_file_that_checks(oned_run, tmp_path, monkeypatch):
    monkeypatch.setenv("ONED_SERVER_NAME", "server-0")
    printed = oned_run("config")
    assert (printed.code, printed.out) == (0, default_text())
    path = tmp_path / "oned.conf"
    path.write_text(printed.out)
    checked = oned_run("check", "-c", path)
    assert (checked.code, checked.out, checked.err) == (
        0,
        f"{path}: right, for server server-0\n",
        "",
    )


def test_check_names_what_has_no_effect(oned_run, tmp_path, monkeypatch):
    monkeypatch.setenv("ONED_SERVER_NAME", "server-0")
    path = tmp_path / "oned.conf"
    path.write_text("PRT = 1\n")
    assert oned_run("check", "-c", path).err == (
        f"{path}:1: PRT is not used by this server; it is kept; did you mean PORT?\n"
    )


@pytest.mark.parametrize("command", ["check", "serve", "init"])
def test_wrong_configuration_fails_with_line(oned_run, tmp_path, command):
    path = tmp_path / "oned.conf"
    path.write_text("\nPORT = -1\n")
    result = oned_run(command, "-c", path)
    assert (result.code, result.out) == (1, "")
    assert result.err == f'{path}:2: PORT = "-1": must be an integer from 1 to 65535\n'


def test_pki_makes_authority_and_certificates(oned_run, tmp_path):
    zone = str(uuid.uuid4())
    made = oned_run("pki", "ca", "--dir", tmp_path / "ca", "--zone-uuid", zone)
    assert made.code == 0
    assert zone in made.out
    issued = oned_run(
        "pki", "server", "server-0", "--ca", tmp_path / "ca", "--host", "127.0.0.1",
        "--out", tmp_path / "peers",
    )  # fmt: skip
    assert issued.code == 0
    assert pki.identity(tmp_path / "peers" / "server-0.crt") == pki.PeerIdentity(zone, "server-0")
    again = oned_run("pki", "ca", "--dir", tmp_path / "ca")
    assert (again.code, again.out) == (1, "")
    assert "never overwritten" in again.err
