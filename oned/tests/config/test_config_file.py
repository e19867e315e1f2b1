"""oned.conf becomes settings; what is wrong is refused with file, line and allowed values."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oned.config import (
    AUTO,
    SOLO,
    Config,
    HookSettings,
    RaftSettings,
    default_text,
    load_config,
    parse_config,
)
from oned.config.reader import MAXIMUM_SIZE
from oned.config.settings import METADATA, Group
from oned.errors import ConfigError
from oned.template import Template, Vector

PATH = Path("/etc/one/oned.conf")


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=PATH)
    return str(caught.value)


def test_shipped_file_states_exactly_the_defaults():
    config = parse_config(default_text())
    assert config == Config()
    assert config.warnings == ()


def test_shipped_file_gives_every_attribute():
    uncommented = re.sub(
        r"\n#(RAFT_|API_TLS|  (COMMAND|ARGUMENTS|CERTIFICATE|KEY|CA) )", r"\n\1", default_text()
    )
    given = Template.parse(uncommented)

    def names(settings):
        for item in fields(settings):
            setting = item.metadata.get(METADATA)
            if isinstance(setting, Group):
                yield from names(setting.settings)
            elif setting:
                yield setting

    for setting in names(Config):
        assert setting.name in given
        if hasattr(setting, "settings"):
            items = {item.metadata[METADATA].name for item in fields(setting.settings)}
            assert set(given.vector(setting.name)) == items


def test_empty_file_gives_the_defaults():
    assert parse_config("") == Config()


def test_reads_an_ha_server():
    config = parse_config(
        """
        PORT = 3633
        federation = [ mode = standalone, server_id = auto ]
        RAFT = [ ELECTION_TIMEOUT_MS = 5000, BROADCAST_TIMEOUT_MS = 500 ]
        RAFT_LEADER_HOOK = [ COMMAND = "raft/vip.sh", ARGUMENTS = "leader eth0 10.3.3.2/24" ]
        PEER = [ DIRECTORY = "/srv/peers" ]
        ENABLE_OTHER_PERMISSIONS = no
        DEFAULT_UMASK = 027
        """
    )
    assert config.port == 3633
    assert config.federation.server_id == AUTO
    assert not config.federation.solo
    assert config.raft == RaftSettings(election_timeout_ms=5000, broadcast_timeout_ms=500)
    assert config.leader_hook == HookSettings("raft/vip.sh", "leader eth0 10.3.3.2/24")
    assert config.follower_hook is None
    assert config.peer.directory == Path("/srv/peers")
    assert config.peer.port == 2635
    assert config.enable_other_permissions is False
    assert config.default_umask == 0o027
    assert config.warnings == ()


def test_a_server_is_solo_unless_told_otherwise():
    assert Config().federation.server_id == SOLO
    assert Config().federation.solo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\nPORT = -1", '3: PORT = "-1": must be an integer from 1 to 65535'),
        ("PORT = 70000", '1: PORT = "70000": must be an integer from 1 to 65535'),
        ("PORT = http", '1: PORT = "http": must be an integer from 1 to 65535'),
        ("PORT = [ A = 1 ]", '1: PORT = "[ … ]": must be a plain value'),
        ("RAFT = 3", '1: RAFT = "3": must be [ NAME = VALUE, … ]'),
        (
            'DB = [\n  BACKEND = "mysql" ]',
            '2: DB/BACKEND = "mysql": must be sqlite (mysql is not supported yet)',
        ),
        ("DB = [ BACKEND = oracle ]", '1: DB/BACKEND = "oracle": must be sqlite'),
        (
            "FEDERATION = [ MODE = SLAVE ]",
            (
                '1: FEDERATION/MODE = "SLAVE": must be one of STANDALONE, MASTER '
                "(SLAVE is not supported yet)"
            ),
        ),
        (
            "FEDERATION = [ ZONE_ID = 3 ]",
            '1: FEDERATION/ZONE_ID = "3": must be 0 when FEDERATION/MODE is STANDALONE',
        ),
        (
            "FEDERATION = [\n SERVER_ID = -2 ]",
            (
                '2: FEDERATION/SERVER_ID = "-2": must be -1 (solo), "AUTO" (the id that the zone '
                "gives this name), or an id >= 0"
            ),
        ),
        (
            "RAFT = [\n ELECTION_TIMEOUT_MS = 500,\n BROADCAST_TIMEOUT_MS = 500 ]",
            (
                '3: RAFT/BROADCAST_TIMEOUT_MS = "500": must be less than RAFT/ELECTION_TIMEOUT_MS, '
                "which is 500"
            ),
        ),
        (
            "RAFT = [ ELECTION_TIMEOUT_MS = 0 ]",
            '1: RAFT/ELECTION_TIMEOUT_MS = "0": must be an integer from 1 to 2147483647',
        ),
        ('RAFT_LEADER_HOOK = [ ARGUMENTS = "x" ]', "1: RAFT_LEADER_HOOK/COMMAND must be given"),
        (
            'RAFT_LEADER_HOOK = [ COMMAND = "" ]',
            '1: RAFT_LEADER_HOOK/COMMAND = "": must be given, and not empty',
        ),
        (
            'PEER = [ DIRECTORY = "peers" ]',
            '1: PEER/DIRECTORY = "peers": must be an absolute path',
        ),
        ("PEER = [ PORT = 2633 ]", '1: PEER/PORT = "2633": must be unlike PORT'),
        ("PORT = 2636", '1: ADMIN/PORT = "2636": must be unlike PORT'),
        (
            'ADMIN = [ LISTEN_ADDRESS = "a:1" ]',
            '1: ADMIN/LISTEN_ADDRESS = "a:1": must be an IP address or a host name, without a port',
        ),
        (
            "DEFAULT_UMASK = 888",
            (
                '1: DEFAULT_UMASK = "888": must be three octal digits (owner, group, other), '
                "for example 177"
            ),
        ),
        ("RPC_LOG = maybe", '1: RPC_LOG = "maybe": must be YES or NO'),
        ("API_LIST_ORDER = UP", '1: API_LIST_ORDER = "UP": must be one of DESC, ASC'),
        (
            "USER_RESTRICTED_ATTR = [ A = B ]",
            '1: USER_RESTRICTED_ATTR = "[ … ]": must be an attribute\'s name',
        ),
        (
            "FEDERATION = [ MASTER_ONED = here ]",
            '1: FEDERATION/MASTER_ONED = "here": must be a URL such as http://192.0.2.1:2633/RPC2',
        ),
        ("<CONF/>", "1: XML is not read here; write NAME = VALUE lines"),
    ],
)
def test_wrong_value_is_refused_with_line_and_allowed_values(text, expected):
    assert complaint(text) == f"{PATH}:{expected}"


def test_syntax_error_names_file_and_line():
    assert complaint("PORT = 1\nRAFT = [ A ]") == (
        f"{PATH}: Parse error: syntax error, unexpected CBRACKET, expecting EQUAL "
        "at line 2, columns 12:13"
    )


def test_unknown_attributes_are_kept_and_named():
    config = parse_config(
        'PRT = 1\nVM_MAD = [ NAME = "kvm" ]\nRAFT = [\n ELECTION_TIMEOUT = 5 ]\nPORT = 1\nPORT = 2',
        path=PATH,
    )
    assert config.port == 1
    assert config.warnings == (
        f"{PATH}:1: PRT is not used by this server; it is kept; did you mean PORT?",
        f"{PATH}:2: VM_MAD is not used by this server; it is kept",
        (
            f"{PATH}:4: RAFT/ELECTION_TIMEOUT is not used by this server; it is kept; "
            "did you mean ELECTION_TIMEOUT_MS?"
        ),
        f"{PATH}:6: PORT is given on lines 5, 6; the first counts",
    )
    assert config.attributes.vector("VM_MAD") == Vector({"NAME": "kvm"})


def test_lists_of_restricted_and_encrypted_attributes_replace_the_default():
    config = parse_config(
        'VM_RESTRICTED_ATTR = "nic/mac"\nVM_RESTRICTED_ATTR = "PCI"\nUSER_ENCRYPTED_ATTR = ""'
    )
    assert config.restricted_attributes["VM"] == ("NIC/MAC", "PCI")
    assert config.restricted_attributes["GROUP"] == Config().restricted_attributes["GROUP"]
    assert config.encrypted_attributes["USER"] == ()
    assert config.warnings == ()


def test_template_shows_effective_settings_and_what_is_not_known():
    config = parse_config("ONE = 1\nRAFT = [ OTHER = x, LIMIT_PURGE = 7 ]\nPORT = 1\nPORT = 2")
    template = config.to_template()
    assert template.get("ONE") == "1"
    assert template.values("PORT") == ["1"]
    assert template.get("DEFAULT_UMASK") == "177"
    raft = template.vector("RAFT")
    assert (raft["OTHER"], raft["LIMIT_PURGE"], raft["LOG_RETENTION"]) == ("x", "7", "250000")
    assert "RAFT_LEADER_HOOK" not in template
    assert template.values("USER_ENCRYPTED_ATTR") == ["SSH_PRIVATE_KEY", "SSH_PASSPHRASE"]


def test_template_of_a_configuration_reads_back_as_the_same():
    config = parse_config('RAFT_FOLLOWER_HOOK = [ COMMAND = "vip" ]\nLOG = [ DEBUG_LEVEL = 5 ]')
    assert parse_config(config.to_template().to_text()) == config


@given(st.text(max_size=40))
def test_any_text_parses_or_is_a_configuration_error(text):
    try:
        parse_config(text)
    except ConfigError as error:
        assert str(error).startswith("oned.conf")  # noqa: PT017


def test_missing_file_names_the_command_that_makes_one(tmp_path):
    path = tmp_path / "oned.conf"
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: no such file; make one with: oned config > {path}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"PORT = \xff", "not UTF-8 at byte 7"),
        (b"#" * (MAXIMUM_SIZE + 1), "larger than"),
    ],
)
def test_file_that_is_no_text_is_refused(tmp_path, content, expected):
    path = tmp_path / "oned.conf"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(path)


def test_directory_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r": Is a directory$"):
        load_config(tmp_path)


def test_certificates_are_below_one_location_unless_stated(tmp_path):
    path = tmp_path / "oned.conf"
    path.write_text("PORT = 1\n")
    environ = {"ONE_LOCATION": "/srv/one"}
    assert load_config(path, environ).peer.directory == Path("/srv/one/etc/peers")
    path.write_text('PEER = [ DIRECTORY = "/p" ]')
    assert load_config(path, environ).peer.directory == Path("/p")
