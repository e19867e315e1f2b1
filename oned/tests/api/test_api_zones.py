"""``one.zone.*`` and ``one.system.*`` through a real server and pyone."""

import pyone
import pytest

from oned.raft.types import Configuration, Role, ServerId

pytestmark = pytest.mark.integration


def server(number, **more):
    attributes = {
        "NAME": f"zone-{number}",
        "ENDPOINT": f"http://zone-{number}:2633/RPC2",
        **more,
    }
    inner = ", ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f"SERVER=[{inner}]"


async def test_system_version_and_config(one, as_user):
    assert await one("system.version") == "7.4.0"
    configuration = await one("system.config")
    assert configuration.DB.BACKEND == "sqlite"
    await one("user.allocate", "alice", "secret", "core")
    masked = await as_user("alice:secret")("system.config")
    assert masked.DB.BACKEND == "***"


async def test_the_zone_with_its_seed(one):
    zone = await one("zone.info", 0)
    assert (zone.ID, zone.NAME, zone.STATE) == (0, "OpenNebula", 0)
    assert zone.TEMPLATE["ENDPOINT"] == "http://localhost:2633/RPC2"
    (seed,) = zone.SERVER_POOL.SERVER
    assert (seed.ID, seed.NAME, seed.ENDPOINT) == (0, "zone-0", "http://zone-0:2633/RPC2")
    pool = await one("zonepool.info")
    assert [item.ID for item in pool.ZONE] == [0]
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting zone \[5\]\."):
        await one("zone.info", 5)


async def test_an_added_server_is_a_learner(one, database):
    assert await one("zone.addserver", 0, server(1)) == 0
    member = database.members.get(ServerId(1))
    assert (member.name, member.peer_endpoint, member.voter) == ("zone-1", "zone-1:2635", False)
    assert database.applied == 1
    await one("zone.addserver", 0, server(2, ENDPOINT_PEER="10.0.0.2:7000", ENDPOINT_GRPC=""))
    assert database.members.get(ServerId(2)).peer_endpoint == "10.0.0.2:7000"
    servers = (await one("zone.info", 0)).SERVER_POOL.SERVER
    assert [(item.ID, item.NAME) for item in servers] == [
        (0, "zone-0"),
        (1, "zone-1"),
        (2, "zone-2"),
    ]


async def test_server_ids_are_not_reused(one, database):
    await one("zone.addserver", 0, server(1))
    await one("zone.delserver", 0, 1)
    await one("zone.addserver", 0, server(1))
    assert [m.server_id for m in database.members.members] == [0, 2]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("A=1", "SERVER not found in template"),
        ('SERVER=[NAME="x"]', "Missing ENDPOINT in SERVER"),
        ('SERVER=[ENDPOINT="http://x:1/RPC2"]', "Missing NAME in SERVER"),
        ('SERVER=[NAME="x", ENDPOINT="x:1"]', "ENDPOINT x:1 must be a URL such as"),
        (server(9, ENDPOINT_PEER="nowhere"), "ENDPOINT_PEER nowhere must be host:port"),
        (server(9, NAME="zone-0"), "NAME zone-0 is already taken by server 0"),
        (
            server(9, ENDPOINT="http://zone-0:2633/RPC2"),
            "ENDPOINT http://zone-0:2633/RPC2 is already taken by server 0",
        ),
        ("SERVER=[", "Parse error"),
    ],
)
async def test_addserver_refuses_what_cannot_be_a_new_server(one, database, template, text):
    with pytest.raises(pyone.OneActionException) as error:
        await one("zone.addserver", 0, template)
    assert text in str(error.value)
    assert database.applied == 0
    assert len(database.members.members) == 1


async def test_servers_of_another_zone_are_not_ours(one):
    for call, word in (
        (("zone.addserver", 5, server(1)), "added"),
        (("zone.delserver", 5, 0), "deleted"),
        (("zone.resetserver", 5, 0), "deleted"),
    ):
        with pytest.raises(pyone.OneActionException, match=f"Servers have to be {word} through"):
            await one(*call)
    with pytest.raises(pyone.OneActionException, match="Enable/disable mode have to be set"):
        await one("zone.enable", 5, False)


async def test_the_first_server_of_a_solo_zone_votes(one, database):
    database.state = database.state._replace(role=Role.SOLO, server_id=ServerId(-1))
    database.members = Configuration()
    await one("zone.addserver", 0, server(7))
    assert database.members.get(ServerId(1)).voter


async def test_delserver(one, database):
    with pytest.raises(pyone.OneActionException, match="SERVER not found in zone"):
        await one("zone.delserver", 0, 5)
    with pytest.raises(pyone.OneActionException, match="last server of a zone that votes"):
        await one("zone.delserver", 0, 0)
    await one("zone.addserver", 0, server(1))
    await one("zone.delserver", 0, 1)
    assert [m.server_id for m in database.members.members] == [0]
    assert len((await one("zone.info", 0)).SERVER_POOL.SERVER) == 1


async def test_the_leader_is_not_deleted_without_a_successor(one, database):
    await one("zone.addserver", 0, server(1))
    database.members = database.members.promoted(ServerId(1), "disk")
    with pytest.raises(pyone.OneInternalException, match="no other server could take over"):
        await one("zone.delserver", 0, 0)
    assert len((await one("zone.info", 0)).SERVER_POOL.SERVER) == 2


async def test_resetserver_of_an_unknown_server_is_fine(one, database):
    assert await one("zone.resetserver", 0, 9) == 0
    assert database.resets == []
    await one("zone.addserver", 0, server(1))
    assert await one("zone.resetserver", 0, 1) == 0
    assert database.resets == [1]


async def test_a_disabled_zone_refuses_changes(one, as_user):
    await one("zone.enable", 0, False)
    assert (await one("zone.info", 0)).STATE == 1
    with pytest.raises(pyone.OneInternalException) as error:
        await one("user.allocate", "alice", "secret", "core")
    assert str(error.value) == "[one.user.allocate] Cannot process request, zone disabled"
    assert await one("system.version") == "7.4.0"
    with pytest.raises(pyone.OneInternalException, match="zone disabled"):
        await one("acl.info")
    await one("zone.enable", 0, True)
    await one("user.allocate", "alice", "secret", "core")


async def test_update_keeps_servers_and_an_endpoint(one):
    await one("zone.update", 0, 'A="1" SERVER=[NAME="evil"]', 0)
    zone = await one("zone.info", 0)
    assert dict(zone.TEMPLATE) == {"A": "1", "ENDPOINT": "-"}
    assert len(zone.SERVER_POOL.SERVER) == 1
    await one("zone.update", 0, 'ENDPOINT="http://vip:2633/RPC2"', 1)
    assert (await one("zone.info", 0)).TEMPLATE["ENDPOINT"] == "http://vip:2633/RPC2"


async def test_rename_and_delete(one):
    await one("zone.rename", 0, "berlin")
    assert (await one("zone.info", 0)).NAME == "berlin"
    assert await one("zone.rename", 0, "berlin") == 0
    with pytest.raises(pyone.OneActionException, match="is not allowed"):
        await one("zone.rename", 0, "a|b")
    with pytest.raises(pyone.OneActionException) as error:
        await one("zone.delete", 0)
    assert str(error.value) == (
        "[one.zone.delete] Cannot delete zone. System Zones (ID < 100) cannot be deleted."
    )


async def test_zones_are_created_at_the_master_only(one):
    with pytest.raises(pyone.OneException) as error:
        await one("zone.allocate", 'NAME="b" ENDPOINT="http://b:2633/RPC2"')
    assert str(error.value) == (
        "[one.zone.allocate] Error allocating a new zone. New zones can only be created at"
        " federation master"
    )


async def test_users_see_zones_but_not_raft(one, as_user):
    await one("user.allocate", "alice", "secret", "core")
    alice = as_user("alice:secret")
    assert (await alice("zone.info", 0)).NAME == "OpenNebula"
    assert [zone.ID for zone in (await alice("zonepool.info")).ZONE] == [0]
    with pytest.raises(pyone.OneAuthorizationException, match=r"ADMIN ZONE \[0\]"):
        await alice("zone.raftstatus")
    with pytest.raises(pyone.OneAuthorizationException, match=r"MANAGE ZONE \[0\]"):
        await alice("zone.rename", 0, "mine")


async def test_raftstatus_of_a_leader_and_solo(one, database):
    raft = await one("zone.raftstatus")
    assert (raft.SERVER_ID, raft.STATE, raft.TERM, raft.VOTEDFOR) == (0, 3, 1, 0)
    assert (raft.LOG_TERM, raft.FEDLOG_INDEX) == (1, -1)
    database.state = database.state._replace(role=Role.SOLO)
    raft = await one("zone.raftstatus")
    assert (raft.SERVER_ID, raft.STATE, raft.LOG_INDEX, raft.LOG_TERM) == (-1, 0, -1, -1)


async def test_raft_is_not_taken_on_the_public_port(one, database):
    with pytest.raises(pyone.OneActionException, match="servers replicate over their own"):
        await one("zone.updatedb", 0, "<ZONE/>")
    with pytest.raises(pyone.OneActionException):
        await one("zone.voterequest", 1, 1, 1, 1)
    assert database.applied == 0
