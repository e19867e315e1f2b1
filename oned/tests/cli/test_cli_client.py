"""The client on the wire, and where credentials and endpoint come from."""

import socket
import ssl
import threading
import time
import uuid
from pathlib import Path
from xmlrpc.client import Fault

import pytest

from oned.cli.client import (
    LISTINGS_MAX,
    ApiError,
    Client,
    ClientError,
    client_from_environment,
    load_authorities,
)
from oned.cli.credentials import (
    DEFAULT_ENDPOINT,
    CredentialsError,
    find_endpoint,
    find_session,
)
from oned.pki import create_authority


@pytest.fixture
def client(front_end):
    return Client(front_end.endpoint, "oneadmin:secret")


def test_values_keep_their_types(front_end, client):
    front_end.answers["one.x"] = lambda *parameters: 7
    assert client.call("one.x", "a <&>", 5, True) == 7
    assert front_end.calls == [("one.x", "oneadmin:secret", "a <&>", 5, True)]
    assert front_end.calls[0][4] is True


def test_refusal_has_text_and_code(front_end, client, refusal):
    front_end.answers["one.x"] = refusal("[one.x] Error getting zone [7].", 0x400, 7)
    with pytest.raises(ApiError) as caught:
        client.call("one.x")
    assert (str(caught.value), caught.value.code) == ("[one.x] Error getting zone [7].", 0x400)


def test_fault_names_the_method(front_end, client):
    front_end.answers["one.x"] = Fault(-506, "Method 'one.x' not defined")
    with pytest.raises(ClientError, match=r"^\[one.x\] Method 'one.x' not defined$"):
        client.call("one.x")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"hello", "did not answer in XML-RPC"),
        (b"<html></html>", "did not answer in XML-RPC"),
        (b"", "answered 503"),
        (
            (
                b"<methodResponse><params><param><value><int>1</int></value></param></params>"
                b"</methodResponse>"
            ),
            "did not answer as OpenNebula does",
        ),
    ],
)
def test_answers_that_are_none(front_end, client, raw, message):
    front_end.raw = raw
    with pytest.raises(ClientError, match=message):
        client.call("one.x")


@pytest.mark.parametrize("endpoint", ["", "localhost:2633", "ftp://a/", "http://:1/", "http://[/"])
def test_endpoint_that_is_none(endpoint):
    with pytest.raises(ClientError, match="is no URL such as"):
        Client(endpoint, "a:b").call("one.x")


def test_nobody_listens():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}/RPC2"
        with pytest.raises(ClientError, match=r"^Cannot reach .*: Connection refused$"):
            Client(endpoint, "a:b").call("one.x")


def test_silence_is_bounded():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/RPC2"
        began = time.monotonic()
        with pytest.raises(ClientError, match=r"did not answer within 0\.2 s"):
            Client(endpoint, "a:b", 0.2).call("one.x")
        assert time.monotonic() - began < 5


def test_session_is_not_shown():
    assert "secret" not in repr(Client("http://a/RPC2", "oneadmin:secret"))


def test_timeout_from_the_environment():
    client = client_from_environment({"ONE_XMLRPC_TIMEOUT": "2.5"}, "http://a/RPC2", "a:b")
    assert client.timeout_seconds == 2.5
    with pytest.raises(ClientError, match='ONE_XMLRPC_TIMEOUT="soon"'):
        client_from_environment({"ONE_XMLRPC_TIMEOUT": "soon"}, "http://a/RPC2", "a:b")


class Restless(type(Path())):
    """A directory in which the first names that one sees are gone before one can read them."""

    renamed = 0

    def iterdir(self):
        if Restless.renamed:
            Restless.renamed -= 1
            written = self / f".ca.crt-{Restless.renamed}"
            written.write_bytes(self.joinpath("ca.crt").read_bytes())
            yield from super().iterdir()
            written.replace(self / "ca.crt")
        else:
            yield from super().iterdir()


@pytest.mark.parametrize(("renamed", "read"), [(LISTINGS_MAX - 1, True), (LISTINGS_MAX, False)])
def test_authorities_that_are_replaced_while_they_are_read(tmp_path, monkeypatch, renamed, read):
    authority = create_authority(tmp_path, str(uuid.uuid4()))
    monkeypatch.setattr(Restless, "renamed", renamed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if read:
        load_authorities(context, Restless(tmp_path))
        assert context.get_ca_certs(binary_form=True) == [
            ssl.PEM_cert_to_DER_cert(authority.certificate_pem.decode())
        ]
    else:
        with pytest.raises(ClientError, match="No such file or directory"):
            load_authorities(context, Restless(tmp_path))


def test_session_comes_from_option_then_variable_then_home(tmp_path, monkeypatch):
    home = tmp_path / ".one"
    home.mkdir()
    (home / "one_auth").write_text("home:p\nsecond line\n")
    (tmp_path / "auth").write_text("variable:p:q\n")
    environ = {"HOME": str(tmp_path), "ONE_AUTH": str(tmp_path / "auth")}
    assert find_session(environ, user="option", password="p") == "option:p"
    assert find_session(environ) == "variable:p:q"
    del environ["ONE_AUTH"]
    assert find_session(environ) == "home:p"


def test_missing_and_broken_credentials_name_the_file_only(tmp_path):
    path = tmp_path / "auth"
    with pytest.raises(CredentialsError, match=f"put user:password into {path}"):
        find_session({"ONE_AUTH": str(path)})
    path.write_text("topsecret")
    with pytest.raises(CredentialsError) as caught:
        find_session({"ONE_AUTH": str(path)})
    assert "topsecret" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_endpoint_comes_from_option_then_variable_then_file(tmp_path, monkeypatch):
    monkeypatch.setattr("oned.cli.credentials.SYSTEM_DIRECTORY", Path("/nonexistent"))
    environ = {"HOME": str(tmp_path)}
    assert find_endpoint(environ) == DEFAULT_ENDPOINT == "http://localhost:2633/RPC2"
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one" / "one_endpoint").write_text("http://file/RPC2\n")
    assert find_endpoint(environ) == "http://file/RPC2"
    environ["ONE_XMLRPC"] = "http://variable/RPC2"
    assert find_endpoint(environ) == "http://variable/RPC2"
    assert find_endpoint(environ, endpoint="http://option/RPC2") == "http://option/RPC2"


def test_an_endpoint_that_comes_late_is_waited_for():
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{late.getsockname()[1]}/RPC2", "oneadmin:secret")
        opening = threading.Timer(0.6, late.listen)
        started = time.monotonic()
        opening.start()
        client.wait_until_reachable(20)
        opening.join()
        assert 0.5 < time.monotonic() - started < 10


def test_an_endpoint_that_never_comes_is_not_waited_for_longer(monkeypatch):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{deaf.getsockname()[1]}/RPC2", "oneadmin:secret")
        started = time.monotonic()
        with monkeypatch.context() as patched:
            patched.setattr("oned.cli.client._REACH_PAUSE_SECONDS", 20.0)  # one pause would show
            client.wait_until_reachable(0)
        assert time.monotonic() - started < 10
        started = time.monotonic()
        client.wait_until_reachable(1)
        assert 1 <= time.monotonic() - started < 10
