"""Documents: templates of any type, kept for OneFlow and other clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from oned.state import xml
from oned.state.acl import ObjectType
from oned.state.entry import Value
from oned.state.objects import Kind, PoolObject
from oned.state.permissions import Lock, Permissions

KIND = Kind(
    table="document_pool",
    type=ObjectType.DOCUMENT,
    root="DOCUMENT",
    word="document",
    lockable=True,
)


@dataclass(slots=True, kw_only=True)
class Document(PoolObject):
    """A document; ``type`` is any number (100 a OneFlow service, 101 its template)."""

    KIND: ClassVar[Kind] = KIND
    EXTRA_COLUMNS: ClassVar[tuple[str, ...]] = ("type",)

    type: int

    def extra_values(self) -> tuple[Value, ...]:
        return (self.type,)

    def body(self) -> str:
        return "".join(
            (
                f"<DOCUMENT><ID>{self.oid}</ID><UID>{self.uid}</UID><GID>{self.gid}</GID>",
                f"<UNAME>{xml.escape(self.uname)}</UNAME><GNAME>{xml.escape(self.gname)}</GNAME>",
                f"<NAME>{xml.escape(self.name)}</NAME><TYPE>{self.type}</TYPE>",
                self.permissions.to_xml(),
                self.lock.to_xml() if self.lock else "",
                self.template.to_xml(),
                "</DOCUMENT>",
            )
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        body = xml.Body(text)
        lock = body.fields("LOCK")
        return cls(
            oid=body.integer("ID"),
            uid=body.integer("UID"),
            gid=body.integer("GID"),
            uname=body.text("UNAME"),
            gname=body.text("GNAME"),
            name=body.text("NAME"),
            type=body.integer("TYPE"),
            permissions=Permissions.from_fields(body.fields("PERMISSIONS") or {}),
            lock=Lock.from_fields(lock) if lock else None,
            template=body.template(),
        )
