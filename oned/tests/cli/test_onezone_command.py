"""``onezone``: tables, messages and exit codes on the wire."""

import json

import pytest
import yaml

from oned.cli.onezone import onezone
from oned.template import Template, Vector

RAFT = (
    "<RAFT><SERVER_ID>0</SERVER_ID><STATE>{state}</STATE><TERM>1</TERM><VOTEDFOR>-1</VOTEDFOR>"
    "<COMMIT>3</COMMIT><LOG_INDEX>3</LOG_INDEX><LOG_TERM>1</LOG_TERM>"
    "<FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>"
)


def zone_xml(endpoint, servers=(), state=0, number=0, name="OpenNebula"):
    pool = "".join(
        f"<SERVER><ENDPOINT><![CDATA[{url}]]></ENDPOINT><ID><![CDATA[{at}]]></ID>"
        f"<NAME><![CDATA[server-{at}]]></NAME></SERVER>"
        for at, url in enumerate(servers)
    )
    return (
        f"<ZONE><ID>{number}</ID><NAME>{name}</NAME><STATE>{state}</STATE><TEMPLATE><ENDPOINT>"
        f"<![CDATA[{endpoint}]]></ENDPOINT></TEMPLATE><SERVER_POOL>{pool}</SERVER_POOL></ZONE>"
    )


@pytest.fixture
def zone(front_end, monkeypatch, run):
    monkeypatch.setenv("ONE_XMLRPC", front_end.endpoint)
    body = zone_xml("http://localhost:2633/RPC2", [front_end.endpoint])
    front_end.answers["one.zone.info"] = body
    front_end.answers["one.zonepool.info"] = f"<ZONE_POOL>{body}</ZONE_POOL>"
    front_end.answers["one.zone.raftstatus"] = RAFT.format(state=3)
    return front_end


def test_list_layout(zone, run):
    zone.answers["one.zonepool.info"] = (
        f"<ZONE_POOL>{zone_xml('http://127.0.0.1:1/RPC2', number=100, name='other', state=1)}"
        f"{zone_xml(zone.endpoint)}</ZONE_POOL>"
    )
    result = run(onezone, "list")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "C   ID NAME            ENDPOINT                                      FED_INDEX  STAT\n"
        "   100 other           http://127.0.0.1:1/RPC2                       -          off\n"
        f"*    0 OpenNebula      {zone.endpoint:<45} -1         on\n"
    )


def test_list_options(zone, run):
    assert run(onezone, "list", "-l", "ID,NAME", "--csv").out == "ID,NAME\n0,OpenNebula\n"
    assert run(onezone, "list", "-l", "name", "--no-header").out == "OpenNebula\n"
    semicolons = run(onezone, "list", "-l", "ID,STAT", "--csv", "--csv-del", ";", "--no-header")
    assert semicolons.out == "0;on\n"
    assert run(onezone, "list", "-l", "ID", "-f", "STAT=off", "--no-header").out == ""
    either = run(
        onezone, "list", "-l", "ID", "-f", "STAT=off,NAME~Neb", "--operator", "OR", "--no-header"
    )
    assert either.out == "   0\n"
    assert run(onezone, "list", "-l", "NAME", "-s", "NAME=4").out == "NAME\nOpen\n"
    assert run(onezone, "list", "-l", "ENDPOINT,ID", "--adjust", "ENDPOINT").out.splitlines()[
        1
    ] == ("http://localhost:2633/RPC2    0")
    assert run(onezone, "list", "--describe").out.startswith("CURRENT        : Active zone\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-l", "NOPE"], "Column NOPE is not one of CURRENT, ID, NAME"),
        (["-f", "STAT"], 'The filter "STAT" is not COLUMN followed by'),
        (["-s", "NAME=x"], 'The size of NAME is a number, not "x".'),
        (["--csv", "--csv-del", "ab"], "The delimiter of CSV is one character."),
    ],
)
def test_wrong_list_options_are_refused(zone, run, options, message):
    result = run(onezone, "list", *options)
    assert (result.code, result.out) == (255, "")
    assert result.err.startswith(message)


def test_show_layout(zone, run):
    result = run(onezone, "show", "0")
    assert (result.code, result.err) == (0, "")
    lines = [line.rstrip() for line in result.out.splitlines()]
    assert lines == [
        "ZONE 0 INFORMATION",
        "ID                : 0",
        "NAME              : OpenNebula",
        "STATE             : ENABLED",
        "",
        "",
        "ZONE SERVERS",
        "ID NAME            ENDPOINT",
        f" 0 server-0        {zone.endpoint}",
        "",
        "HA & FEDERATION SYNC STATUS",
        "ID NAME            STATE      TERM       INDEX      COMMIT     VOTE  FED_INDEX",
        " 0 server-0        leader     1          3          3          -1    -1",
        "",
        "ZONE TEMPLATE",
        'ENDPOINT="http://localhost:2633/RPC2"',
    ]
    assert result.out.splitlines()[0] == "ZONE 0 INFORMATION".ljust(80)
    assert result.out.splitlines()[1] == "ID                : 0".ljust(40)


def test_show_without_servers_has_no_server_tables(zone, run):
    zone.answers["one.zone.info"] = zone_xml("http://localhost:2633/RPC2", state=1)
    lines = [line.rstrip() for line in run(onezone, "show", "0").out.splitlines()]
    assert lines[3:6] == ["STATE             : DISABLED", "", "ZONE TEMPLATE"]


def test_show_marks_servers_that_do_not_answer_or_refuse(zone, run, refusal):
    zone.answers["one.zone.info"] = zone_xml("x", [zone.endpoint, "http://127.0.0.1:1/RPC2", ""])
    zone.answers["one.zone.raftstatus"] = refusal("[one.zone.raftstatus] no", 0x200)
    rows = run(onezone, "show", "0").out.splitlines()[14:17]
    assert [row.split() for row in rows] == [
        [str(at), f"server-{at}", "error", "-", "-", "-", "-", "-"] for at in range(3)
    ]


@pytest.mark.parametrize(
    ("number", "word"),
    [(0, "solo"), (1, "candidate"), (2, "follower"), (3, "leader"), (7, "error")],
)
def test_show_names_the_states(zone, run, number, word):
    zone.answers["one.zone.raftstatus"] = RAFT.format(state=number)
    assert run(onezone, "show", "0").out.splitlines()[12].split()[2] == word


def test_show_as_json_yaml_and_xml(zone, run):
    server = {
        "ENDPOINT": zone.endpoint,
        "ID": "0",
        "NAME": "server-0",
        "STATE": "3",
        "TERM": "1",
        "VOTEDFOR": "-1",
        "COMMIT": "3",
        "LOG_INDEX": "3",
        "FEDLOG_INDEX": "-1",
    }
    as_json = json.loads(run(onezone, "show", "0", "-j").out)
    assert as_json["ZONE"]["SERVER_POOL"] == {"SERVER": [server]}
    assert yaml.safe_load(run(onezone, "show", "0", "-y").out) == as_json
    xml = run(onezone, "show", "0", "-x").out
    assert f"<ENDPOINT><![CDATA[{zone.endpoint}]]></ENDPOINT>" in xml
    assert "<VOTEDFOR>-1</VOTEDFOR>" in xml
    listed = json.loads(run(onezone, "list", "--json").out)
    assert [item["ID"] for item in listed["ZONE_POOL"]["ZONE"]] == ["0"]


def test_server_add_sends_typed_parameters(zone, run):
    zone.answers["one.zone.addserver"] = 0
    result = run(
        onezone, "server-add", "OpenNebula", "--name", "server-1",
        "--rpc", "http://192.168.150.2:2633/RPC2", "--peer", "192.168.150.2:2635", "-v",
    )  # fmt: skip
    assert (result.code, result.out, result.err) == (0, "ZONE 0: server added\n", "")
    method, session, number, template = zone.calls[-1]
    assert (method, session, number) == ("one.zone.addserver", "oneadmin:secret", 0)
    assert Template.parse(template).vector("SERVER") == Vector(
        {
            "NAME": "server-1",
            "ENDPOINT": "http://192.168.150.2:2633/RPC2",
            "ENDPOINT_PEER": "192.168.150.2:2635",
        }
    )


@pytest.mark.parametrize("options", [[], ["-n", "x"], ["-r", "http://a:1/RPC2"]])
def test_server_add_needs_name_and_endpoint(zone, run, options):
    result = run(onezone, "server-add", "0", *options)
    assert (result.code, result.out, zone.calls) == (255, "", [])
    for flag in ("-n, --name", "-r, --rpc", "-g, --grpc-endpoint"):
        assert flag in result.err


@pytest.mark.parametrize(
    ("option", "value"), [("-r", "192.168.1.1:2633"), ("--peer", "192.168.1.1")]
)
def test_server_add_refuses_wrong_addresses(zone, run, option, value):
    arguments = {"-r": "http://a:1/RPC2", "--peer": "a:1", option: value}
    result = run(
        onezone, "server-add", "0", "-n", "x", *(w for pair in arguments.items() for w in pair)
    )
    assert (result.code, zone.calls) == (255, [])
    assert f'"{value}": must be' in result.err


@pytest.mark.parametrize(
    ("command", "method", "message"),
    [
        ("server-del", "one.zone.delserver", "server deleted"),
        ("server-reset", "one.zone.resetserver", "server reset"),
    ],
)
@pytest.mark.parametrize("server", ["0", "server-0"])
def test_server_by_id_or_name(zone, run, command, method, message, server):  # noqa: PLR0917
    zone.answers[method] = 0
    result = run(onezone, command, "0", server, "-v")
    assert (result.code, result.out) == (0, f"ZONE 0: {message}\n")
    assert zone.calls[-1] == (method, "oneadmin:secret", 0, 0)
    assert run(onezone, command, "0", server).out == ""


@pytest.mark.parametrize(("words", "sent"), [(["server-0"], 0), (["0"], 0), ([], -1)])
def test_server_promote_says_who_leads(zone, run, words, sent):
    zone.answers["one.zone.transferleader"] = 2
    result = run(onezone, "server-promote", "0", *words)
    assert (result.code, result.out, result.err) == (0, "Server 2 leads zone 0.\n", "")
    assert zone.calls[-1] == ("one.zone.transferleader", "oneadmin:secret", 0, sent)


def test_unknown_server_name(zone, run):
    result = run(onezone, "server-del", "0", "nope")
    assert (result.code, result.err) == (255, "Server nope not found in zone 0.\n")


def test_enable_and_disable_take_ranges_and_names(zone, run):
    zone.answers["one.zone.enable"] = lambda number, _on: number
    assert run(onezone, "disable", "1,8..10,OpenNebula", "-v").out.splitlines() == [
        f"ZONE {number}: disable zone" for number in (1, 8, 9, 10, 0)
    ]
    assert run(onezone, "enable", "3", "-v").out == "ZONE 3: enable zone\n"
    sent = [call[2:] for call in zone.calls if call[0] == "one.zone.enable"]
    assert sent == [(1, False), (8, False), (9, False), (10, False), (0, False), (3, True)]


def test_list_of_objects_stops_at_the_first_refusal(zone, run, refusal):
    text = "[one.zone.delete] Error getting zone [2]."
    zone.answers["one.zone.delete"] = lambda number: number if number < 2 else refusal(text, 0x400)
    result = run(onezone, "delete", "1..3", "-v")
    assert (result.code, result.out, result.err) == (255, "ZONE 1: deleted\n", f"{text}\n")
    assert [call[2] for call in zone.calls] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "ZONE named nope not found."),
        ("1..999999999", "The range 1..999999999 has more than 100000 ids."),
        (",", '"," names no ZONE.'),
    ],
)
def test_names_and_ranges_that_mean_nothing(zone, run, text, message):
    result = run(onezone, "delete", text)
    assert (result.code, result.err) == (255, f"{message}\n")


def test_ambiguous_name(zone, run):
    body = zone_xml("x") + zone_xml("y", number=100)
    zone.answers["one.zonepool.info"] = f"<ZONE_POOL>{body}</ZONE_POOL>"
    result = run(onezone, "show", "OpenNebula")
    assert (result.code, result.err) == (255, "There are multiple ZONES with name OpenNebula.\n")


def test_create_rename_and_update(zone, run, tmp_path):
    path = tmp_path / "zone.tmpl"
    path.write_text('NAME = "b"\nENDPOINT = "http://b:2633/RPC2"\n')
    for name, answer in (("allocate", 100), ("rename", 0), ("update", 0)):
        zone.answers[f"one.zone.{name}"] = answer
    assert run(onezone, "create", path).out == "ID: 100\n"
    assert run(onezone, "rename", "0", "c", "-v").out == "ZONE 0: renamed\n"
    assert run(onezone, "update", "0", path, "-v").out == "ZONE 0: modified\n"
    assert run(onezone, "update", "0", path, "--append").out == ""
    assert [call[0:1] + call[2:] for call in zone.calls] == [
        ("one.zone.allocate", path.read_text()),
        ("one.zone.rename", 0, "c"),
        ("one.zone.update", 0, path.read_text(), 0),
        ("one.zone.update", 0, path.read_text(), 1),
    ]


def test_set_writes_the_endpoint_file_or_prints_a_line(zone, run, tmp_path):
    line = 'export ONE_XMLRPC="http://localhost:2633/RPC2"\n'
    assert run(onezone, "set", "0", "-k").out == line
    assert run(onezone, "set", "0").code == 0
    path = tmp_path / ".one" / "one_endpoint"
    assert path.read_text() == "http://localhost:2633/RPC2\n"


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        (["server-add"], "Command server-add requires one parameter to run"),
        (["server-del"], "Command server-del requires 2 parameters to run."),
        (["server-del", "0"], "Command server-del requires 2 parameters to run."),
        (["rename", "0"], "Command rename requires 2 parameters to run."),
        (["update"], "Command update requires one parameter to run"),
        (["list", "x"], "Wrong number of arguments"),
        (["show", "0", "1"], "Wrong number of arguments"),
    ],
)
def test_wrong_number_of_arguments_shows_the_usage(run, arguments, first_line):
    result = run(onezone, *arguments)
    lines = result.err.splitlines()
    assert (result.code, result.out, lines[0]) == (255, "", first_line)
    assert "## USAGE" in lines
    assert lines[lines.index("## USAGE") + 1].startswith(arguments[0])
    assert "## OPTIONS" in lines


def test_usage_of_a_command(run):
    lines = run(onezone, "server-add", "--help").out.splitlines()
    assert lines[:3] == [
        "## USAGE",
        "server-add <zoneid>",
        "        Add an OpenNebula server to this zone.",
    ]
    assert "     -n, --name server_name      Zone server name" in lines
    assert "     -v, --verbose               Verbose mode" in lines


@pytest.mark.parametrize("arguments", [["nope"], ["list", "--nope"], []])
def test_mistyped_command_or_option(run, arguments):
    result = run(onezone, *arguments)
    assert (result.code, result.out) == (255, "")
    assert result.err


@pytest.mark.parametrize("arguments", [["-V"], ["list", "--version"]])
def test_version(run, arguments):
    result = run(onezone, *arguments)
    assert result.code == 0
    assert result.out.startswith("onezone 0.1.0")
