"""``GET /backup``: this server's content as a file, for oneadmin and whoever may do all.

Any server answers, a follower best: a backup holds what is applied here. It is written by a
process of its own, one at a time, and streamed with its length and checksum, so that a stream
that was cut is seen to be.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import structlog
from aiohttp import web

from oned.api.auth import Authenticator
from oned.api.ports import Front
from oned.errors import Busy, NotLeader, StorageError
from oned.state import users
from oned.storage.export import Export

PATH = "/backup"
CHECKSUM_HEADER = "X-One-Checksum"
"""SHA-256 of the whole file, in hexadecimal."""

INDEX_HEADER = "X-One-Index"
"""The log entry up to which the file holds everything."""

SERVER_HEADER = "X-One-Server"

BLOCK = 256 * 1024
"""Bytes that are read and sent at a time."""

STALL_SECONDS = 60.0
"""How long a client may take nothing before it is given up: the next one waits for it."""

Hook: TypeAlias = Callable[[str, float, int], None]
"""Told of every backup: ``success`` or ``failed``, seconds, and bytes."""

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="OpenNebula"'}
_log = structlog.get_logger()


class Backups:
    """Answers requests for backups of one server.

    Args:
        front: the replicated database.
        authenticator: who a user and password stand for.
        hook: see ``Hook``.
    """

    def __init__(
        self, front: Front, authenticator: Authenticator, hook: Hook | None = None
    ) -> None:
        self._front = front
        self._authenticator = authenticator
        self._hook = hook
        self._under_way = asyncio.Lock()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A stream, or why there is none."""
        if request.method != "GET":
            return _refusal(405, "A backup is asked for with GET", {"Allow": "GET"})
        try:
            refused = self._refusal_to(request.headers.get("Authorization", ""))
        except StorageError as error:
            return _refusal(503, f"The database cannot be read: {error}")
        if refused is not None:
            return refused
        if self._under_way.locked():
            return _refusal(503, "Another backup is being made here", {"Retry-After": "10"})
        async with self._under_way:
            return await self._make(request)

    def _refusal_to(self, credentials: str) -> web.Response | None:
        """Why somebody gets no backup: it holds everything, so that only who may do all has it."""
        session = _session(credentials)
        caller = None
        if session:
            caller = self._authenticator.caller(
                session,
                reader=self._front.reader,
                version=self._front.table_version(users.KIND.table),
            )
        if caller is None:
            return _refusal(401, "User or password is wrong", _CHALLENGE)
        if not caller.is_admin or caller.restricted:
            return _refusal(403, "Only oneadmin, or a user of its group, may take a backup")
        return None

    async def _make(self, request: web.BaseRequest) -> web.StreamResponse:
        started, size = time.monotonic(), 0
        # A follower waits until it has what was acknowledged anywhere before it was asked. Where
        # nobody can tell it, a backup of what it has is better than none.
        with suppress(NotLeader, Busy):
            await self._front.read_barrier()
        try:
            async with self._front.backup() as (path, export):
                response, whole = await _send(request, path, export, self._front.status().server_id)
                size = export.size if whole else 0
                return response
        except StorageError as error:
            return _refusal(503, f"No backup could be made: {error}")
        finally:
            if self._hook is not None:
                outcome = "success" if size else "failed"
                self._hook(outcome, time.monotonic() - started, size)


async def _send(
    request: web.BaseRequest, path: Path, export: Export, server_id: int
) -> tuple[web.StreamResponse, bool]:
    """The response, and whether all of it was sent."""
    response = web.StreamResponse(
        headers={
            CHECKSUM_HEADER: export.checksum,
            INDEX_HEADER: str(export.header.index),
            SERVER_HEADER: str(server_id),
        }
    )
    response.content_type = "application/octet-stream"
    response.content_length = export.size
    loop = asyncio.get_running_loop()
    file: BinaryIO = await loop.run_in_executor(None, path.open, "rb")
    try:
        await response.prepare(request)
        await _write(response, file, export.size)
    except (OSError, TimeoutError) as error:
        # The headers are out: all that can be told is that the stream ends too early.
        _log.warning("a backup was not sent to its end", error=str(error))
        response.force_close()
        with suppress(OSError):
            if request.transport is not None:
                request.transport.abort()
        return response, False
    finally:
        file.close()
    return response, True


async def _write(response: web.StreamResponse, file: BinaryIO, size: int) -> None:
    """Send a file to its end.

    Raises:
        OSError: the client is gone, or the file has another size than ``size``.
        TimeoutError: the client takes nothing.
    """
    loop = asyncio.get_running_loop()
    while block := await loop.run_in_executor(None, file.read, BLOCK):
        async with asyncio.timeout(STALL_SECONDS):
            await response.write(block)
        size -= len(block)
    if size:
        raise OSError("the file has another size than it had")
    async with asyncio.timeout(STALL_SECONDS):
        await response.write_eof()


def _session(authorization: str) -> str:
    """``user:password`` of HTTP Basic; empty when it is none."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _refusal(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)
