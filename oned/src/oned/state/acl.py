"""Access rules: who may do what to which resources, in OpenNebula's bit encoding.

A rule has four numbers. *user* and *zone* are a kind bit and an id, *resource* adds the bits
of one or more object types, *rights* is a sum of ``Right``. Text form and error texts follow
``src/acl/AclRule.cc``; evaluation follows ``AclManager::authorize``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntFlag

from oned.state.callers import Caller
from oned.state.entry import Reader, Statement
from oned.state.permissions import Right

TABLE = "acl"

INDIVIDUAL = 0x1_0000_0000
GROUP = 0x2_0000_0000
ALL = 0x4_0000_0000
CLUSTER = 0x8_0000_0000
_KINDS = INDIVIDUAL | GROUP | ALL | CLUSTER
_ID = 0xFFFF_FFFF
_INT32_MAX = 0x7FFF_FFFF
_INT64_MAX = 0x7FFF_FFFF_FFFF_FFFF


class ObjectType(IntFlag):
    """The type bits of a rule's resource, in the order in which rules name them."""

    VM = 0x10_0000_0000
    HOST = 0x20_0000_0000
    NET = 0x40_0000_0000
    IMAGE = 0x80_0000_0000
    USER = 0x100_0000_0000
    TEMPLATE = 0x200_0000_0000
    GROUP = 0x400_0000_0000
    ACL = 0x800_0000_0000
    DATASTORE = 0x1000_0000_0000
    CLUSTER = 0x2000_0000_0000
    DOCUMENT = 0x4000_0000_0000
    ZONE = 0x8000_0000_0000
    SECGROUP = 0x1_0000_0000_0000
    VDC = 0x2_0000_0000_0000
    VROUTER = 0x4_0000_0000_0000
    MARKETPLACE = 0x8_0000_0000_0000
    MARKETPLACEAPP = 0x10_0000_0000_0000
    VMGROUP = 0x20_0000_0000_0000
    VNTEMPLATE = 0x40_0000_0000_0000
    HOOK = 0x80_0000_0000_0000
    BACKUPJOB = 0x100_0000_0000_0000
    SCHEDULEDACTION = 0x200_0000_0000_0000


_TYPES = ~(_KINDS | _ID)
_NO_RULE = ObjectType.ACL | ObjectType.HOOK
"""Types that rules cannot name: only oneadmin's group acts on them."""
_RULE_TYPES = tuple(t for t in ObjectType if not t & _NO_RULE)
_KNOWN_TYPES = sum(ObjectType)
_CLUSTER_TYPES = ObjectType.DATASTORE | ObjectType.HOST | ObjectType.NET
_NO_GROUP_TYPES = (
    ObjectType.HOST | ObjectType.GROUP | ObjectType.CLUSTER | ObjectType.ZONE | ObjectType.VDC
)
_FEDERATED_TYPES = (
    ObjectType.USER
    | ObjectType.GROUP
    | ObjectType.ZONE
    | ObjectType.ACL
    | ObjectType.MARKETPLACE
    | ObjectType.MARKETPLACEAPP
    | ObjectType.VDC
)
_RIGHTS_MAX = int(Right.USE | Right.MANAGE | Right.ADMIN | Right.CREATE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``oid`` is -1 until it has been given an id."""

    user: int
    resource: int
    rights: int
    zone: int
    oid: int = -1

    def __str__(self) -> str:
        types = "+".join(str(t.name) for t in _RULE_TYPES if self.resource & t)
        rights = "+".join(str(r.name) for r in Right if self.rights & r)
        return (
            f"{_selector(self.user, GROUP | INDIVIDUAL | ALL)} "
            f"{types}/{_selector(self.resource, _KINDS)} {rights} "
            f"{_selector(self.zone, INDIVIDUAL | ALL)}"
        )

    def to_xml(self) -> str:
        return (
            f"<ACL><ID>{self.oid}</ID><USER>{self.user:x}</USER><RESOURCE>{self.resource:x}"
            f"</RESOURCE><RIGHTS>{self.rights:x}</RIGHTS><ZONE>{self.zone:x}</ZONE>"
            f"<STRING>{self}</STRING></ACL>"
        )

    def faults(self) -> list[str]:
        """What is wrong with the rule, in OpenNebula's words; empty when nothing is."""
        found = []
        user_kinds = self.user & (INDIVIDUAL | GROUP | ALL)
        for one, other, text in (
            (INDIVIDUAL, GROUP, "INDIVIDUAL (#) and GROUP (@)"),
            (INDIVIDUAL, ALL, "INDIVIDUAL (#) and ALL (*)"),
            (GROUP, ALL, "GROUP (@) and ALL (*)"),
        ):
            if user_kinds & one and user_kinds & other:
                found.append(f"[user] {text} bits are exclusive")
        if not user_kinds:
            found.append("[user] is missing one of the INDIVIDUAL, GROUP or ALL bits")
        if self.user & ~(user_kinds | _ID):
            found.append("wrong [user], it has unknown bits")
        found += _id_faults("user", self.user)
        found += self._resource_faults()
        if self.rights <= 0:
            found.append("wrong [rights], it cannot be 0")
        if self.rights > _RIGHTS_MAX:
            found.append("wrong [rights], it cannot be bigger than 0xF")
        return found + self._zone_faults()

    def _resource_faults(self) -> list[str]:
        found = []
        kinds = self.resource & _KINDS
        types = self.resource & _TYPES
        if kinds.bit_count() > 1:
            found.append(
                "[resource] INDIVIDUAL (#), GROUP (@), CLUSTER (%) and ALL (*) bits are exclusive"
            )
        if kinds & CLUSTER and types & ~_CLUSTER_TYPES:
            found.append(
                "[resource] CLUSTER(%) selector can be applied only to DATASTORE, HOST and NET"
                " types"
            )
        if kinds & GROUP and types & _NO_GROUP_TYPES:
            found.append(
                "[resource] GROUP(@) selector cannot be applied to HOST, GROUP, CLUSTER, ZONE or"
                " VDC types"
            )
        if not kinds:
            found.append("[resource] is missing one of the INDIVIDUAL, GROUP, CLUSTER or ALL bits")
        found += _id_faults("resource", self.resource)
        if not types:
            found.append("[resource] type is missing")
        if types & ~(_KNOWN_TYPES & ~_NO_RULE):
            found.append("wrong [resource] type")
        return found

    def _zone_faults(self) -> list[str]:
        found = []
        kinds = self.zone & (INDIVIDUAL | ALL)
        if self.zone & GROUP:
            found.append("[zone] GROUP (@) bit is not supported")
        if kinds == INDIVIDUAL | ALL:
            found.append("[zone] INDIVIDUAL (#) and ALL (*) bits are exclusive")
        if not kinds:
            found.append("[zone] is missing one of the INDIVIDUAL or ALL bits")
        if self.zone & ~(INDIVIDUAL | ALL | GROUP | _ID):
            found.append("wrong [zone], it has unknown bits")
        found += _id_faults("zone", self.zone)
        if self.zone & ALL and self.resource & INDIVIDUAL:
            if self.resource & _TYPES & ~_FEDERATED_TYPES:
                found.append(
                    "[resource] INDIVIDUAL(#) selector cannot be applied to ALL zones, except for"
                    " USER, GROUP and ZONE types"
                )
        return found

    def with_id(self, oid: int) -> Rule:
        return replace(self, oid=oid)

    def is_individual(self, kind: ObjectType) -> bool:
        """Whether the rule is about single objects of ``kind``."""
        return bool(self.resource & kind and self.resource & INDIVIDUAL)

    def names_zone(self, zone_id: int) -> bool:
        return self.zone == INDIVIDUAL | zone_id

    def names_user(self, uid: int) -> bool:
        return self.user == INDIVIDUAL | uid

    def names_group(self, gid: int) -> bool:
        return self.user == GROUP | gid or self.resource & (GROUP | _ID) == GROUP | gid

    def names_object(self, kind: ObjectType, oid: int) -> bool:
        """Whether the rule is about this one object and nothing else of its type."""
        return bool(self.resource & kind) and self.resource & (_KINDS | _ID) == INDIVIDUAL | oid


def _selector(number: int, kinds: int) -> str:
    oid = number & _ID
    if number & kinds & GROUP:
        return f"@{oid}"
    if number & kinds & INDIVIDUAL:
        return f"#{oid}"
    if number & kinds & CLUSTER:
        return f"%{oid}"
    return "*" if number & kinds & ALL else "??"


def _id_faults(name: str, number: int) -> list[str]:
    oid = number & _ID
    found = [f"[{name}] ID cannot be negative"] if number < 0 or oid > _INT32_MAX else []
    if number & ALL and oid:
        found.append(f"when using the ALL bit, [{name}] ID must be 0")
    return found


def parse_hex(text: str) -> int | None:
    """The number in a hexadecimal parameter of ``addrule``, None when it is none."""
    digits = text.strip().removeprefix("0x").removeprefix("0X")
    if not digits or "_" in digits:
        return None
    try:
        number = int(digits, 16)
    except ValueError:
        return None
    return number if 0 <= number <= _INT64_MAX else None


@dataclass(frozen=True, slots=True)
class Visible:
    """What rules let a caller use of one type, beside what permissions do."""

    everything: bool
    oids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()


class Rules:
    """All rules of this zone at one version of the table, ready to be asked."""

    def __init__(self, rules: Iterable[Rule], *, zone_id: int) -> None:
        self.rules = tuple(rules)
        self._by_user: dict[int, list[Rule]] = {}
        for rule in self.rules:
            if rule.zone in (ALL, INDIVIDUAL | zone_id):
                self._by_user.setdefault(rule.user, []).append(rule)

    @classmethod
    def read(cls, reader: Reader, *, zone_id: int) -> Rules:
        rows = reader.rows("SELECT userset, resource, rights, zone, oid FROM acl ORDER BY oid")
        return cls((Rule(*map(int, row)) for row in rows), zone_id=zone_id)  # type: ignore[arg-type]

    def _of(self, caller: Caller) -> Iterable[Rule]:
        for user in (ALL, INDIVIDUAL | caller.uid, *(GROUP | gid for gid in caller.groups)):
            yield from self._by_user.get(user, ())

    def allow(
        self, caller: Caller, right: Right, kind: ObjectType, oid: int = -1, gid: int = -1
    ) -> bool:
        """Whether a rule gives ``right``; without an id, on the whole type."""
        targets = {ALL}
        if oid >= 0:
            targets.add(INDIVIDUAL | oid)
        if gid >= 0:
            targets.add(GROUP | gid)
        return any(
            rule.rights & right == right
            and rule.resource & kind
            and rule.resource & (_KINDS | _ID) in targets
            for rule in self._of(caller)
        )

    def visible(self, caller: Caller, kind: ObjectType) -> Visible:
        """What of ``kind`` rules let the caller use."""
        oids: set[int] = set()
        gids: set[int] = set()
        for rule in self._of(caller):
            if not (rule.rights & Right.USE and rule.resource & kind):
                continue
            if rule.resource & ALL:
                return Visible(everything=True)
            target = gids if rule.resource & GROUP else oids
            if not rule.resource & CLUSTER:
                target.add(rule.resource & _ID)
        return Visible(everything=False, oids=frozenset(oids), gids=frozenset(gids))

    def equal_to(self, rule: Rule) -> Rule | None:
        """The stored rule that says the same."""
        for stored in self.rules:
            if (stored.user, stored.resource, stored.rights, stored.zone) == (
                rule.user,
                rule.resource,
                rule.rights,
                rule.zone,
            ):
                return stored
        return None

    def numbered(self, oid: int) -> Rule | None:
        return next((rule for rule in self.rules if rule.oid == oid), None)

    def to_xml(self) -> str:
        inner = "".join(rule.to_xml() for rule in self.rules)
        return f"<ACL_POOL>{inner}</ACL_POOL>"


def insert(rule: Rule) -> Statement:
    return Statement(
        "INSERT INTO acl (oid, userset, resource, rights, zone) VALUES (?, ?, ?, ?, ?)",
        (rule.oid, int(rule.user), int(rule.resource), int(rule.rights), int(rule.zone)),
    )


def delete(rules: Iterable[Rule]) -> tuple[Statement, ...]:
    """Remove rules by id."""
    return tuple(Statement("DELETE FROM acl WHERE oid = ?", (rule.oid,)) for rule in rules)


_USERS_CREATE = (
    ObjectType.VM
    | ObjectType.IMAGE
    | ObjectType.TEMPLATE
    | ObjectType.DOCUMENT
    | ObjectType.SECGROUP
    | ObjectType.VMGROUP
    | ObjectType.BACKUPJOB
)

DEFAULT_RULES = (
    Rule(GROUP | 1, _USERS_CREATE | ALL, Right.CREATE, ALL, oid=0),
    Rule(ALL, ObjectType.ZONE | ALL, Right.USE, ALL, oid=1),
    Rule(
        ALL,
        ObjectType.MARKETPLACE | ObjectType.MARKETPLACEAPP | ALL,
        Right.USE,
        ALL,
        oid=2,
    ),
)
"""What a new zone has: users create, everybody sees zones and marketplaces."""


def group_admin_rules(uid: int, gid: int) -> tuple[Rule, ...]:
    """What ``group.addadmin`` gives: a group's administrator rules its users and resources."""
    resources = (
        ObjectType.VM
        | ObjectType.NET
        | ObjectType.IMAGE
        | ObjectType.TEMPLATE
        | ObjectType.DOCUMENT
        | ObjectType.SECGROUP
        | ObjectType.VROUTER
        | ObjectType.VMGROUP
        | ObjectType.BACKUPJOB
    )
    user = INDIVIDUAL | uid
    return (
        Rule(user, ObjectType.USER | GROUP | gid, _RIGHTS_MAX, ALL),
        Rule(user, resources | GROUP | gid, Right.USE | Right.MANAGE, ALL),
        Rule(user, ObjectType.VROUTER | ALL, Right.CREATE, ALL),
        Rule(user, ObjectType.GROUP | INDIVIDUAL | gid, Right.MANAGE, ALL),
    )
