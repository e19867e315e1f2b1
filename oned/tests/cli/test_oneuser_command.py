"""``oneuser`` and ``onegroup``: tables, messages and what goes over the wire."""

import hashlib
import json

import pytest

from oned.cli.onegroup import onegroup
from oned.cli.oneuser import oneuser

QUOTAS = (
    "<VM_QUOTA><VM><VMS>5</VMS><VMS_USED>2</VMS_USED><MEMORY>-1</MEMORY>"
    "<MEMORY_USED>1536</MEMORY_USED><CPU>-2</CPU><CPU_USED>1.5</CPU_USED></VM></VM_QUOTA>"
)
USERS = (
    "<USER_POOL>"
    "<USER><ID>2</ID><GID>100</GID><GROUPS><ID>100</ID><ID>1</ID></GROUPS><GNAME>team</GNAME>"
    "<NAME>ann</NAME><PASSWORD><![CDATA[hash]]></PASSWORD><AUTH_DRIVER><![CDATA[core]]>"
    "</AUTH_DRIVER><ENABLED>0</ENABLED><LOGIN_TOKEN><TOKEN>abcdef0123</TOKEN>"
    "<EXPIRATION_TIME>-1</EXPIRATION_TIME><EGID>-1</EGID></LOGIN_TOKEN>"
    "<TEMPLATE><LANG><![CDATA[en]]></LANG></TEMPLATE></USER>"
    f"<QUOTAS><ID>2</ID>{QUOTAS}</QUOTAS>"
    "<USER><ID>0</ID><GID>0</GID><GROUPS><ID>0</ID></GROUPS><GNAME>oneadmin</GNAME>"
    "<NAME>oneadmin</NAME><PASSWORD>x</PASSWORD><AUTH_DRIVER>core</AUTH_DRIVER><ENABLED>1"
    "</ENABLED><TEMPLATE></TEMPLATE></USER><QUOTAS><ID>0</ID><VM_QUOTA></VM_QUOTA></QUOTAS>"
    "<DEFAULT_USER_QUOTAS><VM_QUOTA><VM><MEMORY>4096</MEMORY></VM></VM_QUOTA>"
    "</DEFAULT_USER_QUOTAS></USER_POOL>"
)
GROUPS = (
    "<GROUP_POOL><GROUP><ID>100</ID><NAME>team</NAME><TEMPLATE><A><![CDATA[1]]></A></TEMPLATE>"
    "<USERS><ID>2</ID><ID>3</ID></USERS><ADMINS><ID>2</ID></ADMINS></GROUP></GROUP_POOL>"
)


@pytest.fixture
def users(front_end, monkeypatch, run):
    monkeypatch.setenv("ONE_XMLRPC", front_end.endpoint)
    start, end = USERS.index("<USER>"), USERS.index("<QUOTAS>")
    front_end.answers |= {
        "one.userpool.info": USERS,
        "one.user.info": USERS[start:end],
        "one.grouppool.info": GROUPS,
        "one.group.info": GROUPS.removeprefix("<GROUP_POOL>").removesuffix("</GROUP_POOL>"),
    }
    return front_end


def sent(front_end, method):
    return [call[2:] for call in front_end.calls if call[0] == method]


def test_list_layout(users, run):
    columns = "ID,NAME,ENABLED,GROUP,AUTH,VMS,MEMORY,CPU"
    table = run(oneuser, "list", "-s", "NAME=8").out
    assert run(oneuser, "list", "-s", "NAME=8", "-l", columns).out == table
    assert run(oneuser, "list").out.startswith(f"  ID {'NAME':<20} ENAB ")
    assert table.splitlines() == [
        "  ID NAME     ENAB GROUP      AUTH           VMS            MEMORY         CPU",
        "   2 ann      no   team       core       2 /   5    1.5G /      4G  1.5 /    -",
        "   0 oneadmin yes  oneadmin   core             -                 -           -",
    ]
    assert run(oneuser, "list", "-n", "-l", "NAME,GROUP", "--csv").out == (
        "NAME,GROUP\nann,100\noneadmin,0\n"
    )
    assert len(json.loads(run(oneuser, "list", "-j").out)["USER_POOL"]["USER"]) == 2


def test_show_layout(users, run):
    lines = [line.rstrip() for line in run(oneuser, "show", "ann").out.splitlines()]
    assert lines == [
        "USER 2 INFORMATION",
        "ID              : 2",
        "NAME            : ann",
        "GROUP           : team",
        "SECONDARY GROUPS: 1",
        "PASSWORD        : hash",
        "AUTH_DRIVER     : core",
        "ENABLED         : No",
        "",
        "TOKENS",
        "     ID EGID  EXPIRATION",
        "abcdef0 -1    forever",
        "",
        "USER TEMPLATE",
        'LANG="en"',
    ]
    assert sent(users, "one.user.info") == [(2,)]
    run(oneuser, "show")
    assert sent(users, "one.user.info")[-1] == (-1,)


def test_create_with_password_from_argument_and_file(users, run, tmp_path):
    users.answers["one.user.allocate"] = 7
    path = tmp_path / "password"
    path.write_text("from file\n")
    assert run(oneuser, "create", "bob", "pw").out == "ID: 7\n"
    run(oneuser, "create", "bob", path, "-r", "--driver", "ssh", "--group", "team,1")
    run(oneuser, "create", "bob", "pw", "--sha256")
    assert sent(users, "one.user.allocate") == [
        ("bob", "pw", "core"),
        ("bob", "from file", "ssh", [100, 1]),
        ("bob", hashlib.sha256(b"pw").hexdigest(), "core"),
    ]
    missing = run(oneuser, "create", "bob", tmp_path / "none", "-r")
    assert (missing.code, missing.err) == (255, f"Cannot read file: {tmp_path / 'none'}\n")


@pytest.mark.parametrize(
    ("arguments", "method", "parameters", "message"),
    [
        (["passwd", "ann", "new"], "one.user.passwd", (2, "new"), "Password changed"),
        (
            ["chauth", "ann", "ldap"],
            "one.user.chauth",
            (2, "ldap", ""),
            "Auth driver and password changed",
        ),
        (["chgrp", "ann", "team"], "one.user.chgrp", (2, 100), "Group changed"),
        (["addgroup", "2", "team"], "one.user.addgroup", (2, 100), "group added"),
        (["delgroup", "2", "1"], "one.user.delgroup", (2, 1), "group deleted"),
        (["enable", "ann"], "one.user.enable", (2, True), "enabled"),
        (["disable", "ann"], "one.user.enable", (2, False), "disabled"),
        (["delete", "ann"], "one.user.delete", (2,), "deleted"),
    ],
)
def test_actions_on_a_user(users, run, arguments, method, parameters, message):  # noqa: PLR0917
    users.answers[method] = 2
    result = run(oneuser, *arguments, "-v")
    assert (result.code, result.out) == (0, f"USER 2: {message}\n")
    assert sent(users, method) == [parameters]


def test_update_appends_or_replaces(users, run, tmp_path):
    users.answers["one.user.update"] = 2
    path = tmp_path / "template"
    path.write_text("A = 1\n")
    run(oneuser, "update", "2", path)
    run(oneuser, "update", "2", path, "-a")
    assert sent(users, "one.user.update") == [(2, "A = 1\n", 0), (2, "A = 1\n", 1)]
    missing = run(oneuser, "update", "2", tmp_path / "none")
    assert missing.err == f"{tmp_path / 'none'} cannot be read: No such file or directory\n"


def test_token_is_made_and_put_into_a_file(users, run, tmp_path):
    users.answers["one.user.login"] = "abcdef0123"
    assert run(oneuser, "token-create").out == "abcdef0123\n"
    assert run(oneuser, "token-create", "ann", "--time", "60", "--group", "team").code == 0
    assert sent(users, "one.user.login") == [
        ("oneadmin", "", 36000, -1),
        ("ann", "", 60, 100),
    ]
    result = run(oneuser, "token-set", "ann", "--token", "abc")
    path = tmp_path / ".one" / "abcdef01.token"
    assert result.out == f"export ONE_AUTH={path}; export ONE_EGID=-1\n"
    assert path.read_text() == "ann:abcdef0123\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(oneuser, "token-set", "ann", "--token", "zzz").err == "No token begins so.\n"


def test_group_list_and_show(users, run):
    assert run(onegroup, "list").out == (
        "  ID NAME                          USERS       VMS            MEMORY         CPU\n"
        " 100 team                              2         -                 -           -\n"
    )
    lines = [line.rstrip() for line in run(onegroup, "show", "team").out.splitlines()]
    assert lines == [
        "GROUP 100 INFORMATION",
        "ID             : 100",
        "NAME           : team",
        "",
        "GROUP TEMPLATE",
        'A="1"',
        "",
        "USERS",
        "ID",
        "2               *",
        "3",
    ]
    assert json.loads(run(onegroup, "show", "100", "-j").out)["GROUP"]["NAME"] == "team"


@pytest.mark.parametrize(
    ("arguments", "method", "parameters", "output"),
    [
        (["create", "new"], "one.group.allocate", ("new",), "ID: 100\n"),
        (["delete", "team"], "one.group.delete", (100,), "GROUP 100: deleted\n"),
        (["addadmin", "team", "ann"], "one.group.addadmin", (100, 2), "GROUP 100: admin added\n"),
        (["deladmin", "100", "2"], "one.group.deladmin", (100, 2), "GROUP 100: admin deleted\n"),
    ],
)
def test_actions_on_a_group(users, run, arguments, method, parameters, output):  # noqa: PLR0917
    users.answers[method] = 100
    assert run(onegroup, *arguments, "-v").out == output
    assert sent(users, method) == [parameters]
