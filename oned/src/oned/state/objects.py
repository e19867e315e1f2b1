"""What all objects have in common: a row with id, name, XML body, owner and permissions.

A resource is a subclass of ``PoolObject`` that adds its own elements and columns; reading,
listing and the statements of a change are here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self

from oned.state.acl import ObjectType
from oned.state.entry import Reader, Row, Statement, Value
from oned.state.permissions import OWNER_MANAGES, Lock, Permissions
from oned.template import Template

NO_OID = -1
"""Of an object that has not been inserted yet."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about a resource.

    Attributes:
        table: where its objects are.
        type: how rules name it.
        root: element of one object, and with ``_POOL`` of a list.
        word: how messages name it (``objname``).
        taken_by: how ``NAME is already taken by …`` names it; empty when names need not differ.
        lockable: whether users may lock its objects.
    """

    table: str
    type: ObjectType
    root: str
    word: str
    taken_by: str = ""
    lockable: bool = False

    @property
    def pool_root(self) -> str:
        return f"{self.root}_POOL"


@dataclass(slots=True)
class Header:
    """The columns of a row: enough to decide whether a caller may use the object."""

    oid: int
    uid: int
    gid: int
    permissions: Permissions
    lock: Lock | None = None


@dataclass(slots=True, kw_only=True)
class PoolObject(ABC):
    """One object of a pool. Changes are made on the model and written with a statement.

    Attributes:
        oid: id, ``NO_OID`` until it is given one.
        uid: owner.
        gid: group.
        lock: None when it is not locked.
        template: user attributes.
    """

    KIND: ClassVar[Kind]
    EXTRA_COLUMNS: ClassVar[tuple[str, ...]] = ()
    """Columns beside those that every pool has; never changed after the insert."""

    oid: int = NO_OID
    name: str
    uid: int = 0
    gid: int = 0
    uname: str = ""
    gname: str = ""
    permissions: Permissions = OWNER_MANAGES
    lock: Lock | None = None
    template: Template = field(default_factory=Template)

    @abstractmethod
    def body(self) -> str:
        """The object as XML, as it stands in the table."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """The object in a body; a ``ValueError`` or ``KeyError`` when it is none."""

    def extra_values(self) -> tuple[Value, ...]:
        """Values of ``EXTRA_COLUMNS``."""
        return ()

    def _columns(self) -> tuple[Value, ...]:
        mode = self.permissions.mode
        return (
            self.name,
            self.body(),
            self.uid,
            self.gid,
            mode >> 8 & 1,
            mode >> 5 & 1,
            mode >> 2 & 1,
        )

    def insert(self) -> Statement:
        extra = "".join([f", {column}" for column in self.EXTRA_COLUMNS])
        marks = ", ?" * len(self.EXTRA_COLUMNS)
        return Statement(
            f"INSERT INTO {self.KIND.table} "  # noqa: S608  # names are constants of the code
            f"(oid, name, body, uid, gid, owner_u, group_u, other_u{extra}) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, ?{marks})",
            (self.oid, *self._columns(), *self.extra_values()),
        )

    def update(self) -> Statement:
        return Statement(
            f"UPDATE {self.KIND.table} SET name = ?, body = ?, uid = ?, gid = ?, "  # noqa: S608
            "owner_u = ?, group_u = ?, other_u = ? WHERE oid = ?",
            (*self._columns(), self.oid),
        )

    def delete(self) -> Statement:
        return Statement(f"DELETE FROM {self.KIND.table} WHERE oid = ?", (self.oid,))  # noqa: S608

    @classmethod
    def load(cls, reader: Reader, oid: int) -> Self | None:
        rows = reader.rows(f"SELECT body FROM {cls.KIND.table} WHERE oid = ?", (oid,))  # noqa: S608
        return cls.parse(str(rows[0][0])) if rows else None


def read_body(reader: Reader, kind: Kind, oid: int) -> tuple[Header, str] | None:
    """Columns and body of one object, without parsing it: what an ``info`` needs."""
    rows = reader.rows(
        "SELECT oid, uid, gid, owner_u, group_u, other_u, body "  # noqa: S608
        f"FROM {kind.table} WHERE oid = ?",
        (oid,),
    )
    return (_header(rows[0]), str(rows[0][6])) if rows else None


def _header(row: Row) -> Header:
    oid, uid, gid, owner_u, group_u, other_u = (int(column or 0) for column in row[:6])
    return Header(oid, uid, gid, Permissions(owner_u << 8 | group_u << 5 | other_u << 2))


def named(reader: Reader, kind: Kind, name: str) -> int | None:
    """Id of the object called ``name``, where names are unique in the zone."""
    rows = reader.rows(f"SELECT oid FROM {kind.table} WHERE name = ?", (name,))  # noqa: S608
    return int(rows[0][0] or 0) if rows else None
