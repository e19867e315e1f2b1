"""What a hook is told, and what a hook that lives in the daemon looks like to the runner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Backoff", "Occasion", "Resident", "Side"]


class Side(StrEnum):
    """The two roles that have a hook."""

    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a hook runs: which server took which role in which term."""

    side: Side
    term: int
    server_id: int
    server_name: str

    def environment(self) -> dict[str, str]:
        """The variables that every hook gets."""
        return {
            "ONED_ROLE": self.side.value,
            "ONED_TERM": str(self.term),
            "ONED_SERVER_ID": str(self.server_id),
            "ONED_SERVER_NAME": self.server_name,
        }


class Resident(Protocol):
    """A hook that runs inside the daemon."""

    def check(self, arguments: Sequence[str]) -> None:
        """Refuse arguments or an environment that can never work.

        Raises:
            ConfigError: with what is allowed.
        """
        ...

    async def run(self, arguments: Sequence[str], occasion: Occasion) -> None:
        """Do what the role asks for.

        For a leader it may go on until it is cancelled, which is how it learns that the role
        ended; it then cleans up within a second or two and raises ``CancelledError``.

        Raises:
            HookError: it did not work; the runner calls again while the role lasts.
        """
        ...

    async def close(self) -> None:
        """The server ends, and nothing runs any more: clean up within seconds, let go of
        connections.
        """
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing pauses between attempts, in seconds."""

    first: float
    most: float

    def __iter__(self) -> Iterator[float]:
        pause = self.first
        while True:
            yield pause
            pause = min(pause * 2, self.most)
