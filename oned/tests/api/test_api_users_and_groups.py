"""``one.user.*``, ``one.group.*``, their pools and quotas, through a real server and pyone."""

import hashlib

import pyone
import pytest

from oned.api.auth import seal_cipher_token

pytestmark = pytest.mark.integration


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_new_zone_has_oneadmin_and_serveradmin(one):
    pool = await one("userpool.info")
    assert [(user.ID, user.NAME, user.AUTH_DRIVER) for user in pool.USER] == [
        (1, "serveradmin", "server_cipher"),
        (0, "oneadmin", "core"),
    ]
    me = await one("user.info", -1)
    assert (me.ID, me.GID, me.GNAME, me.ENABLED) == (0, 0, "oneadmin", 1)
    assert digest("opennebula") == me.PASSWORD
    assert me.GROUPS.ID == [0]
    assert me.VM_QUOTA is not None
    assert me.DEFAULT_USER_QUOTAS is not None


async def test_allocate_and_log_in(one, as_user):
    number = await one("user.allocate", "alice", "se:cret", "")
    assert number == 2
    alice = await as_user("alice:se:cret")("user.info", -1)
    assert (alice.ID, alice.GID, alice.GNAME) == (2, 1, "users")
    assert digest("se:cret") == alice.PASSWORD
    assert (await one("group.info", 1)).USERS.ID == [2]


async def test_allocate_into_groups(one):
    await one("group.allocate", "a")
    await one("group.allocate", "b")
    await one("user.allocate", "alice", "secret", "core", [101, 100])
    alice = await one("user.info", 2)
    assert (alice.GID, alice.GNAME, alice.GROUPS.ID) == (101, "b", [100, 101])
    for group in (100, 101):
        assert (await one("group.info", group)).USERS.ID == [2]


@pytest.mark.parametrize(
    ("name", "password", "text"),
    [
        ("oneadmin", "x", "NAME is already taken by USER 0."),
        ("a b", "x", "Invalid NAME, char ' ' is not allowed"),
        ("a:b", "x", "Invalid NAME, char ':' is not allowed"),
        ("", "x", "Invalid NAME, it cannot be empty"),
        ("alice", "", "Invalid password, it cannot be empty"),
        ("alice", "a b", "Invalid password, character ' ' is not allowed"),
    ],
)
async def test_allocate_refuses_bad_names_and_passwords(one, database, name, password, text):
    with pytest.raises(pyone.OneInternalException) as error:
        await one("user.allocate", name, password, "core")
    assert str(error.value) == f"[one.user.allocate] {text}"
    assert database.applied == 0


async def test_allocate_is_oneadmins_right(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    with pytest.raises(pyone.OneAuthorizationException) as error:
        await as_user("alice:secret")("user.allocate", "bob", "secret", "core")
    assert str(error.value) == (
        "[one.user.allocate] User [2] : Not authorized to perform CREATE USER."
    )


async def test_allocate_into_an_unknown_group(one):
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting group \[77\]\."):
        await one("user.allocate", "alice", "secret", "core", [77])


@pytest.mark.parametrize("session", ["alice:wrong", "nobody:secret", "alice", "", "alice:"])
async def test_a_bad_session_is_refused(one, as_user, session):
    await one("user.allocate", "alice", "secret", "core")
    with pytest.raises(pyone.OneAuthenticationException) as error:
        await as_user(session)("user.info", -1)
    assert str(error.value) == ("[one.user.info] User couldn't be authenticated, aborting call.")


async def test_a_new_password_ends_old_sessions_and_tokens(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    token = await alice("user.login", "alice", "", 3600)
    assert await alice("user.passwd", 2, "better") == 2
    for session in ("alice:secret", f"alice:{token}"):
        with pytest.raises(pyone.OneAuthenticationException):
            await as_user(session)("user.info", -1)
    assert (await as_user("alice:better")("user.info", -1)).ID == 2


async def test_passwords_of_external_drivers_are_kept_as_given(one, as_user):
    await one("user.allocate", "web", "plain]]>text", "public")
    assert (await one("user.info", 2)).PASSWORD == "plain]]>text"
    with pytest.raises(pyone.OneAuthenticationException):
        await as_user("web:plain]]>text")("user.info", -1)
    token = await one("user.login", "web", "", 60, 1)
    assert (await as_user(f"web:{token}")("user.info", -1)).ID == 2
    with pytest.raises(pyone.OneActionException, match="Password for driver public cannot"):
        await as_user(f"web:{token}")("user.passwd", 2, "new")
    await one("user.chauth", 2, "core", "secret")
    assert (await as_user("web:secret")("user.info", -1)).AUTH_DRIVER == "core"


async def test_a_disabled_user_is_refused(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    await as_user("alice:secret")("user.info", -1)
    await one("user.enable", 2, False)
    with pytest.raises(pyone.OneAuthenticationException):
        await as_user("alice:secret")("user.info", -1)
    await one("user.enable", 2, True)
    await as_user("alice:secret")("user.info", -1)
    with pytest.raises(pyone.OneActionException, match="Cannot enable/disable oneadmin user"):
        await one("user.enable", 0, False)


async def test_login_tokens(one, as_user, server):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    token = await alice("user.login", "alice", "", 100)
    assert len(token) == 64
    assert await alice("user.login", "alice", "mine", -1) == "mine"
    shown = (await alice("user.info", -1)).LOGIN_TOKEN
    assert [(item.TOKEN, item.EGID) for item in shown] == [(token, -1), ("mine", -1)]
    for secret in (token, "mine"):
        await as_user(f"alice:{secret}")("user.info", -1)

    server._flow._services.authenticator._clock = lambda: shown[0].EXPIRATION_TIME + 1
    with pytest.raises(pyone.OneAuthenticationException):
        await as_user(f"alice:{token}")("user.info", -1)
    await as_user("alice:mine")("user.info", -1)

    assert await alice("user.login", "alice", "mine", 0) == "mine"
    with pytest.raises(pyone.OneApiException, match="Could not find token: mine"):
        await alice("user.login", "alice", "mine", 0)
    assert await alice("user.login", "alice", "", 0) == " "
    with pytest.raises(pyone.OneAuthenticationException):
        await as_user("alice:mine")("user.info", -1)
    with pytest.raises(pyone.OneApiException, match="Wrong valid period for token"):
        await alice("user.login", "alice", "", -2)
    with pytest.raises(pyone.OneNoExistsException):
        await alice("user.login", "nobody", "", 10)
    with pytest.raises(pyone.OneAuthorizationException, match=r"MANAGE USER \[0\]"):
        await alice("user.login", "oneadmin", "", 10)


async def test_ten_tokens_are_the_limit(one):
    for _ in range(10):
        await one("user.login", "oneadmin", "", -1)
    with pytest.raises(pyone.OneApiException, match="Max number of tokens limit reached"):
        await one("user.login", "oneadmin", "", -1)


async def test_a_token_can_be_limited_to_a_group(one, as_user):
    await one("group.allocate", "lab")
    await one("user.allocate", "alice", "secret", "core", [1, 100])
    alice = as_user("alice:secret")
    token = await alice("user.login", "alice", "", 100, 100)
    limited = as_user(f"alice:{token}")

    # Only group 1 may create documents, and this session is not in it.
    with pytest.raises(pyone.OneAuthorizationException, match="CREATE DOCUMENT"):
        await limited("document.allocate", 'NAME="a"', 1)
    with pytest.raises(pyone.OneApiException, match="Cannot create a full token"):
        await limited("user.login", "alice", "", 100)
    with pytest.raises(pyone.OneApiException, match="EGID is not in user group list"):
        await alice("user.login", "alice", "", 100, 101)
    await one("user.delgroup", 2, 100)
    with pytest.raises(pyone.OneAuthenticationException):
        await limited("user.info", -1)


async def test_a_service_acts_for_a_user(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    stored = (await one("user.info", 1)).PASSWORD
    assert stored == digest("service-secret")

    def session(prefix, expires=2_000_000_000, key=stored):
        return f"{prefix}:{seal_cipher_token(key, 'serveradmin:alice', expires)}"

    me = await as_user(session("serveradmin:alice"))("user.info", -1)
    assert me.NAME == "alice"
    assert (await as_user(session("serveradmin:alice:1"))("user.info", -1)).NAME == "alice"
    for bad in (
        session("serveradmin:oneadmin"),
        session("serveradmin:alice", expires=1),
        session("serveradmin:alice", key=digest("other")),
        session("serveradmin:alice:77"),
        "serveradmin:alice:AAAA",
        f"serveradmin:{stored}",
    ):
        with pytest.raises(pyone.OneAuthenticationException):
            await as_user(bad)("user.info", -1)


async def test_users_see_and_change_themselves_only(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    assert [user.ID for user in (await alice("userpool.info")).USER] == [2]
    with pytest.raises(pyone.OneAuthorizationException, match=r"USE USER \[0\]"):
        await alice("user.info", 0)
    assert await alice("user.update", 2, 'LANG="de"', 0) == 2
    assert (await alice("user.info", -1)).TEMPLATE["LANG"] == "de"
    for parameters in (("user.delete", 2), ("user.enable", 2, False), ("user.chauth", 2, "x", "")):
        with pytest.raises(pyone.OneAuthorizationException, match=r"ADMIN USER \[2\]"):
            await alice(*parameters)


async def test_restricted_attributes_are_oneadmins(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    for append, text in ((0, "Tried to change restricted"), (1, "includes a restricted")):
        with pytest.raises(pyone.OneInternalException, match=text):
            await alice("user.update", 2, 'VM_ADMIN_OPERATIONS="migrate"', append)
    await one("user.update", 2, 'VM_ADMIN_OPERATIONS="migrate"', 1)
    await alice("user.update", 2, 'VM_ADMIN_OPERATIONS="migrate" A="1"', 0)
    with pytest.raises(pyone.OneInternalException, match="Tried to change restricted"):
        await alice("user.update", 2, 'A="1"', 0)


async def test_delete_leaves_no_trace(one, as_user, database):
    await one("user.allocate", "alice", "secret", "core")
    await one("user.quota", 2, 'VM=[VMS="5"]')
    await one("group.addadmin", 1, 2)
    assert len((await one("acl.info")).ACL) == 7
    assert await one("user.delete", 2) == 2
    group = await one("group.info", 1)
    assert (group.USERS.ID, group.ADMINS.ID) == ([], [])
    assert len((await one("acl.info")).ACL) == 3
    assert database.rows("SELECT * FROM user_quotas") == []
    with pytest.raises(pyone.OneAuthenticationException):
        await as_user("alice:secret")("user.info", -1)
    with pytest.raises(pyone.OneActionException) as error:
        await one("user.delete", 0)
    assert str(error.value) == ("[one.user.delete] Cannot delete user. oneadmin cannot be deleted.")
    assert await one("user.allocate", "alice", "secret", "core") == 3


async def test_group_membership(one):
    await one("group.allocate", "lab")
    await one("user.allocate", "alice", "secret", "core")
    await one("user.addgroup", 2, 100)
    with pytest.raises(pyone.OneActionException, match="User is already in this group"):
        await one("user.addgroup", 2, 100)
    assert (await one("group.info", 100)).USERS.ID == [2]
    with pytest.raises(pyone.OneActionException, match="Cannot remove user from the primary"):
        await one("user.delgroup", 2, 1)
    await one("user.delgroup", 2, 100)
    with pytest.raises(pyone.OneActionException, match="User is not part of this group"):
        await one("user.delgroup", 2, 100)

    # To a new group the user moves, to one of its own it only changes the primary one.
    await one("user.chgrp", 2, 100)
    assert (await one("user.info", 2)).GROUPS.ID == [100]
    assert (await one("group.info", 1)).USERS.ID == []
    await one("user.addgroup", 2, 1)
    await one("user.chgrp", 2, 1)
    alice = await one("user.info", 2)
    assert (alice.GID, alice.GNAME, alice.GROUPS.ID) == (1, "users", [1, 100])
    with pytest.raises(pyone.OneInternalException, match="cannot be moved outside of the group"):
        await one("user.chgrp", 0, 100)
    with pytest.raises(pyone.OneNoExistsException, match=r"group \[77\]"):
        await one("user.chgrp", 2, 77)
    with pytest.raises(pyone.OneApiException, match="Wrong group ID"):
        await one("user.chgrp", 2, -1)


async def test_groups(one, as_user):
    assert await one("group.allocate", "lab") == 100
    with pytest.raises(pyone.OneInternalException, match=r"already taken by GROUP 100\."):
        await one("group.allocate", "lab")
    await one("group.update", 100, 'A="1"', 0)
    assert (await one("group.info", 100)).TEMPLATE["A"] == "1"
    assert [group.ID for group in (await one("grouppool.info")).GROUP] == [100, 1, 0]
    await one("user.allocate", "alice", "secret", "core", [100])
    alice = as_user("alice:secret")
    assert (await alice("group.info", -1)).ID == 100
    assert [group.ID for group in (await alice("grouppool.info")).GROUP] == [100]
    with pytest.raises(pyone.OneAuthorizationException, match=r"ADMIN GROUP \[100\]"):
        await alice("group.update", 100, "A=2", 0)
    with pytest.raises(pyone.OneActionException, match=r"Group 100 is not empty\."):
        await one("group.delete", 100)
    with pytest.raises(pyone.OneActionException, match=r"System Groups \(ID < 100\) cannot be"):
        await one("group.delete", 1)
    await one("user.delete", 2)
    assert await one("group.delete", 100) == 100
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting group \[100\]\."):
        await one("group.info", 100)


async def test_a_group_administrator_manages_the_groups_users(one, as_user):
    await one("group.allocate", "lab")
    await one("user.allocate", "boss", "secret", "core", [100])
    await one("user.allocate", "alice", "secret", "core", [100])
    boss = as_user("boss:secret")
    with pytest.raises(pyone.OneAuthorizationException):
        await boss("user.info", 3)
    await one("group.addadmin", 100, 2)
    assert (await one("group.info", 100)).ADMINS.ID == [2]
    assert (await boss("user.info", 3)).NAME == "alice"
    assert [user.ID for user in (await boss("userpool.info")).USER] == [3, 2]
    await boss("user.passwd", 3, "reset")
    strings = [rule.STRING for rule in (await one("acl.info")).ACL][3:]
    assert strings == [
        "#2 USER/@100 USE+MANAGE+ADMIN+CREATE *",
        "#2 VM+NET+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VROUTER+VMGROUP+BACKUPJOB/@100 USE+MANAGE *",
        "#2 VROUTER/* CREATE *",
        "#2 GROUP/#100 MANAGE *",
    ]
    with pytest.raises(pyone.OneInternalException, match="already an administrator"):
        await one("group.addadmin", 100, 2)
    with pytest.raises(pyone.OneInternalException, match="is not part of Group"):
        await one("group.addadmin", 100, 0)
    await one("group.deladmin", 100, 2)
    assert len((await one("acl.info")).ACL) == 3
    with pytest.raises(pyone.OneAuthorizationException):
        await boss("user.info", 3)


async def test_an_administrator_of_two_groups_keeps_what_both_give(one):
    for name in ("a", "b"):
        await one("group.allocate", name)
    await one("user.allocate", "boss", "secret", "core", [100, 101])
    await one("group.addadmin", 100, 2)
    await one("group.addadmin", 101, 2)
    await one("group.deladmin", 100, 2)
    strings = [rule.STRING for rule in (await one("acl.info")).ACL]
    assert "#2 VROUTER/* CREATE *" in strings
    assert not any("100" in text for text in strings)
    await one("group.deladmin", 101, 2)
    assert len((await one("acl.info")).ACL) == 3


async def test_quotas_are_kept_and_checked(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    await one("user.quota", 2, 'VM=[VMS="5", MEMORY="1024"] DATASTORE=[ID="1", SIZE="10"]')
    alice = await one("user.info", 2)
    (quota,) = alice.VM_QUOTA.VM
    assert (str(quota.VMS), str(quota.VMS_USED), str(quota.CPU)) == ("5", "0", "-1")
    assert [str(item.SIZE) for item in alice.DATASTORE_QUOTA.DATASTORE] == ["10"]
    for bad in ('VM=[VMS="-3"]', 'VM=[VMS="x"]', 'DATASTORE=[SIZE="1"]', 'VM=[VMS="nan"]'):
        with pytest.raises(pyone.OneActionException, match="Negative limits or bad format"):
            await one("user.quota", 2, bad)
    with pytest.raises(pyone.OneActionException, match="Cannot set quotas for oneadmin user"):
        await one("user.quota", 0, 'VM=[VMS="1"]')
    with pytest.raises(pyone.OneActionException, match="Cannot set quotas for oneadmin group"):
        await one("group.quota", 0, 'VM=[VMS="1"]')
    await one("group.quota", 1, 'VM=[VMS="7"]')
    assert str((await one("group.info", 1)).VM_QUOTA.VM[0].VMS) == "7"
    with pytest.raises(pyone.OneAuthorizationException, match="oneadmin group"):
        await as_user("alice:secret")("userquota.update", 'VM=[VMS="1"]')


async def test_default_quotas(one):
    await one("userquota.update", 'VM=[VMS="9"]')
    assert str((await one("user.info", 0)).DEFAULT_USER_QUOTAS.VM_QUOTA.VM.VMS) == "9"
    with pytest.raises(pyone.OneActionException, match="Only one default VM quota"):
        await one("userquota.update", 'VM=[VMS="9"] VM=[VMS="8"]')
    with pytest.raises(pyone.OneActionException, match="CLUSTER_IDS"):
        await one("groupquota.update", 'VM=[VMS="9", CLUSTER_IDS="1"]')
    # pyone has no binding for this root; it reads it as another one.
    assert (await one("userquota.info")) is not None
