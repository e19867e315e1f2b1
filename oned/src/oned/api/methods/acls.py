"""``one.acl.*``: the access rules, which only oneadmin's group handles."""

from __future__ import annotations

from oned.api.calls import Call, Want
from oned.api.locks import Key
from oned.api.registry import Parameter, Registry, Type, Where, integer, string
from oned.api.responses import internal
from oned.state import acl
from oned.state.acl import ObjectType, Rule
from oned.state.permissions import Right

LOCK: Key = (acl.TABLE, "*")
"""Held by every call that adds rules: whether a rule is new is a matter of all rules."""

_MANAGE = Want(Right.MANAGE, ObjectType.ACL)


def register(registry: Registry) -> None:
    """Declare the three methods."""
    registry.write(
        "one.acl.addrule",
        _add_rule,
        string("user"),
        string("resource"),
        string("rights"),
        Parameter("zone", Type.STRING, default=""),
        summary="Add an access rule, given as hexadecimal numbers",
    )
    registry.write("one.acl.delrule", _delete_rule, integer("id"), summary="Delete an access rule")
    registry.read(
        "one.acl.info",
        _info,
        where=Where.LEADER,
        when_disabled=False,
        summary="All access rules as XML",
    )


async def _add_rule(call: Call, user: str, resource: str, rights: str, zone: str) -> int:
    call.authorize(_MANAGE)
    numbers = {}
    for name, text in (("user", user), ("resource", resource), ("rights", rights), ("zone", zone)):
        if name == "zone" and not text:
            numbers[name] = acl.INDIVIDUAL | call.services.zone_id
            continue
        number = acl.parse_hex(text)
        if number is None:
            raise internal(f"Rule is malformed: [{name}] is not a hexadecimal number")
        numbers[name] = number
    rule = Rule(numbers["user"], numbers["resource"], numbers["rights"], numbers["zone"])
    faults = rule.faults()
    if faults:
        raise internal(f"Rule {rule} is malformed: {'; '.join(faults)}")
    async with call.hold(LOCK):
        if call.services.rules.equal_to(rule):
            raise internal(f"Rule {rule} already exists")
        oid, counter = call.new_id(acl.TABLE)
        await call.change(acl.insert(rule.with_id(oid)), counter)
    return oid


async def _delete_rule(call: Call, oid: int) -> int:
    call.authorize(_MANAGE)
    async with call.hold(LOCK):
        rule = call.services.rules.numbered(oid)
        if rule is None:
            raise internal(f"Rule {oid} does not exist")
        await call.change(*acl.delete([rule]))
    return oid


async def _info(call: Call) -> str:
    call.authorize(_MANAGE)
    return call.services.rules.to_xml()
