"""What the API needs from the server below it; ``oned.node.Node`` provides it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from oned.raft.types import Configuration, Follower, RaftStatus, ServerId, Term
from oned.state.entry import Change, Reader
from oned.storage.export import Export


class Front(Protocol):
    """The replicated database as one API call sees it."""

    @property
    def reader(self) -> Reader:
        """This server's own tables, at its applied index. Not to be kept across an await."""
        ...

    def status(self) -> RaftStatus: ...

    def configuration(self) -> Configuration:
        """The latest configuration in the log, committed or not."""
        ...

    def table_version(self, table: str) -> int:
        """Grows whenever an applied change or a snapshot touches the table: a cache's stamp."""
        ...

    async def propose(
        self, change: Change, *, term: Term, configuration: Configuration | None = None
    ) -> None:
        """Replicate ``change`` and return once this server has applied it.

        Args:
            change: the statements, built from what was read in ``term``.
            term: the term in which the caller read; refused when another one has begun, so
                that a change never rests on what a former term showed.
            configuration: the new member set when the change is one of membership.

        Raises:
            NotLeader, Busy, MembershipPending, Rejected: nothing was changed.
            OutcomeUnknown: it may have been, or may be later.
        """
        ...

    async def read_barrier(self) -> None:
        """Return once ``reader`` shows every change acknowledged anywhere before this call.

        A leader makes sure that it still leads; a follower asks its leader how far it must be.

        Raises:
            NotLeader: nobody confirms it; another server may be able to.
            Busy: too many wait for the same.
        """
        ...

    async def transfer_leadership(self, to: ServerId | None = None) -> bool:
        """Hand over to ``to`` or the best follower; False when nobody took over in time."""
        ...

    def backup(self) -> AbstractAsyncContextManager[tuple[Path, Export]]:
        """A file with all that is applied here, as ``oned.storage.backup`` restores it.

        Raises:
            StorageError: this server has no content, or it cannot be written to a file now.
        """
        ...

    def successor(self) -> ServerId | None:
        """Who would take over soonest; None when nobody can, or this server does not lead."""
        ...

    def follower(self, server_id: ServerId) -> Follower | None:
        """What this leader knows of another server; None when it does not lead, or know it."""
        ...

    async def reset_server(self, server_id: ServerId) -> None:
        """Send a server a fresh snapshot whatever its log holds; an unknown id is no error."""
        ...
