"""``one.user.*`` and ``one.userpool.info``."""

from __future__ import annotations

import secrets

from oned.api import verbs
from oned.api.calls import Call, create, wants
from oned.api.methods import groups, quotas
from oned.api.registry import Parameter, Registry, Type, boolean, integer, string
from oned.api.resource import Resource
from oned.api.responses import action, internal, not_found, wrong_parameter
from oned.state import acl, names, users
from oned.state import quotas as quota_state
from oned.state.callers import ONEADMIN, USERS_GROUP
from oned.state.entry import Row, Statement
from oned.state.groups import Group
from oned.state.permissions import Right
from oned.state.users import CORE_DRIVER, LoginToken, User, stored_password

PASSWORD_CHANGE = frozenset({CORE_DRIVER, "ssh", "ldap", "saml"})
"""Drivers whose users may change their own password (AUTH_MAD_CONF)."""

DRIVER_MANAGED_GROUPS = frozenset({"ldap", "saml"})
"""Drivers that say themselves which groups a user is in."""

TOKEN_TIME_MAX = {"ldap": 86400, "saml": 86400}
"""Seconds that a login token may be valid, by driver; others have no bound."""

_TOKEN_LENGTH_MAX = 1024
_GENERATED_TOKEN_BYTES = 32


def _own(call: Call) -> int:
    return call.caller.uid


def _objection(_call: Call, user: User) -> str | None:
    return "oneadmin cannot be deleted." if user.oid == ONEADMIN else None


def _and_remove(call: Call, user: User) -> tuple[Statement, ...]:
    statements = []
    for gid in sorted(user.groups):
        group = Group.load(call.reader, gid)
        if group:
            group.remove_user(user.oid)
            statements.append(group.update())
    rules = [rule for rule in call.services.rules.rules if rule.names_user(user.oid)]
    return (*statements, *acl.delete(rules), quota_state.USERS.remove(user.oid))


def _show(call: Call, oid: int, body: str) -> str:
    return quotas.extended(call, quota_state.USERS, oid, body)


def _show_pool(call: Call, found: list[Row]) -> str:
    return quotas.extended_pool(call, quota_state.USERS, User.KIND, found)


RESOURCE: Resource[User] = Resource(
    noun="user",
    model=User,
    delete_right=Right.ADMIN,
    self_id=_own,
    also_locks=(groups.LOCK,),
    objection=_objection,
    and_remove=_and_remove,
    show=_show,
    show_pool=_show_pool,
)


def register(registry: Registry) -> None:
    """Declare the methods of users."""
    registry.write(
        "one.user.allocate",
        _allocate,
        string("username"),
        string("password", secret=True),
        string("auth_driver"),
        Parameter("group_ids", Type.INTEGERS, default=()),
        summary="Create a user",
    )
    registry.write(
        "one.user.passwd",
        _passwd,
        integer("id"),
        string("password", secret=True),
        summary="Change a user's password",
    )
    registry.write(
        "one.user.chauth",
        _chauth,
        integer("id"),
        string("driver"),
        string("password", secret=True),
        summary="Change a user's authentication driver, and its password unless that is empty",
    )
    registry.write(
        "one.user.login",
        _login,
        string("username"),
        string("token", secret=True),
        integer("valid_period"),
        Parameter("egid", Type.INT, default=users.NO_EGID),
        summary="Make, keep or (period 0) delete a login token",
    )
    registry.write(
        "one.user.enable",
        _enable,
        integer("id"),
        boolean("enable"),
        summary="Let a user log in, or no longer",
    )
    for name, handler, summary in (
        ("chgrp", _chgrp, "Change a user's primary group"),
        ("addgroup", _add_group, "Make a user a member of another group"),
        ("delgroup", _delete_group, "Take a user out of a group"),
    ):
        registry.write(
            f"one.user.{name}", handler, integer("id"), integer("group_id"), summary=summary
        )
    verbs.register_info(registry, RESOURCE)
    verbs.register_pool_info(registry, RESOURCE)
    verbs.register_update(registry, RESOURCE)
    verbs.register_delete(registry, RESOURCE)
    quotas.register(registry, RESOURCE, quota_state.USERS)


async def _allocate(
    call: Call, name: str, password: str, driver: str, group_ids: tuple[int, ...]
) -> int:
    caller = call.caller
    async with call.hold(RESOURCE.name_key(name), groups.LOCK):
        wanted = [create(User.KIND)]
        for gid in group_ids:
            group = call.load(Group, gid)
            if gid != caller.gid:
                wanted.append(wants(Right.MANAGE, group, Group.KIND))
        call.authorize(*wanted)
        verbs.check_free_name(call, RESOURCE, name, also_forbidden=" ")
        fault = names.check_password(password)
        if fault:
            raise internal(fault)
        gids = group_ids or (USERS_GROUP if caller.gid == ONEADMIN else caller.gid,)
        members = [call.load(Group, gid) for gid in sorted(set(gids))]
        oid, counter = call.new_id(User.KIND.table)
        driver = driver or CORE_DRIVER
        for group in members:
            group.users.add(oid)
        user = User(
            oid=oid,
            uid=oid,
            gid=gids[0],
            gname=next(group.name for group in members if group.oid == gids[0]),
            name=name,
            groups=set(gids),
            password=stored_password(driver, password),
            driver=driver,
        )
        await call.change(user.insert(), counter, *[group.update() for group in members])
    return oid


async def _passwd(call: Call, oid: int, password: str) -> int:
    async with call.hold(RESOURCE.key(oid)):
        user = call.obtain(User, oid, Right.MANAGE)
        if user.driver not in PASSWORD_CHANGE and not call.caller.is_admin:
            raise action(f"Password for driver {user.driver} cannot be changed.")
        _set_password(user, password)
        await call.change(user.update())
    return oid


def _set_password(user: User, password: str) -> None:
    fault = names.check_password(password)
    if fault:
        raise action(fault)
    user.set_password(password)


async def _chauth(call: Call, oid: int, driver: str, password: str) -> int:
    async with call.hold(RESOURCE.key(oid)):
        user = call.obtain(User, oid, Right.ADMIN)
        user.driver = driver or CORE_DRIVER
        if password:
            _set_password(user, password)
        await call.change(user.update())
    return oid


async def _enable(call: Call, oid: int, enable: bool) -> int:
    async with call.hold(RESOURCE.key(oid)):
        user = call.obtain(User, oid, Right.ADMIN)
        if oid == ONEADMIN:
            raise action("Cannot enable/disable oneadmin user")
        if user.enabled != enable:
            user.enabled = enable
            await call.change(user.update())
    return oid


async def _login(call: Call, name: str, token: str, period: int, egid: int) -> str:
    known = users.by_name(call.reader, name)
    if known is None:
        raise not_found(User.KIND.word, -1)
    async with call.hold(RESOURCE.key(known.oid)):
        user = call.obtain(User, known.oid, Right.MANAGE)
        longest = TOKEN_TIME_MAX.get(user.driver)
        if longest is not None and (period > longest or period == users.NEVER):
            period = longest
        if period == 0:
            _forget(user, token)
        elif period > 0 or period == users.NEVER:
            token = _keep(call, user, token, period, egid)
        else:
            raise wrong_parameter("Wrong valid period for token")
        await call.change(user.update())
    # OpenNebula answers nothing when all tokens are deleted, which its Python binding cannot read.
    return token or " "


def _forget(user: User, token: str) -> None:
    if not token:
        user.tokens = []
    elif not user.remove_token(token):
        raise wrong_parameter(f"Could not find token: {token}")


def _keep(call: Call, user: User, token: str, period: int, egid: int) -> str:
    """Add a token to ``user`` and return it."""
    caller = call.caller
    if egid != users.NO_EGID and not caller.is_admin:
        if egid not in user.groups or egid not in caller.groups:
            raise wrong_parameter("EGID is not in user group list")
    if egid == users.NO_EGID and user.groups != caller.groups:
        raise wrong_parameter("Cannot create a full token with a specific group token")
    if len(token) > _TOKEN_LENGTH_MAX:
        raise wrong_parameter(f"A token has {_TOKEN_LENGTH_MAX} characters at most")
    token = token or secrets.token_hex(_GENERATED_TOKEN_BYTES)
    expires = users.NEVER if period == users.NEVER else call.now + period
    if not user.add_token(LoginToken(token, expires, egid), call.now):
        raise wrong_parameter("Max number of tokens limit reached.")
    return token


async def _chgrp(call: Call, oid: int, gid: int) -> int:
    if gid < 0:
        raise wrong_parameter("Wrong group ID")
    async with call.hold(RESOURCE.key(oid), groups.LOCK):
        user = call.load(User, oid)
        if user.driver in DRIVER_MANAGED_GROUPS and gid not in user.groups:
            raise wrong_parameter(
                f"Groups cannot be manually managed for auth driver {user.driver}"
            )
        group = call.load(Group, gid)
        if oid == ONEADMIN:
            raise internal(
                f"user [{ONEADMIN}] {user.name} cannot be moved outside of the group"
                f" [{ONEADMIN}] oneadmin"
            )
        call.authorize(wants(Right.MANAGE, user, User.KIND), wants(Right.USE, group, Group.KIND))
        if user.gid == gid:
            return oid
        old_gid, user.gid, user.gname = user.gid, gid, group.name
        group.users.add(oid)
        statements = [group.update()]
        # A user keeps the old group only if the new one was a secondary one already.
        if user.add_group(gid):
            statements += _leave(call, user, old_gid)
        await call.change(user.update(), *statements)
    return oid


def _leave(call: Call, user: User, gid: int) -> list[Statement]:
    """Take the user out of a group; what is left is to write the user."""
    user.groups.discard(gid)
    group = Group.load(call.reader, gid)
    if group is None:
        return []
    rules = groups.admin_rules(call, gid, user.oid) if user.oid in group.admins else []
    group.remove_user(user.oid)
    return [group.update(), *acl.delete(rules)]


def _for_membership(call: Call, oid: int, gid: int) -> tuple[User, Group]:
    user = call.load(User, oid)
    if user.driver in DRIVER_MANAGED_GROUPS:
        raise action(f"Groups cannot be manually managed for auth driver {user.driver}")
    group = call.load(Group, gid)
    call.authorize(wants(Right.MANAGE, user, User.KIND), wants(Right.MANAGE, group, Group.KIND))
    return user, group


async def _add_group(call: Call, oid: int, gid: int) -> int:
    async with call.hold(RESOURCE.key(oid), groups.LOCK):
        user, group = _for_membership(call, oid, gid)
        if not user.add_group(gid):
            raise action("User is already in this group")
        group.users.add(oid)
        await call.change(user.update(), group.update())
    return oid


async def _delete_group(call: Call, oid: int, gid: int) -> int:
    async with call.hold(RESOURCE.key(oid), groups.LOCK):
        user, _group = _for_membership(call, oid, gid)
        if gid not in user.groups:
            raise action("User is not part of this group")
        if gid == user.gid:
            raise action("Cannot remove user from the primary group")
        await call.change(*_leave(call, user, gid), user.update())
    return oid
