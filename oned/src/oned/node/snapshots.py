"""Snapshots on their way: streamed by a leader, stored and installed by the one that needs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from oned.errors import DatabaseDamaged, OnedError, PeerError, StorageError
from oned.node.exports import Exports, Writer
from oned.raft.messages import SnapshotOffer
from oned.raft.types import Index, Member, ServerId, Term
from oned.storage import snapshot
from oned.storage.export import Export

if TYPE_CHECKING:
    from oned.node.driver import Node

RETRY_SECONDS = 1.0
"""Pause after a stream that failed."""

HEADERS = ("term", "leader", "to", "index")

_log = structlog.get_logger()


class Snapshots:
    """Streams of one server, in both directions; one file each way, replaced by the next."""

    def __init__(self, node: Node, directory: Path, writer: Writer) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._node = node
        self._directory = directory
        self._exports = Exports(node.store.path, directory, writer)
        # Of its own: whoever waits for the file of a stream that broke must find it again.
        self._backups = Exports(node.store.path, directory, writer, kind="backup")
        self._streams: dict[ServerId, asyncio.Task[None]] = {}
        self._retry_at: dict[ServerId, float] = {}
        self._receiving = asyncio.Lock()
        self._sending_since: dict[str, float] = {}
        self._received_bytes = 0

    async def close(self) -> None:
        for task in self._streams.values():
            task.cancel()
        await asyncio.gather(*self._streams.values(), return_exceptions=True)
        self._exports.close()
        self._backups.close()

    @asynccontextmanager
    async def backup(self) -> AsyncIterator[tuple[Path, Export]]:
        """See ``oned.api.ports.Front.backup``."""
        core = self._node.core
        if not core.initialised:
            raise StorageError("this server holds no zone yet")
        if self._node.database != "ok":
            raise StorageError(f"the database of this server is {self._node.database}")
        path, export = await self._backups.take(core.applied)
        try:
            yield path, export
        finally:
            self._backups.give_back(path, whole=True)

    def report(self, now: float) -> dict[str, Any]:
        """What is under way, for ``/status``: seconds by member, and what has arrived here."""
        return {
            "sending": {name: round(now - at, 3) for name, at in self._sending_since.items()},
            "receiving": self._receiving.locked(),
            "received_bytes": self._received_bytes if self._receiving.locked() else 0,
        }

    # --- as the leader -------------------------------------------------------------

    def tend(self) -> None:
        """Start a stream to each server that needs one and is there to take it."""
        node = self._node
        for server_id in node.core.snapshots_wanted():
            running = self._streams.get(server_id)
            member = node.core.configuration.get(server_id)
            if member is None or (running is not None and not running.done()):
                continue
            if time.monotonic() < self._retry_at.get(server_id, 0.0) or not node.post.route(
                server_id
            ):
                continue
            self._streams[server_id] = asyncio.create_task(self._stream(member, node.core.term))

    async def _stream(self, member: Member, term: Term) -> None:
        index: Index | None = None
        self._sending_since[member.name] = time.monotonic()
        try:
            index = await self._send(member, term)
            _log.info("snapshot installed", by=member.name, index=index)
        except OnedError as error:
            _log.warning("snapshot not installed", by=member.name, error=str(error))
            if isinstance(error, DatabaseDamaged):
                self._node.recovery.begin(error)
        except Exception:  # noqa: BLE001 - the root of a task
            _log.exception("snapshot stream failed", by=member.name)
        finally:
            self._sending_since.pop(member.name, None)
            self._node.observers.snapshot("sent", "failed" if index is None else "success")
            if index is None:
                self._retry_at[member.server_id] = time.monotonic() + RETRY_SECONDS
            self._node.core.snapshot_ended(member.server_id, index)

    async def _send(self, member: Member, term: Term) -> Index:
        """Stream a snapshot that the log goes on from; the index that the member holds then."""
        node = self._node
        path, export = await self._exports.take(node.core.log.base_index)
        index: Index | None = None
        try:
            _log.info(
                "sending a snapshot", to=member.name, index=export.header.index, bytes=export.size
            )
            assert node.peers is not None
            values = (term, node.core.server_id, member.server_id, export.header.index)
            headers = {name: str(value) for name, value in zip(HEADERS, values, strict=True)}
            index = Index(
                await node.peers.send_snapshot(
                    member.name, member.peer_endpoint, path, export.checksum, headers
                )
            )
        finally:
            self._exports.give_back(path, whole=index is not None)
        return index

    # --- as the one that needs it --------------------------------------------------

    def _incoming(self, checksum: str) -> Path:
        return self._directory / f"incoming-{checksum}.gz"

    def offset(self, name: str, checksum: str) -> int:
        """How much of this snapshot an earlier, broken stream has left here."""
        size = _size(self._incoming(checksum))
        _log.debug("snapshot offered", leader=name, have_bytes=size)
        return size

    async def receive(
        self, name: str, headers: Mapping[str, str], offset: int, blocks: AsyncIterator[bytes]
    ) -> int:
        """Store a stream, and install the snapshot once it is whole.

        Raises:
            PeerError: it is not for this server, of a former leader, or damaged.
        """
        if self._receiving.locked():
            raise PeerError("another snapshot is being received")
        async with self._receiving:
            outcome = "failed"
            try:
                index = await self._receive(name, headers, offset, blocks)
                outcome = "success"
            finally:
                self._node.observers.snapshot("received", outcome)
            return index

    async def _receive(
        self, name: str, headers: Mapping[str, str], offset: int, blocks: AsyncIterator[bytes]
    ) -> int:
        offer = self._offer(headers)
        path = self._incoming(headers["checksum"])
        await self._store(path, offset, blocks)
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, snapshot.checksum, path) != headers["checksum"]:
            path.unlink()
            raise PeerError("the checksum is wrong: the stream was damaged")
        try:
            return await self._install(path, offer, name)
        except OnedError as error:
            raise PeerError(f"cannot install the snapshot: {error}") from error
        finally:
            path.unlink(missing_ok=True)

    def _offer(self, headers: Mapping[str, str]) -> SnapshotOffer:
        """Whose snapshot this is; refused unless it is for us, from the leader of our term."""
        try:
            term, leader, to, index = (int(headers[name]) for name in HEADERS)
        except (KeyError, ValueError) as error:
            raise PeerError("the snapshot does not say whose it is") from error
        core = self._node.core
        if to != core.server_id or term < core.term:
            raise PeerError(f"not for server {core.server_id} in term {core.term}")
        offer = SnapshotOffer(Term(term), ServerId(leader), ServerId(to), Index(index))
        core.receive(time.monotonic(), offer)
        return offer

    async def _store(self, path: Path, offset: int, blocks: AsyncIterator[bytes]) -> None:
        for other in self._directory.glob("incoming-*"):
            if other != path:
                other.unlink()
        if _size(path) != offset:
            raise PeerError("the stream does not go on where this file ends")
        loop = asyncio.get_running_loop()
        self._received_bytes = offset
        with path.open("ab") as file:
            async for block in blocks:
                await loop.run_in_executor(None, file.write, block)
                self._received_bytes += len(block)

    async def _install(self, path: Path, offer: SnapshotOffer, name: str) -> int:
        core = self._node.core
        if offer.term < core.term:
            raise PeerError(f"term {core.term} has begun meanwhile")
        if offer.index < core.commit:
            return core.commit
        index = await self._node.install(path)
        _log.info("snapshot installed here", index=index, leader=name)
        return index


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
