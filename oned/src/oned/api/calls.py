"""One call in progress: who calls, what it may read, and how it changes something."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from oned.api.auth import Authenticator
from oned.api.ids import Ids
from oned.api.locks import Key, ObjectLocks
from oned.api.ports import Front
from oned.api.responses import not_found, unauthorized
from oned.config import Config
from oned.errors import OutcomeUnknown, ProposalError
from oned.raft.types import Configuration, Term
from oned.state import acl, zones
from oned.state.acl import ObjectType, Rules
from oned.state.callers import Caller
from oned.state.entry import Change, Reader, Statement
from oned.state.objects import Header, Kind, PoolObject
from oned.state.permissions import Permissions, Right

T = TypeVar("T", bound=PoolObject)


class PassToNewLeader(Exception):
    """This server gave the lead away for the call's sake: nothing is done yet, the next one can."""


class Services:
    """What all calls of a server share.

    Args:
        front: the replicated database.
        config: oned.conf.
        clock: seconds since the epoch.
    """

    def __init__(
        self, front: Front, config: Config, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.front = front
        self.config = config
        self.clock = clock
        self.zone_id = config.federation.zone_id
        self.ids = Ids()
        self.locks = ObjectLocks()
        self.authenticator = Authenticator(
            default_umask=config.default_umask,
            expiration=config.session_expiration_time_seconds,
            clock=clock,
        )
        self._rules = Rules((), zone_id=self.zone_id)
        self._rules_version = -1
        self._disabled = False
        self._zone_version = -1

    @property
    def rules(self) -> Rules:
        """The access rules at the applied index."""
        version = self.front.table_version(acl.TABLE)
        if version != self._rules_version:
            self._rules = Rules.read(self.front.reader, zone_id=self.zone_id)
            self._rules_version = version
        return self._rules

    @property
    def zone_disabled(self) -> bool:
        """Whether this zone refuses changes."""
        version = self.front.table_version(zones.KIND.table)
        if version != self._zone_version:
            self._disabled = zones.is_disabled(self.front.reader, self.zone_id)
            self._zone_version = version
        return self._disabled


@dataclass(frozen=True, slots=True)
class Want:
    """A right that a call needs, on an object or (``oid`` -1) on a type."""

    right: Right
    type: ObjectType
    oid: int = -1
    uid: int = -1
    gid: int = -1
    permissions: Permissions = field(default=Permissions(0))
    blocked: bool = False

    def __str__(self) -> str:
        where = f" [{self.oid}]" if self.oid >= 0 else ""
        return f"{self.right.name} {self.type.name}{where}"


def wants(right: Right, target: PoolObject | Header, kind: Kind, *, lock: bool = True) -> Want:
    """The right on one object; ``lock`` is False where a lock does not hinder."""
    return Want(
        right,
        kind.type,
        target.oid,
        target.uid,
        target.gid,
        target.permissions,
        blocked=lock and target.lock is not None and target.lock.blocks(right),
    )


def create(kind: Kind) -> Want:
    return Want(Right.CREATE, kind.type)


class Call:
    """An authenticated call that this server executes.

    Attributes:
        method: its name.
        term: in which its reads are made; a change built from them is refused in a later one.
        changed: whether its change was made, or may have been.
    """

    __slots__ = ("caller", "changed", "method", "services", "term")

    def __init__(
        self,
        *,
        method: str,
        caller: Caller,
        term: Term,
        services: Services,
    ) -> None:
        self.method = method
        self.changed = False
        self.caller = caller
        self.term = term
        self.services = services

    @property
    def front(self) -> Front:
        return self.services.front

    @property
    def config(self) -> Config:
        return self.services.config

    @property
    def reader(self) -> Reader:
        """This server's tables; not to be kept across an await."""
        return self.services.front.reader

    @property
    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.services.clock())

    def load(self, model: type[T], oid: int) -> T:
        """The object with this id.

        Raises:
            Failure: NO_EXISTS.
        """
        found = model.load(self.reader, oid) if oid >= 0 else None
        if found is None:
            raise not_found(model.KIND.word, oid)
        return found

    def obtain(self, model: type[T], oid: int, right: Right, *, lock: bool = True) -> T:
        """The object with this id, for a caller with ``right`` on it.

        Raises:
            Failure: NO_EXISTS or AUTHORIZATION. A negative id stands for the whole type: only
                who has the right on all of it learns that there is no such object.
        """
        if oid < 0:
            self.authorize(Want(right, model.KIND.type))
        found = self.load(model, oid)
        self.authorize(wants(right, found, model.KIND, lock=lock))
        return found

    def authorize(self, *wanted: Want) -> None:
        """Let the call go on only with all rights in ``wanted``.

        Raises:
            Failure: AUTHORIZATION, naming each right that is missing.
        """
        missing = [text for want in wanted if (text := self._refusal(want))]
        if missing:
            raise unauthorized(self.caller.uid, "; ".join(missing))

    def _refusal(self, want: Want) -> str:
        caller = self.caller
        if want.blocked:
            if caller.is_admin:
                return f"{want.type.name} is locked. [{want.oid}]"
        elif caller.is_admin or self._permitted(want):
            return ""
        return f"Not authorized to perform {want}"

    def _permitted(self, want: Want) -> bool:
        caller, permissions = self.caller, want.permissions
        if want.oid >= 0:
            if want.uid == caller.uid and permissions.owner(want.right):
                return True
            if want.gid in caller.groups and permissions.group(want.right):
                return True
            if permissions.other(want.right):
                return True
        return self.services.rules.allow(caller, want.right, want.type, want.oid, want.gid)

    def hold(self, *keys: Key) -> AbstractAsyncContextManager[None]:
        """Lock what the call is about to change, once and all of it."""
        return self.services.locks.hold(*keys)

    def new_id(self, table: str) -> tuple[int, Statement]:
        """A new id, and the statement that must be part of the change which uses it."""
        return self.services.ids.next(table, reader=self.reader, term=self.term)

    async def change(
        self, *statements: Statement, configuration: Configuration | None = None
    ) -> None:
        """Make one change of all ``statements``, and return once it is applied here.

        A call makes one change: what has been done in part can be neither refused nor sent on.

        Raises:
            ProposalError: it was not made, or its outcome is unknown.
        """
        assert not self.changed, f"{self.method} makes a second change"
        self.changed = True
        try:
            await self.front.propose(
                Change(statements), term=self.term, configuration=configuration
            )
        except OutcomeUnknown:
            raise
        except ProposalError:
            self.changed = False
            raise
