"""What a new zone's database holds before the first call."""

from __future__ import annotations

import secrets

from oned.constants import OPENNEBULA_VERSION
from oned.errors import StorageError
from oned.raft.types import Member, ServerId
from oned.state import acl, counters
from oned.state.callers import ONEADMIN, USERS_GROUP
from oned.state.entry import Change, Reader, Statement
from oned.state.groups import Group
from oned.state.users import User, stored_password
from oned.state.zones import LOCAL_ZONE, Zone
from oned.template import Template, Vector

ONEADMIN_GROUP_NAME = "oneadmin"
SERVERADMIN = 1
SERVERADMIN_NAME = "serveradmin"
SERVERADMIN_DRIVER = "server_cipher"
ZONE_NAME = "OpenNebula"


def bootstrap_change(
    *,
    oneadmin: tuple[str, str],
    serveradmin_password: str,
    zone_endpoint: str,
    server: Member | None,
    now: int,
) -> Change:
    """The first change of a zone.

    Args:
        oneadmin: name and password of the administrator.
        serveradmin_password: secret of the user that OpenNebula's own services log in as; its
            SHA-256 is stored, and is the key of their tokens.
        zone_endpoint: where clients reach the zone.
        server: the seed, when it is to be a member from the start; its id counts as given.
        now: seconds since the epoch.
    """
    name, password = oneadmin
    users = (
        _user(ONEADMIN, name, stored_password("core", password), "core"),
        _user(
            SERVERADMIN,
            SERVERADMIN_NAME,
            stored_password("core", serveradmin_password),
            SERVERADMIN_DRIVER,
        ),
    )
    groups = (
        Group(
            oid=ONEADMIN,
            gid=ONEADMIN,
            name=ONEADMIN_GROUP_NAME,
            gname=ONEADMIN_GROUP_NAME,
            users={user.oid for user in users},
        ),
        Group(
            oid=USERS_GROUP,
            gid=USERS_GROUP,
            name="users",
            gname="users",
            template=_users_template(),
        ),
    )
    counts = {**counters.FIRST_COUNTS, counters.ZONE_SERVER: server.server_id if server else -1}
    return Change(
        (
            *[acl.insert(rule) for rule in acl.DEFAULT_RULES],
            *[group.insert() for group in groups],
            *[user.insert() for user in users],
            _zone(zone_endpoint, server).insert(),
            *[counters.start(table, oid) for table, oid in counts.items()],
            Statement(
                "INSERT INTO db_versioning (oid, version, timestamp, comment) VALUES (?, ?, ?, ?)",
                (0, OPENNEBULA_VERSION, now, "Database created by oned"),
            ),
        )
    )


def refounded(
    reader: Reader, server: Member | None, *, oneadmin: tuple[str, str] | None = None
) -> Change:
    """The change that leaves ``server`` as the only one of a zone; None for a solo server.

    Args:
        reader: the content.
        server: its id counts as given.
        oneadmin: name and password of the administrator from now on; as they are if None.
    """
    zone = Zone.load(reader, LOCAL_ZONE)
    if zone is None:
        raise StorageError("there is no zone in it")
    zone.servers = {}
    statements = []
    if server is not None:
        _register(zone, server)
        statements.append(counters.raise_to(counters.ZONE_SERVER, server.server_id))
    if oneadmin is not None:
        statements.append(_with_password(reader, *oneadmin))
    return Change((zone.update(), *statements))


def _with_password(reader: Reader, name: str, password: str) -> Statement:
    user = User.load(reader, ONEADMIN)
    if user is None or user.name != name:
        raise StorageError(f"the administrator of this zone is not called {name}")
    user.driver, user.enabled = "core", True
    user.password = stored_password("core", password)
    return user.update()


def server_id_for(reader: Reader, name: str) -> ServerId:
    """The id of the server with this name, or one that none ever had."""
    zone = Zone.load(reader, LOCAL_ZONE)
    known = zone.servers.values() if zone else ()
    for server in known:
        if server.get("NAME") == name:
            return ServerId(int(server["ID"]))
    return ServerId(counters.last_oid(reader, counters.ZONE_SERVER) + 1)


def _user(oid: int, name: str, password: str, driver: str) -> User:
    template = Template()
    # Services sign their tokens with it; the value is made here and bound into the statement.
    template.set("TOKEN_PASSWORD", secrets.token_hex(32))
    return User(
        oid=oid,
        uid=oid,
        gid=ONEADMIN,
        gname=ONEADMIN_GROUP_NAME,
        name=name,
        groups={ONEADMIN},
        password=password,
        driver=driver,
        template=template,
    )


def _users_template() -> Template:
    template = Template()
    template.set(
        "FIREEDGE",
        Vector(
            {
                "VIEWS": "cloud",
                "DEFAULT_VIEW": "cloud",
                "GROUP_ADMIN_VIEWS": "groupadmin,cloud",
                "GROUP_ADMIN_DEFAULT_VIEW": "groupadmin",
            }
        ),
    )
    return template


def _zone(endpoint: str, server: Member | None) -> Zone:
    zone = Zone(oid=LOCAL_ZONE, name=ZONE_NAME)
    zone.template.set("ENDPOINT", endpoint)
    if server:
        _register(zone, server)
    return zone


def _register(zone: Zone, server: Member) -> None:
    zone.add_server(
        server.server_id,
        {
            "NAME": server.name,
            "ENDPOINT": server.endpoint,
            "ENDPOINT_PEER": server.peer_endpoint,
        },
    )
