"""``oneacl``: the text form of rules, and the table."""

import pytest

from oned.cli.oneacl import encode_rule, oneacl
from oned.cli.resource import CommandError

RULES = (
    "<ACL_POOL><ACL><ID>0</ID><USER>200000001</USER><RESOURCE>1c800000000</RESOURCE>"
    "<RIGHTS>8</RIGHTS><ZONE>400000000</ZONE>"
    "<STRING>@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *</STRING></ACL>"
    "<ACL><ID>6</ID><USER>100000005</USER><RESOURCE>1</RESOURCE><RIGHTS>7</RIGHTS><ZONE>1</ZONE>"
    "<STRING>#5 HOST+MARKETPLACEAPP/%100 USE+MANAGE+ADMIN #0</STRING></ACL></ACL_POOL>"
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("#0 HOST/* USE #0", ("100000000", "2400000000", "1", "100000000")),
        ("@103 VM+IMAGE/#7 USE+MANAGE", ("200000067", "9100000007", "3")),
        ("* zone/@1 admin+create *", ("400000000", "800200000001", "c", "400000000")),
        ("#5 HOST/%100 MANAGE", ("100000005", "2800000064", "2")),
    ],
)
def test_rule_becomes_hexadecimal_numbers(text, numbers):
    assert encode_rule(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#5 HOST/*", 'The rule "#5 HOST/*" must be <user> <resource> <rights> [<zone>]'),
        ("%5 HOST/* USE", 'The user "%5" must be #<id>, @<id> or *'),
        ("5 HOST/* USE", 'The user "5" must be #<id>, @<id> or *'),
        ("#5 HOST USE", 'The resource "HOST" must be TYPE'),
        ("#5 HOOK/* USE", 'The resource type "HOOK" is not one of VM, HOST, NET'),
        ("#5 HOST/5 USE", 'The resource "5" must be #<id>, @<id>, %<id> or *'),
        ("#5 HOST/* SEE", 'The right "SEE" is not one of USE, MANAGE, ADMIN, CREATE'),
        ("#5 HOST/* USE @0", 'The zone "@0" must be #<id> or *'),
    ],
)
def test_wrong_rule_names_the_part(text, message):
    with pytest.raises(CommandError) as caught:
        encode_rule(text)
    assert str(caught.value).startswith(message)


def test_create_from_one_text_or_several_arguments(front_end, run, monkeypatch):
    monkeypatch.setenv("ONE_XMLRPC", front_end.endpoint)
    front_end.answers["one.acl.addrule"] = 9
    assert run(oneacl, "create", "#0 HOST/* USE #0").out == "ID: 9\n"
    assert run(oneacl, "create", "#0", "HOST/*", "USE").out == "ID: 9\n"
    assert [call[2:] for call in front_end.calls] == [
        ("100000000", "2400000000", "1", "100000000"),
        ("100000000", "2400000000", "1"),
    ]
    wrong = run(oneacl, "create", "nonsense")
    assert (wrong.code, wrong.out) == (255, "")


def test_list_layout(front_end, run, monkeypatch):
    monkeypatch.setenv("ONE_XMLRPC", front_end.endpoint)
    front_end.answers["one.acl.info"] = RULES
    assert run(oneacl, "list").out == (
        "   ID     USER RES_VHNIUTGDCOZSvRMAPtB   RID OPE_UMAC  ZONE\n"
        "    0       @1     V--I-T---O-S----P-B     *     ---c     *\n"
        "    6       #5     -H-------------A---  %100     uma-    #0\n"
    )
    assert run(oneacl, "list", "-x").out.startswith("<ACL_POOL>\n  <ACL>\n    <ID>0</ID>")


def test_delete_takes_ids_only(front_end, run, monkeypatch):
    monkeypatch.setenv("ONE_XMLRPC", front_end.endpoint)
    front_end.answers["one.acl.delrule"] = lambda number: number
    assert run(oneacl, "delete", "3..4", "-v").out == "ACL 3: deleted\nACL 4: deleted\n"
    wrong = run(oneacl, "delete", "nope")
    assert (wrong.code, wrong.err) == (255, '"nope" is no list of rule ids, such as 1,8..15.\n')
