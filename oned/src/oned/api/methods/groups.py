"""``one.group.*`` and ``one.grouppool.info``."""

from __future__ import annotations

from oned.api import verbs
from oned.api.calls import Call, create, wants
from oned.api.methods import acls, quotas
from oned.api.registry import Registry, integer, string
from oned.api.resource import Resource, table_key
from oned.api.responses import Code, Failure
from oned.state import acl
from oned.state import quotas as quota_state
from oned.state.acl import Rule
from oned.state.entry import Row, Statement
from oned.state.groups import SYSTEM_GROUPS, Group
from oned.state.permissions import Right
from oned.state.users import User

LOCK = table_key(Group.KIND)
"""Held by every call that writes a group: memberships span users and groups."""


def _own(call: Call) -> int:
    return call.caller.gid


def _objection(_call: Call, group: Group) -> str | None:
    if group.oid < SYSTEM_GROUPS:
        return f"System Groups (ID < {SYSTEM_GROUPS}) cannot be deleted."
    return f"Group {group.oid} is not empty." if group.users else None


def _and_remove(call: Call, group: Group) -> tuple[Statement, ...]:
    rules = [rule for rule in call.services.rules.rules if rule.names_group(group.oid)]
    return (*acl.delete(rules), quota_state.GROUPS.remove(group.oid))


def _show(call: Call, oid: int, body: str) -> str:
    vlan_rules = f"<VLAN_RULES><ID>{oid}</ID></VLAN_RULES>"
    return quotas.extended(call, quota_state.GROUPS, oid, body, before_defaults=vlan_rules)


def _show_pool(call: Call, found: list[Row]) -> str:
    return quotas.extended_pool(call, quota_state.GROUPS, Group.KIND, found)


RESOURCE: Resource[Group] = Resource(
    noun="group",
    model=Group,
    update_right=Right.ADMIN,
    delete_right=Right.ADMIN,
    self_id=_own,
    whole_table=True,
    objection=_objection,
    and_remove=_and_remove,
    show=_show,
    show_pool=_show_pool,
)


def register(registry: Registry) -> None:
    """Declare the methods of groups."""
    registry.write("one.group.allocate", _allocate, string("name"), summary="Create a group")
    for name, handler, summary in (
        ("addadmin", _add_admin, "Make a member an administrator of its group"),
        ("deladmin", _delete_admin, "Make an administrator an ordinary member again"),
    ):
        registry.write(
            f"one.group.{name}", handler, integer("id"), integer("user_id"), summary=summary
        )
    verbs.register_info(registry, RESOURCE)
    verbs.register_pool_info(registry, RESOURCE)
    verbs.register_update(registry, RESOURCE)
    verbs.register_delete(registry, RESOURCE)
    quotas.register(registry, RESOURCE, quota_state.GROUPS)


async def _allocate(call: Call, name: str) -> int:
    call.authorize(create(Group.KIND))
    async with call.hold(LOCK):
        verbs.check_free_name(call, RESOURCE, name, also_forbidden=" ")
        oid, counter = call.new_id(Group.KIND.table)
        group = Group(oid=oid, gid=oid, name=name, gname=name)
        await call.change(group.insert(), counter)
    return oid


def _obtain(call: Call, oid: int, uid: int) -> Group:
    group, user = call.load(Group, oid), call.load(User, uid)
    call.authorize(wants(Right.ADMIN, group, Group.KIND), wants(Right.ADMIN, user, User.KIND))
    return group


async def _add_admin(call: Call, oid: int, uid: int) -> int:
    async with call.hold(LOCK, acls.LOCK):
        group = _obtain(call, oid, uid)
        if uid not in group.users:
            raise _cannot_edit(f"User {uid} is not part of Group {oid}.")
        if uid in group.admins:
            raise _cannot_edit(f"User {uid} is already an administrator of Group {oid}.")
        group.admins.add(uid)
        statements = [group.update()]
        for rule in acl.group_admin_rules(uid, oid):
            if call.services.rules.equal_to(rule) is None:
                rule_id, counter = call.new_id(acl.TABLE)
                statements += [acl.insert(rule.with_id(rule_id)), counter]
        await call.change(*statements)
    return oid


async def _delete_admin(call: Call, oid: int, uid: int) -> int:
    async with call.hold(LOCK, acls.LOCK):
        group = _obtain(call, oid, uid)
        if uid not in group.admins:
            raise _cannot_edit(f"User {uid} is not an administrator of Group {oid}.")
        group.admins.discard(uid)
        await call.change(group.update(), *acl.delete(admin_rules(call, oid, uid)))
    return oid


def admin_rules(call: Call, oid: int, uid: int) -> list[Rule]:
    """The rules that go when a user no longer administers a group.

    What does not name the group (creating virtual routers) stays while the user administers
    another one.
    """
    rules = call.services.rules
    wanted = acl.group_admin_rules(uid, oid)
    *_, create_routers, manage_group = wanted
    elsewhere = any(
        rule.user == manage_group.user
        and rule.rights == manage_group.rights
        and rule.is_individual(acl.ObjectType.GROUP)
        and rule.resource != manage_group.resource
        for rule in rules.rules
    )
    stored = [rules.equal_to(rule) for rule in wanted if not (elsewhere and rule is create_routers)]
    return [rule for rule in stored if rule is not None]


def _cannot_edit(reason: str) -> Failure:
    return Failure(Code.INTERNAL, f"Cannot edit group. {reason}")
