"""The variables that tell one server of a zone from another."""

import socket
from pathlib import Path

import pytest

from oned.config import Config, load_environment
from oned.errors import ConfigError


def test_defaults_follow_the_host_name_and_the_ports(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "front-1")
    environment = load_environment(Config(), {})
    assert environment.server_name == "front-1"
    assert environment.server_endpoint == "http://front-1:2633/RPC2"
    assert environment.server_peer == "front-1:2635"
    assert environment.zone_endpoint == "http://localhost:2633/RPC2"
    assert environment.auth_file == Path("/var/lib/one/.one/one_auth")
    assert environment.var == Path("/var/lib/one")
    assert not environment.may_bootstrap


def test_given_variables_count_and_empty_ones_do_not():
    environment = load_environment(
        Config(port=3000),
        {
            "ONED_SERVER_NAME": "zone-0",
            "ONED_SERVER_ENDPOINT": "http://[fd00::1]:2633/RPC2",
            "ONED_SERVER_PEER": "",
            "ONED_BOOTSTRAP": "zone-0",
            "ONED_VAR": "/data",
            "ONED_POD_NAME": "zone-0",
            "ONED_POD_IP": "10.0.0.1",
            "ONED_NODE_NAME": "worker",
            "ONED_NAMESPACE": "one",
            "ONED_ROUTE_SECONDS": "1.5",
        },
    )
    assert environment.server_peer == "[fd00::1]:2635"
    assert environment.zone_endpoint == "http://localhost:3000/RPC2"
    assert environment.may_bootstrap
    assert environment.auth_file == Path("/data/.one/one_auth")
    assert (environment.pod_name, environment.pod_ip) == ("zone-0", "10.0.0.1")
    assert (environment.node_name, environment.namespace) == ("worker", "one")
    assert environment.route_seconds == 1.5


def test_one_location_moves_the_state_directory():
    environment = load_environment(
        Config(), {"ONED_SERVER_NAME": "a", "ONE_LOCATION": "/srv/one", "ONE_AUTH": "/k/one_auth"}
    )
    assert environment.var == Path("/srv/one/var")
    assert environment.auth_file == Path("/k/one_auth")


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("ONED_SERVER_NAME", "a b", 'letters, digits, ".", "_" and "-", at most 128'),
        ("ONED_BOOTSTRAP", "-a", 'letters, digits, ".", "_" and "-", at most 128'),
        ("ONED_SERVER_ENDPOINT", "a:2633", "a URL such as http://192.0.2.1:2633/RPC2"),
        ("ONED_SERVER_ENDPOINT", "http://a:x/", "a URL such as http://192.0.2.1:2633/RPC2"),
        ("ONED_ZONE_ENDPOINT", "ftp://a/RPC2", "a URL such as http://192.0.2.1:2633/RPC2"),
        ("ONED_SERVER_PEER", "a", "host:port, for example 192.0.2.1:2635"),
        ("ONED_SERVER_PEER", "a:0", "host:port, for example 192.0.2.1:2635"),
        ("ONED_SERVER_PEER", "::1:2635", "host:port, for example 192.0.2.1:2635"),
        ("ONED_ROUTE_SECONDS", "soon", "seconds, 0 to 60"),
        ("ONED_ROUTE_SECONDS", "-1", "seconds, 0 to 60"),
        ("ONED_ROUTE_SECONDS", "61", "seconds, 0 to 60"),
        ("ONED_ROUTE_SECONDS", "nan", "seconds, 0 to 60"),
    ],
)
def test_wrong_variable_is_refused_by_name(variable, value, allowed):
    with pytest.raises(ConfigError) as caught:
        load_environment(Config(), {"ONED_SERVER_NAME": "a", variable: value})
    assert str(caught.value) == f'{variable}="{value}": must be {allowed}'


def test_host_name_that_cannot_name_a_server_is_refused(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    with pytest.raises(ConfigError, match="set ONED_SERVER_NAME"):
        load_environment(Config(), {})
