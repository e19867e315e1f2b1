"""Permission bits, locks, and the encoding and evaluation of access rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oned.state.acl import (
    ALL,
    CLUSTER,
    DEFAULT_RULES,
    GROUP,
    INDIVIDUAL,
    ObjectType,
    Rule,
    Rules,
    group_admin_rules,
    parse_hex,
)
from oned.state.callers import Caller
from oned.state.permissions import KEEP, Lock, Permissions, Right


def caller(uid=5, *groups):
    groups = groups or (1,)
    return Caller(uid, groups[0], "u", "g", frozenset(groups), 0o177)


def rules(*made):
    return Rules(made, zone_id=0)


@pytest.mark.parametrize(
    ("umask", "privileged", "other", "mode"),
    [
        (0o177, False, True, 0o600),
        (0o177, True, True, 0o600),
        (0o137, True, True, 0o640),
        (0o000, True, True, 0o777),
        (0o000, False, True, 0o666),
        (0o000, False, False, 0o660),
    ],
)
def test_umask(umask, privileged, other, mode):
    made = Permissions.from_umask(umask, privileged=privileged, other_enabled=other)
    assert made == Permissions(mode)


@given(st.integers(0, 0o777))
def test_permissions_survive_xml(mode):
    xml = Permissions(mode).to_xml()
    assert xml.startswith("<PERMISSIONS><OWNER_U>")
    names = ["OWNER_U", "OWNER_M", "OWNER_A", "GROUP_U", "GROUP_M", "GROUP_A"]
    names += ["OTHER_U", "OTHER_M", "OTHER_A"]
    fields = {name: "1" if mode >> (8 - at) & 1 else "0" for at, name in enumerate(names)}
    assert xml == (
        "<PERMISSIONS>"
        + "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        + "</PERMISSIONS>"
    )
    assert Permissions.from_fields(fields) == Permissions(mode)


def test_chmod_keeps_sets_and_clears():
    changed = Permissions(0o640).changed([KEEP, 0, 1, KEEP, KEEP, KEEP, 1, KEEP, KEEP])
    assert changed == Permissions(0o544)
    with pytest.raises(ValueError, match="must be -1, 0 or 1"):
        Permissions(0).changed([2] * 9)


@pytest.mark.parametrize(
    ("level", "blocked"),
    [
        (1, {Right.USE, Right.MANAGE, Right.ADMIN}),
        (2, {Right.MANAGE, Right.ADMIN}),
        (3, {Right.ADMIN}),
    ],
)
def test_lock_levels(level, blocked):
    lock = Lock(level, 0, 0)
    assert {right for right in Right if lock.blocks(right)} == blocked


def test_the_default_rules_have_opennebulas_numbers():
    assert [(r.user, r.resource, r.rights, r.zone) for r in DEFAULT_RULES] == [
        (8589934593, 81419471691972608, 8, 17179869184),
        (17179869184, 140754668224512, 1, 17179869184),
        (17179869184, 6755416620924928, 1, 17179869184),
    ]
    assert all(not rule.faults() for rule in DEFAULT_RULES)
    assert all(not rule.faults() for rule in group_admin_rules(3, 100))


def test_text_form():
    rule = Rule(INDIVIDUAL | 7, ObjectType.HOST | ObjectType.NET | CLUSTER | 5, 6, INDIVIDUAL)
    assert str(rule) == "#7 HOST+NET/%5 MANAGE+ADMIN #0"
    assert not rule.faults()
    assert str(Rule(0, 0, 0, 0)) == "?? /??  ??"
    assert "<RESOURCE>6800000005</RESOURCE>" in rule.to_xml()


@given(
    st.integers(-1, 2**63 - 1),
    st.integers(-1, 2**63 - 1),
    st.integers(-1, 32),
    st.integers(-1, 2**63 - 1),
)
def test_a_rule_without_faults_says_what_it_means(user, resource, rights, zone):
    rule = Rule(user, resource, rights, zone)
    if not rule.faults():
        assert "??" not in str(rule)
        assert "/ " not in str(rule)
    str(rule)


@pytest.mark.parametrize("text", ["", "g", "0x", "1_0", "-1", "8000000000000000", " "])
def test_hexadecimal_parameters_that_are_none(text):
    assert parse_hex(text) is None


@pytest.mark.parametrize(("text", "number"), [("ff", 255), ("0xFF", 255), ("00000001", 1)])
def test_hexadecimal_parameters(text, number):
    assert parse_hex(text) == number


DOCUMENT = ObjectType.DOCUMENT


@pytest.mark.parametrize(
    ("rule", "right", "oid", "gid", "allowed"),
    [
        (Rule(INDIVIDUAL | 5, DOCUMENT | ALL, 1, ALL), Right.USE, 3, 9, True),
        (Rule(INDIVIDUAL | 6, DOCUMENT | ALL, 1, ALL), Right.USE, 3, 9, False),
        (Rule(GROUP | 1, DOCUMENT | ALL, 1, ALL), Right.USE, 3, 9, True),
        (Rule(GROUP | 2, DOCUMENT | ALL, 1, ALL), Right.USE, 3, 9, False),
        (Rule(ALL, DOCUMENT | ALL, 1, ALL), Right.USE, 3, 9, True),
        (Rule(ALL, DOCUMENT | ALL, 1, ALL), Right.MANAGE, 3, 9, False),
        (Rule(ALL, DOCUMENT | ALL, 3, ALL), Right.MANAGE, 3, 9, True),
        (Rule(ALL, DOCUMENT | INDIVIDUAL | 3, 1, INDIVIDUAL), Right.USE, 3, 9, True),
        (Rule(ALL, DOCUMENT | INDIVIDUAL | 4, 1, INDIVIDUAL), Right.USE, 3, 9, False),
        (Rule(ALL, DOCUMENT | GROUP | 9, 1, ALL), Right.USE, 3, 9, True),
        (Rule(ALL, DOCUMENT | GROUP | 8, 1, ALL), Right.USE, 3, 9, False),
        (Rule(ALL, ObjectType.VM | ALL, 1, ALL), Right.USE, 3, 9, False),
        (Rule(ALL, DOCUMENT | ALL, 1, INDIVIDUAL | 7), Right.USE, 3, 9, False),
        (Rule(ALL, DOCUMENT | ALL, 1, INDIVIDUAL | 0), Right.USE, 3, 9, True),
        (Rule(ALL, DOCUMENT | ALL, 8, ALL), Right.CREATE, -1, -1, True),
        (Rule(ALL, DOCUMENT | INDIVIDUAL | 0, 8, INDIVIDUAL), Right.CREATE, -1, -1, False),
        (Rule(ALL, DOCUMENT | GROUP | 1, 8, ALL), Right.CREATE, -1, -1, False),
    ],
)
def test_evaluation(rule, right, oid, gid, allowed):
    assert rules(rule).allow(caller(), right, DOCUMENT, oid, gid) is allowed


def test_rights_of_two_rules_do_not_add_up():
    pair = rules(
        Rule(ALL, DOCUMENT | ALL, int(Right.USE), ALL),
        Rule(ALL, DOCUMENT | ALL, int(Right.ADMIN), ALL),
    )
    assert not pair.allow(caller(), Right.USE | Right.ADMIN, DOCUMENT, 1, 1)


def test_what_rules_make_visible():
    made = rules(
        Rule(ALL, DOCUMENT | INDIVIDUAL | 4, 1, INDIVIDUAL),
        Rule(GROUP | 1, DOCUMENT | GROUP | 100, 3, ALL),
        Rule(GROUP | 1, DOCUMENT | GROUP | 101, 2, ALL),
        Rule(INDIVIDUAL | 6, DOCUMENT | ALL, 1, ALL),
    )
    shown = made.visible(caller(), DOCUMENT)
    assert (shown.everything, shown.oids, shown.gids) == (False, {4}, {100})
    assert made.visible(caller(6), DOCUMENT).everything


@pytest.mark.parametrize(
    ("rule", "group", "found"),
    [
        (Rule(GROUP | 100, DOCUMENT | ALL, 1, ALL), 100, True),
        (Rule(ALL, DOCUMENT | GROUP | 100, 1, ALL), 100, True),
        (Rule(ALL, DOCUMENT | INDIVIDUAL | 100, 1, ALL), 100, False),
        (Rule(GROUP | 101, DOCUMENT | ALL, 1, ALL), 100, False),
    ],
)
def test_rules_that_name_a_group(rule, group, found):
    assert rule.names_group(group) is found
