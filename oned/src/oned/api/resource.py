"""What a resource says about itself, so that the common verbs can be made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from oned.api.calls import Call
from oned.api.locks import Key
from oned.state.entry import Row, Statement
from oned.state.objects import Kind, PoolObject
from oned.state.permissions import Right

T = TypeVar("T", bound=PoolObject)


def _no_objection(_call: Call, _found: PoolObject) -> str | None:
    return None


def _nothing_else(_call: Call, _found: PoolObject) -> tuple[Statement, ...]:
    return ()


def _unchanged(_found: PoolObject) -> None:
    return None


def _as_stored(_call: Call, _oid: int, body: str) -> str:
    return body


@dataclass(frozen=True, kw_only=True)
class Resource(Generic[T]):
    """One resource of the API.

    Attributes:
        noun: in the methods' names: ``one.<noun>.info`` and ``one.<noun>pool.info``.
        model: its objects.
        update_right: needed for ``update``.
        rename_right: needed for ``rename``.
        delete_right: needed for ``delete``.
        self_id: of the caller's own object, that the id -1 means; None where it means nothing.
        whole_table: writers lock the table, because one object's change may touch others.
        also_locks: what a deletion locks beside the object.
        objection: why an object cannot be deleted now; None when it can.
        and_remove: what else goes when an object is deleted.
        settle: puts a model in order after its template was changed.
        show: an object as ``info`` answers it, from id and stored body.
        show_pool: a list as ``pool.info`` answers it, from ids and stored bodies.
    """

    noun: str
    model: type[T]
    update_right: Right = Right.MANAGE
    rename_right: Right = Right.MANAGE
    delete_right: Right = Right.MANAGE
    self_id: Callable[[Call], int] | None = None
    whole_table: bool = False
    also_locks: tuple[Key, ...] = ()
    objection: Callable[[Call, T], str | None] = _no_objection
    and_remove: Callable[[Call, T], tuple[Statement, ...]] = _nothing_else
    settle: Callable[[T], None] = _unchanged
    show: Callable[[Call, int, str], str] = _as_stored
    show_pool: Callable[[Call, list[Row]], str] | None = None

    @property
    def kind(self) -> Kind:
        return self.model.KIND

    def key(self, oid: int) -> Key:
        """What a call that changes this object locks."""
        return table_key(self.kind) if self.whole_table else (self.kind.table, oid)

    def name_key(self, name: str) -> Key:
        """What a call that takes this name locks."""
        return (self.kind.table, f"name {name}")


def table_key(kind: Kind) -> Key:
    """The lock on a whole table, for resources that say ``whole_table``."""
    return (kind.table, "*")
