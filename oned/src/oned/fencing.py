"""A fence: a file by which a server is taken out of its zone while its process stays.

For whoever wants to look at a server that misbehaves, or to be sure that it does not. The file is
read, never written: in a pod it is the downward API's, on a machine the administrator makes it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FENCED", "Fence", "fenced_report"]

LOOK_SECONDS = 1.0
"""Time between two looks at the file. It may be replaced whole, by a link to another one, which
not every file system tells those who watch it."""

FENCED = "true"
"""What the file says of a fenced server; white space around it does not matter."""

_CONTENT_MAX = 64

_log = structlog.get_logger()


@dataclass(slots=True)
class Fence:
    """Whether this server is fenced. A file that is not there says no."""

    path: Path
    _is_up: bool = False

    def is_up(self) -> bool:
        """Look at the file. While it cannot be read, it says what it said last."""
        try:
            with self.path.open("rb") as file:
                self._is_up = file.read(_CONTENT_MAX).strip() == FENCED.encode()
        except FileNotFoundError:
            self._is_up = False
        except OSError as error:
            _log.warning("the fence cannot be read", path=str(self.path), error=str(error))
        return self._is_up

    async def wait(self, *, up: bool) -> None:
        """Until it is up, or down."""
        while self.is_up() != up:  # noqa: ASYNC110 - a file, not an event of this process
            await asyncio.sleep(LOOK_SECONDS)


def fenced_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """What ``/status`` shows of a server that takes no part: what its database says."""
    unknown = {"match": None, "lag": None, "last_contact_seconds": None}
    return {
        **report,
        "state": "fenced",
        "leader_id": -1,
        "serving": False,
        "staleness_seconds": None,
        "members": [{**member, **unknown} for member in report["members"]],
        "certificates": {},
    }
