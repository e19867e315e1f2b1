"""``one.document.*`` through a real server and pyone."""

import pyone
import pytest

pytestmark = pytest.mark.integration

TYPE = 200


@pytest.fixture
async def alice(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    return as_user("alice:secret")


@pytest.fixture
async def bob(one, as_user):
    await one("user.allocate", "bob", "secret", "core")
    return as_user("bob:secret")


async def test_allocate_gives_ids_from_zero_and_takes_name_out_of_the_template(one):
    assert await one("document.allocate", 'NAME="first" A="1"', TYPE) == 0
    assert await one("document.allocate", {"TEMPLATE": {"NAME": "second", "B": "<&>"}}, TYPE) == 1
    first = await one("document.info", 0)
    assert (first.ID, first.NAME, first.UID, first.GID) == (0, "first", 0, 0)
    assert (first.UNAME, first.GNAME) == ("oneadmin", "oneadmin")
    assert str(first.TYPE) == str(TYPE)
    assert dict(first.TEMPLATE) == {"A": "1"}
    assert dict((await one("document.info", 1)).TEMPLATE) == {"B": "<&>"}


async def test_a_new_document_is_its_owners_and_nobody_elses(alice, bob):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    permissions = (await alice("document.info", number)).PERMISSIONS
    assert (permissions.OWNER_U, permissions.OWNER_M, permissions.OWNER_A) == (1, 1, 0)
    assert (permissions.GROUP_U, permissions.OTHER_U) == (0, 0)
    with pytest.raises(pyone.OneAuthorizationException) as error:
        await bob("document.info", number)
    assert str(error.value) == (
        f"[one.document.info] User [3] : Not authorized to perform USE DOCUMENT [{number}]."
    )
    with pytest.raises(pyone.OneAuthorizationException, match=r"MANAGE DOCUMENT \[0\]"):
        await bob("document.update", number, "A=1", 0)


async def test_ids_are_not_reused(one):
    assert await one("document.allocate", 'NAME="a"', TYPE) == 0
    assert await one("document.delete", 0) == 0
    assert await one("document.allocate", 'NAME="a"', TYPE) == 1


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("A=1", "Invalid NAME, it cannot be empty"),
        ('NAME="a;b"', "Invalid NAME, char ';' is not allowed"),
        (f'NAME="{"x" * 129}"', "Invalid NAME, max length is 128 chars."),
        ("A=[", "Parse error: "),
        ("<A", "Parse error: XML Template malformed."),
    ],
)
async def test_allocate_refuses_bad_templates_and_changes_nothing(one, database, template, text):
    with pytest.raises(pyone.OneInternalException) as error:
        await one("document.allocate", template, TYPE)
    assert str(error.value).startswith(f"[one.document.allocate] {text}")
    assert database.applied == 0


async def test_update_replaces_or_merges(one):
    number = await one("document.allocate", 'NAME="a" A="1" B="2" V=[X="1",Y="2"]', TYPE)
    await one("document.update", number, 'B="3" B="4"', 1)
    merged = (await one("document.info", number)).TEMPLATE
    assert merged["A"] == "1"
    assert merged["B"] == ["3", "4"]
    assert dict(merged["V"]) == {"X": "1", "Y": "2"}
    await one("document.update", number, 'C="5"', 0)
    assert dict((await one("document.info", number)).TEMPLATE) == {"C": "5"}


async def test_update_refuses_another_type_and_bad_text(one, database):
    number = await one("document.allocate", 'NAME="a"', TYPE)
    before = database.applied
    with pytest.raises(pyone.OneApiException, match="Wrong update type"):
        await one("document.update", number, "A=1", 2)
    with pytest.raises(pyone.OneInternalException, match=r"Cannot update template\. Parse error"):
        await one("document.update", number, "A=[", 0)
    assert database.applied == before


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("document.info", ()),
        ("document.update", ("A=1", 0)),
        ("document.delete", ()),
        ("document.rename", ("b",)),
        ("document.lock", (1,)),
        ("document.unlock", ()),
        ("document.clone", ("b",)),
        ("document.chown", (0, 0)),
        ("document.chmod", (1,) * 9),
    ],
)
async def test_an_unknown_id_does_not_exist(one, method, parameters):
    with pytest.raises(pyone.OneNoExistsException) as error:
        await one(method, 7, *parameters)
    assert str(error.value) == f"[one.{method}] Error getting document [7]."


async def test_rename_needs_no_unique_name(one):
    await one("document.allocate", 'NAME="a"', TYPE)
    number = await one("document.allocate", 'NAME="b"', TYPE)
    assert await one("document.rename", number, "a") == number
    assert (await one("document.info", number)).NAME == "a"
    with pytest.raises(pyone.OneActionException, match="is not allowed"):
        await one("document.rename", number, "a/b")


async def test_chmod_opens_a_document_to_others(alice, bob):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    await alice("document.chmod", number, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    assert (await bob("document.info", number)).NAME == "a"
    with pytest.raises(pyone.OneInternalException, match="must be -1, 0 or 1"):
        await alice("document.chmod", number, 2, -1, -1, -1, -1, -1, -1, -1, -1)


async def test_chmod_of_an_admin_bit_needs_admin(alice):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    with pytest.raises(pyone.OneAuthorizationException, match="ADMIN DOCUMENT"):
        await alice("document.chmod", number, -1, -1, 1, -1, -1, -1, -1, -1, -1)
    # The bit as it is already is no change.
    await alice("document.chmod", number, -1, -1, 0, 1, -1, -1, -1, -1, -1)


async def test_chown_moves_a_document(one, alice, bob):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    with pytest.raises(pyone.OneAuthorizationException, match=r"MANAGE USER \[3\]"):
        await alice("document.chown", number, 3, -1)
    await one("document.chown", number, 3, -1)
    moved = await bob("document.info", number)
    assert (moved.UID, moved.UNAME, moved.GID) == (3, "bob", 1)
    with pytest.raises(pyone.OneNoExistsException, match=r"user \[77\]"):
        await one("document.chown", number, 77, -1)


async def test_clone_belongs_to_the_caller(one, alice):
    await one("document.allocate", 'NAME="a" A="1"', TYPE)
    with pytest.raises(pyone.OneAuthorizationException, match="USE DOCUMENT"):
        await alice("document.clone", 0, "copy")
    await one("document.chmod", 0, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    number = await alice("document.clone", 0, "copy")
    copy = await alice("document.info", number)
    assert (copy.NAME, copy.UID, dict(copy.TEMPLATE)) == ("copy", 2, {"A": "1"})


async def test_a_lock_holds_everybody_off(one, alice):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    assert await alice("document.lock", number, 2) == number
    lock = (await alice("document.info", number)).LOCK
    assert (lock.LOCKED, lock.OWNER) == (2, 2)
    with pytest.raises(pyone.OneAuthorizationException, match="MANAGE DOCUMENT"):
        await alice("document.update", number, "A=1", 0)
    with pytest.raises(pyone.OneAuthorizationException) as error:
        await one("document.delete", number)
    assert str(error.value) == "[one.document.delete] User [0] : DOCUMENT is locked. [0]."
    with pytest.raises(pyone.OneActionException, match="already locked"):
        await alice("document.lock", number, 1, True)
    await alice("document.unlock", number)
    assert (await alice("document.info", number)).LOCK is None
    await alice("document.update", number, "A=1", 0)


async def test_only_the_owner_or_an_admin_unlocks(one, alice, bob):
    number = await alice("document.allocate", 'NAME="a"', TYPE)
    await alice("document.chmod", number, -1, -1, -1, -1, 1, -1, -1, 1, -1)
    await alice("document.lock", number, 4)
    with pytest.raises(pyone.OneActionException, match="owned by another user"):
        await bob("document.unlock", number)
    with pytest.raises(pyone.OneActionException, match="Error trying to lock"):
        await bob("document.lock", number, 3)
    with pytest.raises(pyone.OneActionException, match="Wrong lock level specified"):
        await alice("document.lock", number, 5)
    await one("document.unlock", number)


def ids(pool):
    return [document.ID for document in pool.DOCUMENT]


async def test_pool_filters(one, alice, bob):
    for client in (one, alice, bob):
        await client("document.allocate", 'NAME="a"', TYPE)
    await one("document.allocate", 'NAME="other type"', TYPE + 1)
    assert ids(await one("documentpool.info", -2, -1, -1, TYPE)) == [2, 1, 0]
    assert ids(await alice("documentpool.info", -2, -1, -1, TYPE)) == [1]
    assert ids(await one("documentpool.info", -3, -1, -1, TYPE)) == [0]
    assert ids(await one("documentpool.info", 2, -1, -1, TYPE)) == [1]
    assert ids(await one("documentpool.info", -4, -1, -1, TYPE)) == [0]
    await bob("document.chmod", 2, -1, -1, -1, 1, -1, -1, -1, -1, -1)
    assert ids(await alice("documentpool.info", -2, -1, -1, TYPE)) == [2, 1]
    assert ids(await alice("documentpool.info", -1, -1, -1, TYPE)) == [2, 1]
    assert ids(await alice("documentpool.info", -3, -1, -1, TYPE)) == [1]
    with pytest.raises(pyone.OneApiException, match="Incorrect filter_flag"):
        await one("documentpool.info", -5, -1, -1, TYPE)


async def test_pool_ranges_pages_and_order(one):
    for number in range(5):
        await one("document.allocate", f'NAME="d{number}"', TYPE)
    assert ids(await one("documentpool.info", -2, 1, 3, TYPE)) == [3, 2, 1]
    assert ids(await one("documentpool.info", -2, 3, -1, TYPE)) == [4, 3]
    assert ids(await one("documentpool.info", -2, 1, -2, TYPE)) == [3, 2]
    assert ids(await one("documentpool.info", -2, 0, -3, TYPE)) == [4, 3, 2]
    assert ids(await one("documentpool.info", -2, -1, -1, 999)) == []
    await one("user.update", 0, "API_LIST_ORDER=ASC", 1)
    assert ids(await one("documentpool.info", -2, -1, 1, TYPE)) == [0, 1]


async def test_a_rule_shows_documents_to_a_user(one, alice):
    await one("document.allocate", 'NAME="a"', TYPE)
    await one("document.allocate", 'NAME="b"', TYPE)
    # #2 DOCUMENT/#1 USE #0
    rule = await one("acl.addrule", "100000002", "400100000001", "1")
    assert ids(await alice("documentpool.info", -2, -1, -1, TYPE)) == [1]
    assert (await alice("document.info", 1)).NAME == "b"
    await one("acl.delrule", rule)
    assert ids(await alice("documentpool.info", -2, -1, -1, TYPE)) == []


async def test_deleting_a_document_deletes_the_rules_about_it(one):
    await one("document.allocate", 'NAME="a"', TYPE)
    await one("acl.addrule", "100000001", "400100000000", "1")
    assert len((await one("acl.info")).ACL) == 4
    await one("document.delete", 0)
    assert len((await one("acl.info")).ACL) == 3


async def test_one_change_a_call(one, database):
    await one("document.allocate", 'NAME="a"', TYPE)
    assert database.applied == 1
    await one("document.update", 0, "A=1", 0)
    assert database.applied == 2
