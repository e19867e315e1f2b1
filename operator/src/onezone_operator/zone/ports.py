"""What the operator needs of a zone's servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onezone_operator.models.observed import ServerReport

__all__ = ["ApiAddress", "ZoneApi"]


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where a server's API is called.

    Attributes:
        address: of its pod.
        host: its DNS name, which its certificate has.
        authority: PEM of what the certificate is held against; None for a server that speaks
            http. An empty one fits no certificate.
    """

    address: str
    host: str
    authority: str | None = None


class ZoneApi(Protocol):
    """Calls on servers by the addresses of their pods. Each call has a deadline."""

    async def read_reports(self, addresses: Mapping[str, str]) -> dict[str, ServerReport]:
        """``/status`` of these servers (name → address), at once; the silent ones are absent."""
        ...

    async def add_server(
        self, address: ApiAddress, session: str, *, name: str, endpoint: str, peer: str
    ) -> None:
        """Add a server, as a learner, through the leader at ``address``."""
        ...

    async def delete_server(self, address: ApiAddress, session: str, *, server_id: int) -> None:
        """Remove a server through the leader at ``address``."""
        ...

    async def transfer_leadership(
        self, address: ApiAddress, session: str, *, server_id: int
    ) -> int:
        """Hand over to a server, or to the best (-1); the id of the one that leads then."""
        ...
