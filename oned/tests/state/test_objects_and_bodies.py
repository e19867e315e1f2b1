"""Models and the bodies that they are stored as; bootstrap; portable statements."""

import hashlib
import re
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oned.raft.types import Member, ServerId
from oned.state import acl, counters, users
from oned.state.bootstrap import bootstrap_change
from oned.state.documents import Document
from oned.state.entry import decode, encode
from oned.state.groups import Group
from oned.state.names import check_name
from oned.state.permissions import Lock, Permissions
from oned.state.quotas import USERS, QuotaError, Quotas
from oned.state.users import LoginToken, User
from oned.state.zones import Zone, peer_endpoint, server_fault
from oned.storage import tables
from oned.template import Template


def template(text):
    return Template.parse(text)


OBJECTS = [
    Document(
        oid=4,
        name="a&b",
        uid=2,
        gid=1,
        uname="alice",
        gname="users",
        permissions=Permissions(0o644),
        lock=Lock(2, 7, 1_700_000_000, 3),
        type=100,
        template=template('A="<&>" B="]]" V=[X="1",Y=""]'),
    ),
    User(
        oid=2,
        uid=2,
        gid=1,
        gname="users",
        name="alice",
        uname="alice",
        groups={1, 100},
        password="]]><TEMPLATE>",
        driver="ssh",
        enabled=False,
        tokens=[LoginToken("a<b", -1, -1), LoginToken("c", 5, 100)],
        template=template('A="1"'),
    ),
    Group(oid=100, gid=100, name="lab", gname="lab", users={2, 10, 3}, admins={2}),
    Zone(
        oid=0,
        name="OpenNebula",
        state=1,
        servers={10: {"ID": "10", "NAME": "b", "ENDPOINT": "http://b"}, 2: {"ID": "2"}},
        template=template('ENDPOINT="http://x"'),
    ),
]


@pytest.mark.parametrize("made", OBJECTS, ids=lambda o: type(o).__name__)
def test_a_body_is_read_as_it_was_written(made):
    assert type(made).parse(made.body()) == made


def test_elements_come_in_opennebulas_order():
    def names(body):
        return re.findall(r"<(\w+)>", re.sub(r"<!\[CDATA\[.*?\]\]>", "", body))

    document, user, group, zone = (names(made.body()) for made in OBJECTS)
    assert document[:8] == ["DOCUMENT", "ID", "UID", "GID", "UNAME", "GNAME", "NAME", "TYPE"]
    assert document[8] == "PERMISSIONS"
    assert document[18:23] == ["LOCK", "LOCKED", "OWNER", "TIME", "REQ_ID"]
    assert user == [
        *("USER", "ID", "GID", "GROUPS", "ID", "ID", "GNAME", "NAME", "PASSWORD", "AUTH_DRIVER"),
        *("ENABLED", *("LOGIN_TOKEN", "TOKEN", "EXPIRATION_TIME", "EGID") * 2, "TEMPLATE", "A"),
    ]
    assert group[:4] == ["GROUP", "ID", "NAME", "TEMPLATE"]
    assert zone[:6] == ["ZONE", "ID", "NAME", "STATE", "TEMPLATE", "ENDPOINT"]
    # By number, not by text: 2 before 10.
    assert OBJECTS[3].body().index("[2]") < OBJECTS[3].body().index("[10]")
    assert "<USERS><ID>2</ID><ID>3</ID><ID>10</ID></USERS>" in OBJECTS[2].body()


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=50))
def test_any_password_text_survives(password):
    if "\ufffe" in password or "\uffff" in password:
        return
    user = User(name="a", password=password, driver="public")
    assert User.parse(user.body()).password == password


def test_tokens():
    user = User(name="a", password="")
    for number in range(10):
        assert user.add_token(LoginToken(str(number), 100, -1), 0)
    assert not user.add_token(LoginToken("more", 100, -1), 0)
    # The same token again is renewed, and expired ones make room.
    assert user.add_token(LoginToken("3", 200, -1), 0)
    assert user.add_token(LoginToken("more", 300, -1), 150)
    assert [token.token for token in user.tokens] == ["3", "more"]
    assert user.remove_token("3")
    assert not user.remove_token("3")
    assert LoginToken("x", users.NEVER, -1).is_valid(1e12)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ok name-1.2_ä", None),
        ("", "Invalid NAME, it cannot be empty"),
        ("a{", "Invalid NAME, char '{' is not allowed"),
        ("a\n", "Invalid NAME, char '\n' is not allowed"),
        ("x" * 128, None),
        ("x" * 129, "Invalid NAME, max length is 128 chars."),
    ],
)
def test_names(name, fault):
    assert check_name(name) == fault


@pytest.mark.parametrize(
    ("attributes", "peer"),
    [
        ({"ENDPOINT": "http://a.b:2633/RPC2"}, "a.b:2635"),
        ({"ENDPOINT": "https://[fd00::1]:2633/RPC2"}, "[fd00::1]:2635"),
        ({"ENDPOINT": "http://a", "ENDPOINT_PEER": "c:1"}, "c:1"),
    ],
)
def test_peer_endpoint(attributes, peer):
    assert peer_endpoint(attributes) == peer


@pytest.mark.parametrize("endpoint", ["http://[", "http://", "ftp://a", "a:1", "http://:80"])
def test_endpoints_that_are_none(endpoint):
    assert server_fault({"NAME": "n", "ENDPOINT": endpoint}, Zone(name="z"))


def test_quota_limits():
    quotas = Quotas()
    quotas.set(template('VM=[VMS="5"] NETWORK=[ID="3",LEASES="-2"]'), default=False)
    quotas.set(template('VM=[CPU="1.5"]'), default=False)
    assert quotas.limits["VM"][""]["VMS"] == "5"
    assert quotas.limits["VM"][""]["CPU"] == "1.5"
    stored = USERS.save(2, quotas, exists=False).parameters[1]
    assert Quotas.parse(stored) == quotas
    assert "<LEASES_USED><![CDATA[0]]></LEASES_USED>" in quotas.sections_xml(usage=True)
    with pytest.raises(QuotaError):
        quotas.set(template('VM=[VMS="inf"]'), default=False)


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:")
    for statement in tables.CREATE:
        made.execute(statement)
    yield made
    made.close()


class Tables:
    def __init__(self, connection):
        self._connection = connection

    def rows(self, sql, parameters=()):
        return self._connection.execute(sql, parameters).fetchall()


def run(connection, change):
    for statement in decode(encode(change)).statements:
        connection.execute(statement.sql, statement.parameters)


@pytest.mark.parametrize("seed", [None, Member(ServerId(0), "zone-0", "http://a/RPC2", "a:2635")])
def test_bootstrap_makes_a_complete_zone(connection, seed):
    change = bootstrap_change(
        oneadmin=("root", "secret"),
        serveradmin_password="service",
        zone_endpoint="http://vip:2633/RPC2",
        server=seed,
        now=1_700_000_000,
    )
    run(connection, change)
    tables = Tables(connection)
    root = users.by_name(tables, "root")
    assert (root.oid, root.gid, root.groups, root.driver) == (0, 0, {0}, "core")
    assert root.password == hashlib.sha256(b"secret").hexdigest()
    assert len(root.template.get("TOKEN_PASSWORD")) == 64
    service = users.by_name(tables, "serveradmin")
    assert (service.oid, service.driver) == (1, "server_cipher")
    assert Group.load(tables, 0).users == {0, 1}
    zone = Zone.load(tables, 0)
    assert zone.template.get("ENDPOINT") == "http://vip:2633/RPC2"
    assert list(zone.servers) == ([0] if seed else [])
    assert len(acl.Rules.read(tables, zone_id=0).rules) == 3
    assert {
        table: counters.last_oid(tables, table) for table in [*counters.FIRST_COUNTS, "zone_server"]
    } == {**counters.FIRST_COUNTS, "zone_server": 0 if seed else -1}
    assert "secret" not in str(change.statements[0])
    assert not any("'secret'" in str(s.parameters) for s in change.statements)


def test_counters_only_rise(connection):
    tables = Tables(connection)
    for oid in (5, 7, 6):
        if oid == 5:
            connection.execute(*_pair(counters.start("t", oid)))
        connection.execute(*_pair(counters.raise_to("t", oid)))
    assert counters.last_oid(tables, "t") == 7
    assert counters.last_oid(tables, "unknown") == -1


def _pair(statement):
    return statement.sql, statement.parameters


def test_statements_are_portable():
    statements = [
        statement for made in OBJECTS for statement in (made.insert(), made.update(), made.delete())
    ]
    for statement in statements:
        assert statement.sql.count("?") == len(statement.parameters)
        assert not re.search(r"REPLACE|CONFLICT|NOW\(|RANDOM|\$|:\w", statement.sql, re.IGNORECASE)
        assert all(type(value) in (str, int) for value in statement.parameters)
