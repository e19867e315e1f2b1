"""Running a program: output captured and bounded, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from oned.errors import HookError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Result", "execute"]

OUTPUT_BYTES = 64 * 1024
"""How much of the end of a program's output is kept."""

TERMINATE_SECONDS = 2.0
"""How long a program may take to end after SIGTERM before it gets SIGKILL."""

KILL_SECONDS = 5.0
"""How long to wait for a killed program: one that hangs in the kernel is given up."""

_CHUNK = 16 * 1024
_log = structlog.get_logger()
_endings: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended: its exit code (negative: the signal) and the end of its output."""

    code: int
    output: str


class _Output:
    """The read end of a pipe, emptied as it fills, of which only the end is kept.

    The pipe is ours and not asyncio's, so that a program has ended when its process has, even
    when a child it left in the background still holds the other end.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._dropped = 0
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read, self._take)

    def _take(self) -> bool:
        try:
            chunk = os.read(self._read, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._read)
            return False
        self._kept += chunk
        excess = len(self._kept) - OUTPUT_BYTES
        if excess > 0:
            del self._kept[:excess]
            self._dropped += excess
        return True

    def close(self) -> str:
        for _ in range(OUTPUT_BYTES // _CHUNK + 1):  # what a pipe can hold at most
            if not self._take():
                break
        self._loop.remove_reader(self._read)
        os.close(self._read)
        text = self._kept.decode(errors="replace").strip()
        return f"[{self._dropped} bytes dropped] {text}" if self._dropped else text


async def execute(
    program: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> Result:
    """Run a program to its end, in a process group of its own, with nothing on its input.

    When the caller is cancelled or the time is over, the whole group is ended before this
    returns: what comes next never meets what went before.

    Args:
        program: path, or a name on PATH.
        arguments: passed as they are, no shell.
        environment: added to ours.
        seconds: None for no limit.

    Raises:
        HookError: it cannot be started, or it took too long.
    """
    output = _Output()
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write,
                stderr=output.write,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        finally:
            os.close(output.write)
        code = await _ended(process, program, seconds)
    except (OSError, ValueError) as error:
        output.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HookError(f"{program} cannot be run: {reason}") from error
    except BaseException:
        output.close()
        raise
    return Result(code, output.close())


async def _ended(process: asyncio.subprocess.Process, program: str, seconds: float | None) -> int:
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except BaseException as error:
        ending = asyncio.create_task(_end(process, program))
        _endings.add(ending)
        ending.add_done_callback(_endings.discard)
        await asyncio.shield(ending)
        if isinstance(error, TimeoutError):
            raise HookError(f"{program} took more than {seconds} s") from error
        raise


async def _end(process: asyncio.subprocess.Process, program: str) -> None:
    for number, seconds in ((signal.SIGTERM, TERMINATE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await process.wait()
                return
    _log.error("program survives being killed", program=program, pid=process.pid)
