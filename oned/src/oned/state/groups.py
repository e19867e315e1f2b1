"""Groups: their members and administrators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from oned.state import xml
from oned.state.acl import ObjectType
from oned.state.callers import ONEADMIN
from oned.state.objects import Kind, PoolObject
from oned.state.permissions import MEMBERS_USE, Permissions

SYSTEM_GROUPS = 100
"""Groups with a lower id are OpenNebula's own and stay."""

KIND = Kind(table="group_pool", type=ObjectType.GROUP, root="GROUP", word="group", taken_by="GROUP")


@dataclass(slots=True, kw_only=True)
class Group(PoolObject):
    """A group; owned by oneadmin, and in itself, so that its members see it."""

    KIND: ClassVar[Kind] = KIND

    uid: int = ONEADMIN
    permissions: Permissions = MEMBERS_USE
    users: set[int] = field(default_factory=set)
    admins: set[int] = field(default_factory=set)

    def body(self) -> str:
        return "".join(
            (
                f"<GROUP><ID>{self.oid}</ID><NAME>{xml.escape(self.name)}</NAME>",
                self.template.to_xml(),
                xml.ids("USERS", self.users),
                xml.ids("ADMINS", self.admins),
                "</GROUP>",
            )
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        body = xml.Body(text)
        oid, name = body.integer("ID"), body.text("NAME")
        return cls(
            oid=oid,
            gid=oid,
            name=name,
            gname=name,
            template=body.template(),
            users=body.integers("USERS"),
            admins=body.integers("ADMINS"),
        )

    def remove_user(self, uid: int) -> None:
        """Take a user out, as a member and as an administrator."""
        self.users.discard(uid)
        self.admins.discard(uid)
