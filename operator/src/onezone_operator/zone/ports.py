"""What the operator needs of a zone's servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onezone_operator.models.observed import ServerReport

__all__ = ["ZoneApi"]


class ZoneApi(Protocol):
    """Calls on servers by the addresses of their pods. Each call has a deadline."""

    async def read_reports(self, addresses: Mapping[str, str]) -> dict[str, ServerReport]:
        """``/status`` of these servers (name → address), at once; the silent ones are absent."""
        ...

    async def add_server(
        self, address: str, session: str, *, name: str, endpoint: str, peer: str
    ) -> None:
        """Add a server, as a learner, through the leader at ``address``."""
        ...

    async def delete_server(self, address: str, session: str, *, server_id: int) -> None:
        """Remove a server through the leader at ``address``."""
        ...

    async def transfer_leadership(self, address: str, session: str, *, server_id: int) -> int:
        """Hand over to a server, or to the best (-1); the id of the one that leads then."""
        ...
