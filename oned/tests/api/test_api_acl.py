"""``one.acl.*`` through a real server and pyone."""

import pyone
import pytest

pytestmark = pytest.mark.integration


async def test_a_new_zone_has_three_rules(one):
    pool = await one("acl.info")
    assert [(rule.ID, rule.STRING) for rule in pool.ACL] == [
        (0, "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *"),
        (1, "* ZONE/* USE *"),
        (2, "* MARKETPLACE+MARKETPLACEAPP/* USE *"),
    ]
    assert pool.ACL[1].RESOURCE == "800400000000"


async def test_add_and_delete(one):
    assert await one("acl.addrule", "100000000", "2400000000", "1") == 3
    rule = (await one("acl.info")).ACL[3]
    assert rule.STRING == "#0 HOST/* USE #0"
    assert (rule.USER, rule.RIGHTS, rule.ZONE) == ("100000000", "1", "100000000")
    with pytest.raises(pyone.OneInternalException) as error:
        await one("acl.addrule", "100000000", "2400000000", "1", "100000000")
    assert str(error.value) == "[one.acl.addrule] Rule #0 HOST/* USE #0 already exists"
    assert await one("acl.delrule", 3) == 3
    with pytest.raises(pyone.OneInternalException, match="Rule 3 does not exist"):
        await one("acl.delrule", 3)
    assert await one("acl.addrule", "100000000", "2400000000", "1", "400000000") == 4


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (("100000000", "2400000000", "0"), "wrong [rights], it cannot be 0"),
        (("100000000", "2400000000", "10"), "wrong [rights], it cannot be bigger than 0xF"),
        (("100000000", "400000000", "1"), "[resource] type is missing"),
        (("0", "2400000000", "1"), "[user] is missing one of"),
        (("300000000", "2400000000", "1"), "INDIVIDUAL (#) and GROUP (@) bits are exclusive"),
        (("400000001", "2400000000", "1"), "when using the ALL bit, [user] ID must be 0"),
        (("100000000", "2200000001", "1"), "[resource] GROUP(@) selector cannot be applied"),
        (("100000000", "4800000001", "1", "400000000"), None),
        (("100000000", "1800000001", "1"), "[resource] CLUSTER(%) selector can be applied only"),
        (("100000000", "80400000000", "1"), "wrong [resource] type"),
        (("zz", "2400000000", "1"), "[user] is not a hexadecimal number"),
        (("100000000", "ffffffffffffffffff", "1"), "[resource] is not a hexadecimal number"),
    ],
)
async def test_malformed_rules(one, database, rule, text):
    if text is None:
        assert await one("acl.addrule", *rule) == 3
        return
    with pytest.raises(pyone.OneInternalException) as error:
        await one("acl.addrule", *rule)
    assert text in str(error.value)
    assert database.applied == 0


async def test_rules_are_oneadmins(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    for call in (("acl.info",), ("acl.delrule", 0), ("acl.addrule", "1", "1", "1")):
        with pytest.raises(pyone.OneAuthorizationException) as error:
            await alice(*call)
        assert str(error.value).endswith("User [2] : Not authorized to perform MANAGE ACL.")


async def test_a_rule_counts_in_its_zone_only(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    # #2 USER/* USE #7
    await one("acl.addrule", "100000002", "10400000000", "1", "100000007")
    with pytest.raises(pyone.OneAuthorizationException):
        await alice("user.info", 0)
    await one("acl.addrule", "100000002", "10400000000", "1", "400000000")
    assert (await alice("user.info", 0)).NAME == "oneadmin"
