"""The verbs that resources have in common, made from a resource's description.

Each ``register_…`` declares one method. A resource takes the verbs that it has; what only it has
is in its own module. Parameter order, codes and texts are OpenNebula's (``SharedAPI.cc``).
"""

from __future__ import annotations

from typing import TypeVar

from oned.api import pools
from oned.api.calls import Call, Want, wants
from oned.api.registry import (
    Parameter,
    Registry,
    Type,
    integer,
    string,
)
from oned.api.resource import Resource
from oned.api.responses import Code, Failure, action, internal, not_found, wrong_parameter
from oned.errors import TemplateError
from oned.state import acl, names, objects
from oned.state.entry import Row, Statement
from oned.state.groups import Group
from oned.state.objects import NO_OID, PoolObject
from oned.state.permissions import KEEP, LOCK_LEVELS, Lock, Right
from oned.state.users import User
from oned.template import Template

T = TypeVar("T", bound=PoolObject)

REPLACE, APPEND = 0, 1
DECRYPT = Parameter("decrypt", Type.BOOLEAN, default=False)
_CHMOD = tuple(
    integer(f"{who}_{right}") for who in ("owner", "group", "other") for right in ("u", "m", "a")
)
_OTHER_BITS = slice(6, 9)
_ADMIN_BITS = (2, 5, 8)


def parse_template(text: str, *, prefix: str = "") -> Template:
    """The template in a parameter; a bad one is an INTERNAL failure with the parser's text."""
    try:
        return Template.parse(text)
    except TemplateError as error:
        raise internal(f"{prefix}{error}") from None


def check_free_name(
    call: Call, resource: Resource[T], name: str, *, also_forbidden: str = ""
) -> None:
    """Let a creation go on only with a proper name that nothing else has.

    The caller holds the lock on the name.
    """
    fault = names.check_name(name, also_forbidden=also_forbidden)
    if fault:
        raise internal(fault)
    if resource.kind.taken_by:
        taken = objects.named(call.reader, resource.kind, name)
        if taken is not None:
            raise internal(f"NAME is already taken by {resource.kind.taken_by} {taken}.")


def register_info(registry: Registry, resource: Resource[T]) -> None:
    """``info(id, decrypt=false)``: a read that any server answers."""

    async def info(call: Call, oid: int, _decrypt: bool) -> str:
        if oid == NO_OID and resource.self_id:
            oid = resource.self_id(call)
        found = objects.read_body(call.reader, resource.kind, oid) if oid >= 0 else None
        if found is None:
            if oid < 0:
                call.authorize(Want(Right.USE, resource.kind.type))
            raise not_found(resource.kind.word, oid)
        header, body = found
        call.authorize(wants(Right.USE, header, resource.kind, lock=False))
        return resource.show(call, oid, body)

    registry.read(
        f"one.{resource.noun}.info",
        info,
        integer("id"),
        DECRYPT,
        summary=f"One {resource.kind.word} as XML",
    )


def show_pool(call: Call, resource: Resource[T], found: list[Row]) -> str:
    """A list, as the resource shows it."""
    if resource.show_pool:
        return resource.show_pool(call, found)
    return pools.to_xml(resource.kind, found)


def register_pool_info(registry: Registry, resource: Resource[T]) -> None:
    """``pool.info()``: all that the caller may see."""

    async def pool_info(call: Call) -> str:
        return show_pool(call, resource, pools.rows(call, resource.kind))

    registry.read(
        f"one.{resource.noun}pool.info",
        pool_info,
        summary=f"Every {resource.kind.word} that the caller may see, as XML",
    )


def register_update(registry: Registry, resource: Resource[T]) -> None:
    """``update(id, template, append=0)``."""

    async def update(call: Call, oid: int, text: str, how: int) -> int:
        async with call.hold(resource.key(oid)):
            found = call.obtain(resource.model, oid, resource.update_right)
            if how not in (REPLACE, APPEND):
                raise wrong_parameter("Wrong update type")
            new = parse_template(text, prefix="Cannot update template. ")
            if not call.caller.is_admin:
                _check_restricted(call, resource, found.template, new, append=how == APPEND)
            if how == APPEND:
                found.template.merge(new)
            else:
                found.template = new
            resource.settle(found)
            await call.change(found.update())
        return oid

    registry.write(
        f"one.{resource.noun}.update",
        update,
        integer("id"),
        string("template"),
        Parameter("append", Type.INT, default=REPLACE),
        summary=f"Replace (0) or extend (1) the template of a {resource.kind.word}",
    )


def _check_restricted(
    call: Call, resource: Resource[T], old: Template, new: Template, *, append: bool
) -> None:
    """Refuse what only oneadmin's group may set."""
    for path in call.config.restricted_attributes.get(resource.kind.type.name or "", ()):
        name, _, item = path.partition("/")
        if append and name.upper() in new and _part(new, name, item):
            if _part(new, name, item) != _part(old, name, item):
                raise internal(
                    f"Cannot update template. User Template includes a restricted attribute {path}"
                )
        elif not append and _part(new, name, item) != _part(old, name, item):
            raise internal(f"Cannot update template. Tried to change restricted attribute: {path}")


def _part(template: Template, name: str, item: str) -> list[object]:
    """The values that a restricted path names: an attribute, or items of its vectors."""
    if not item:
        return list(template.values(name))
    if item == "*":
        return list(template.vectors(name))
    return [vector[item] for vector in template.vectors(name) if item in vector]


def register_rename(registry: Registry, resource: Resource[T]) -> None:
    """``rename(id, name)``; the same name is fine, for whoever asks."""

    async def rename(call: Call, oid: int, name: str) -> int:
        async with call.hold(resource.key(oid), resource.name_key(name)):
            found = call.load(resource.model, oid)
            if found.name == name:
                return oid
            call.authorize(wants(resource.rename_right, found, resource.kind))
            word = resource.kind.word
            taken = (
                objects.named(call.reader, resource.kind, name) if resource.kind.taken_by else None
            )
            if taken is not None:
                raise action(
                    f"{word} cannot be renamed to {name} because it collides with {word} {taken}"
                )
            fault = names.check_name(name)
            if fault:
                raise action(fault)
            found.name = name
            await call.change(found.update())
        return oid

    registry.write(
        f"one.{resource.noun}.rename",
        rename,
        integer("id"),
        string("name"),
        summary=f"Rename a {resource.kind.word}",
    )


def register_delete(registry: Registry, resource: Resource[T]) -> None:
    """``delete(id)``, with the rules that name the object."""

    async def delete(call: Call, oid: int) -> int:
        async with call.hold(resource.key(oid), *resource.also_locks):
            found = call.obtain(resource.model, oid, resource.delete_right)
            reason = resource.objection(call, found)
            if reason:
                raise action(f"Cannot delete {resource.kind.word}. {reason}", oid)
            await call.change(*removal(call, resource, found))
        return oid

    registry.write(
        f"one.{resource.noun}.delete",
        delete,
        integer("id"),
        summary=f"Delete a {resource.kind.word}",
    )


def removal(call: Call, resource: Resource[T], found: T) -> tuple[Statement, ...]:
    """The statements that remove an object and everything that names it."""
    rules = [
        rule
        for rule in call.services.rules.rules
        if rule.names_object(resource.kind.type, found.oid)
    ]
    return (found.delete(), *acl.delete(rules), *resource.and_remove(call, found))


def register_chmod(registry: Registry, resource: Resource[T]) -> None:
    """``chmod(id, nine bits)``; ADMIN for the admin bits, MANAGE for all others."""

    async def chmod(call: Call, oid: int, *given: int) -> int:
        async with call.hold(resource.key(oid)):
            found = call.load(resource.model, oid)
            old = found.permissions
            bits = [
                KEEP if bit == (old.mode >> (8 - position) & 1) else bit
                for position, bit in enumerate(given)
            ]
            disabled = not (call.config.enable_other_permissions or call.caller.is_admin)
            if disabled and any(bit != KEEP for bit in bits[_OTHER_BITS]):
                raise Failure(
                    Code.AUTHORIZATION,
                    f"User [{call.caller.uid}] : 'other' permissions is disabled in oned.conf.",
                )
            needs_admin = any(bits[position] != KEEP for position in _ADMIN_BITS)
            right = Right.ADMIN if needs_admin else Right.MANAGE
            call.authorize(wants(right, found, resource.kind))
            try:
                found.permissions = old.changed(bits)
            except ValueError as error:
                raise internal(str(error)) from None
            await call.change(found.update())
        return oid

    registry.write(
        f"one.{resource.noun}.chmod",
        chmod,
        integer("id"),
        *_CHMOD,
        summary=f"Change the permissions of a {resource.kind.word}",
    )


def register_chown(registry: Registry, resource: Resource[T]) -> None:
    """``chown(id, uid, gid)``, -1 keeps; for resources whose names may repeat."""

    async def chown(call: Call, oid: int, uid: int, gid: int) -> int:
        async with call.hold(resource.key(oid)):
            user = call.load(User, uid) if uid >= 0 else None
            group = call.load(Group, gid) if gid >= 0 else None
            found = call.load(resource.model, oid)
            wanted = [wants(Right.MANAGE, found, resource.kind)]
            if user and uid != found.uid:
                wanted.append(wants(Right.MANAGE, user, User.KIND))
            if group and gid != found.gid:
                wanted.append(wants(Right.USE, group, Group.KIND))
            call.authorize(*wanted)
            if user:
                found.uid, found.uname = uid, user.name
            if group:
                found.gid, found.gname = gid, group.name
            await call.change(found.update())
        return oid

    registry.write(
        f"one.{resource.noun}.chown",
        chown,
        integer("id"),
        integer("user_id"),
        integer("group_id"),
        summary=f"Give a {resource.kind.word} to another user or group",
    )


def register_lock(registry: Registry, resource: Resource[T]) -> None:
    """``lock(id, level, test=false)`` and ``unlock(id)``."""

    async def lock(call: Call, oid: int, level: int, test: bool) -> int:
        async with call.hold(resource.key(oid)):
            found = call.obtain(resource.model, oid, Right.MANAGE, lock=False)
            stored = LOCK_LEVELS.get(level)
            if stored is None:
                raise action("Wrong lock level specified")
            if found.lock and test:
                raise action("The resource is already locked")
            if found.lock and found.lock.owner != call.caller.uid and not call.caller.is_admin:
                raise action("Error trying to lock the resource.")
            found.lock = Lock(stored, call.caller.uid, call.now)
            await call.change(found.update())
        return oid

    async def unlock(call: Call, oid: int) -> int:
        async with call.hold(resource.key(oid)):
            found = call.obtain(resource.model, oid, Right.MANAGE, lock=False)
            if found.lock is None:
                return oid
            if found.lock.owner != call.caller.uid and not call.caller.is_admin:
                raise action("Cannot unlock: Lock is owned by another user")
            found.lock = None
            await call.change(found.update())
        return oid

    assert resource.kind.lockable
    registry.write(
        f"one.{resource.noun}.lock",
        lock,
        integer("id"),
        integer("level"),
        Parameter("test", Type.BOOLEAN, default=False),
        summary=f"Lock a {resource.kind.word}: use (1), management (2) or administration (3)",
    )
    registry.write(
        f"one.{resource.noun}.unlock",
        unlock,
        integer("id"),
        summary=f"Unlock a {resource.kind.word}",
    )
