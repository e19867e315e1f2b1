"""OpenNebula's own Python client, unmodified, on a zone of real processes: any server will do."""

from __future__ import annotations

import time

import pyone
import pytest
from local_zone import LocalZone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def zone(tmp_path_factory):
    zone = LocalZone(tmp_path_factory.mktemp("zone"))
    zone.up()
    yield zone
    zone.down()


@pytest.fixture(params=["leader", "follower"])
def server(zone, request):
    leader = zone.leader()
    if request.param == "leader":
        return leader
    return next(s for s in zone.listed() if s["name"] != leader["name"])


def eventually(read, wanted, seconds: float = 5.0):
    """A follower shows a change as soon as it has applied it."""
    end = time.monotonic() + seconds
    while True:
        try:
            if (found := read()) == wanted or time.monotonic() > end:
                return found
        except pyone.OneNoExistsException:
            if time.monotonic() > end:
                raise
        time.sleep(0.02)


def test_zone_and_status_are_read(zone, server):
    one = zone.client(server)
    assert one.zone.info(0).NAME == "OpenNebula"
    names = {s.NAME for s in one.zonepool.info().ZONE[0].SERVER_POOL.SERVER}
    assert names == {"server-0", "server-1", "server-2"}
    assert server["id"] == one.zone.raftstatus().SERVER_ID
    assert one.system.version()


def test_life_of_a_user_a_group_and_a_document(zone, server):
    one = zone.client(server)
    name = server["name"]
    group = one.group.allocate(f"group-{name}")
    user = one.user.allocate(f"user-{name}", "secret", "core", [group])
    assert eventually(lambda: one.user.info(user).GID, group) == group
    one.user.update(user, 'CITY="Madrid"', 1)
    assert eventually(lambda: one.user.info(user).TEMPLATE.get("CITY"), "Madrid") == "Madrid"

    theirs = zone.client(server, f"user-{name}:secret")
    token = theirs.user.login(f"user-{name}", "", 60)
    with_token = zone.client(server, f"user-{name}:{token}")
    one.acl.addrule(f"{0x2_0000_0000 | group:x}", "400400000000", "8")
    document = eventually_allowed(with_token)
    assert eventually(lambda: with_token.document.info(document).NAME, "notes") == "notes"
    with_token.document.update(document, 'TEXT="two"', 0)
    read = lambda: with_token.document.info(document).TEMPLATE.get("TEXT")  # noqa: E731
    assert eventually(read, "two") == "two"
    with_token.document.delete(document)
    one.user.delete(user)
    one.group.delete(group)


def eventually_allowed(one, seconds: float = 5.0) -> int:
    """Allocate a document as soon as this server knows the token and the leader the rule."""
    end = time.monotonic() + seconds
    while True:
        try:
            return one.document.allocate('NAME="notes"\nTEXT="one"', 50)
        except (pyone.OneAuthenticationException, pyone.OneAuthorizationException):
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def test_documented_errors(zone, server):
    one = zone.client(server)
    with pytest.raises(pyone.OneAuthenticationException, match="couldn't be authenticated"):
        zone.client(server, "oneadmin:wrong").zonepool.info()
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting user \[4711\]"):
        one.user.info(4711)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting document \[4711\]"):
        one.document.update(4711, "A=1", 0)
    with pytest.raises(pyone.OneInternalException, match="already taken by USER 0"):
        one.user.allocate("oneadmin", "x", "core")
    with pytest.raises(pyone.OneException, match=r"\[one.zone.allocate\].* New zones can only be"):
        one.zone.allocate('NAME="other"\nENDPOINT="http://a/RPC2"')
    with pytest.raises(pyone.OneActionException, match="oneadmin cannot be deleted"):
        one.user.delete(0)


def test_disabled_zone_reads_and_refuses_writes(zone, server):
    one = zone.client(server)
    one.zone.enable(0, False)
    try:
        assert one.zone.info(0).NAME == "OpenNebula"
        with pytest.raises(pyone.OneInternalException, match="zone disabled"):
            one.document.allocate('NAME="refused"', 1)
    finally:
        one.zone.enable(0, True)
    one.document.allocate('NAME="taken"', 1)
