"""The snapshot file that a leader streams from: made once, shared, kept for a broken stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from oned.raft.types import Index
from oned.storage.export import Export

KEEP_SECONDS = 300.0
"""How long a file waits for a stream that broke to go on."""

Writer: TypeAlias = Callable[[Path, Path], Awaitable[Export]]
"""Writes a snapshot of a database to a file."""


@dataclass(slots=True)
class _File:
    path: Path
    made: asyncio.Future[Export]
    streams: int = 0
    forget: asyncio.TimerHandle | None = None


class Exports:
    """At most one file; streams that begin while others run use the same one.

    Args:
        database: of this server.
        directory: where the file stands.
        writer: makes it.
        kind: how its name begins; other files of the directory are left alone.
    """

    def __init__(
        self, database: Path, directory: Path, writer: Writer, kind: str = "outgoing"
    ) -> None:
        self._database = database
        self._directory = directory
        self._writer = writer
        self._kind = kind
        self._file: _File | None = None
        self._count = 0
        for left_over in directory.glob(f"{kind}-*"):
            left_over.unlink()

    async def take(self, oldest: Index) -> tuple[Path, Export]:
        """A file to stream, that ends at ``oldest`` or later; give it back when done with it.

        Raises:
            StorageError: it could not be made.
        """
        file = self._file
        if file is None or not self._fits(file, oldest):
            file = self._file = self._make()
        if file.forget is not None:
            file.forget.cancel()
            file.forget = None
        file.streams += 1
        try:
            return file.path, await asyncio.shield(file.made)
        except BaseException:
            self.give_back(file.path, whole=True)
            raise

    def give_back(self, path: Path, *, whole: bool) -> None:
        """A stream ended; one that broke may want to go on later."""
        file = self._file
        if file is None or file.path != path:
            path.unlink(missing_ok=True)  # a newer one has taken its place
            return
        file.streams -= 1
        if file.streams:
            return
        if whole:
            self._forget(file)
        else:
            loop = asyncio.get_running_loop()
            file.forget = loop.call_later(KEEP_SECONDS, self._forget, file)

    def _make(self) -> _File:
        self._count += 1
        path = self._directory / f"{self._kind}-{self._count}.gz"
        return _File(path, asyncio.ensure_future(self._writer(self._database, path)))

    def _fits(self, file: _File, oldest: Index) -> bool:
        if not file.made.done():
            return True
        return (
            not file.made.cancelled()
            and file.made.exception() is None
            and file.made.result().header.index >= oldest
        )

    def _forget(self, file: _File) -> None:
        if file.forget is not None:
            file.forget.cancel()
        file.made.cancel()
        file.path.unlink(missing_ok=True)
        if self._file is file:
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._forget(self._file)
