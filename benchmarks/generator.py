"""A load generator: some clients, each with one connection and one call under way at a time.

It runs in a process of its own, so that what it costs can be told from what the servers cost, and
works on bare sockets, so that it costs little: a few microseconds of its own a call. Every system
is loaded by this same code; only the bytes of a call differ.

    python -m benchmarks.generator < load.json > outcome.json
"""

from __future__ import annotations

import itertools
import json
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from benchmarks.http2 import Http2Calls

RECEIVE_BYTES = 1 << 16
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""A server that answers nobody for so long has failed."""

ERRORS_MAX = 3
"""Refusals that are kept to be shown; all are counted."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of one server.

    Attributes:
        port: on 127.0.0.1.
        calls: one for each client, which repeats it: a whole HTTP request, or for gRPC the
            message of a call.
        success: what an HTTP answer holds when the call succeeded.
        grpc_path: the method when this is gRPC; empty for HTTP.
        serial: bytes in an HTTP call in whose place each call has a number of its own, with as many
            digits; empty when all calls of a client are the same.
    """

    port: int
    calls: tuple[bytes, ...]
    success: bytes = b""
    grpc_path: str = ""
    serial: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in seconds; percentiles are of the calls that succeeded after the warm-up.

    Attributes:
        total: calls answered with success, warm-up too: what the servers' CPU is divided by.
        cpu: CPU seconds of the generator, for ``total`` calls.
    """

    rate: float
    p50: float
    p99: float
    longest: float
    total: int
    failed: int
    cpu: float
    errors: tuple[str, ...]


class Calls(Protocol):
    """One connection's protocol: the bytes of the next call, and whether an answer is whole."""

    def preface(self) -> bytes:
        """What is sent once, when the connection is new."""
        ...

    def call(self) -> bytes:
        """The next call."""
        ...

    def feed(self, data: bytes) -> tuple[bool, str] | None:
        """None while the answer is not whole, else success and an error's text."""
        ...

    def answer(self) -> bytes:
        """What the protocol itself wants sent now."""
        ...


_NO_NUMBERS: Iterator[int] = iter(())


class HttpCalls:
    """HTTP/1.1 with a connection that stays open."""

    _LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

    def __init__(
        self,
        request: bytes,
        success: bytes,
        serial: bytes = b"",
        numbers: Iterator[int] = _NO_NUMBERS,
    ) -> None:
        self._request, self._success = request, success
        self._serial, self._numbers = serial, numbers
        self._buffer = b""

    def preface(self) -> bytes:
        return b""

    def call(self) -> bytes:
        if not self._serial:
            return self._request
        number = b"%0*d" % (len(self._serial), next(self._numbers))
        return self._request.replace(self._serial, number)

    def answer(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> tuple[bool, str] | None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = self._LENGTH.search(self._buffer, 0, end + 2)
        if length is None:
            raise ValueError(f"an answer without a length: {self._buffer[:200]!r}")
        whole = end + 4 + int(length[1])
        if len(self._buffer) < whole:
            return None
        if len(self._buffer) > whole:
            raise ValueError("more than was asked for")
        body, self._buffer = self._buffer[end + 4 :], b""
        if self._success in body:
            return True, ""
        return False, body[-300:].decode(errors="replace")


class _Client:
    def __init__(self, load: Load, call: bytes, numbers: Iterator[int]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", load.port), CONNECT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.calls: Calls = (
            Http2Calls(load.grpc_path, load.port, call)
            if load.grpc_path
            else HttpCalls(call, load.success, load.serial, numbers)
        )
        self.started = 0.0
        self.socket.sendall(self.calls.preface())

    def send(self) -> None:
        self.started = time.perf_counter()
        self.socket.sendall(self.calls.call())


def percentile(ordered: list[float], share: float) -> float:
    """The value that ``share`` of the sorted values do not exceed; 0 when there is none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def run(load: Load, *, seconds: float, warm_up: float, most: int = 0) -> Outcome:
    """Keep every client busy for ``warm_up`` and then ``seconds``.

    It ends sooner on SIGTERM, and when ``most`` calls succeeded, if that is not 0.

    Raises:
        OSError: the server is not there, or went away.
    """
    cpu = time.process_time()
    latencies: list[float] = []
    errors: list[str] = []
    total = failed = 0
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    def goes_on(now: float) -> bool:
        return now < end

    def stop(_number: int, _frame: object) -> None:
        nonlocal end
        end = min(end, time.perf_counter())

    signal.signal(signal.SIGTERM, stop)

    for client, when, outcome in _answers(load, goes_on):
        success, error = outcome
        if not success:
            failed += 1
            if len(errors) < ERRORS_MAX and error not in errors:
                errors.append(error)
            continue
        total += 1
        if total == most:
            end = when
        if begin <= when <= end:
            latencies.append(when - client.started)
    latencies.sort()
    return Outcome(
        rate=len(latencies) / max(end - begin, 1e-9),
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        longest=latencies[-1] if latencies else 0.0,
        total=total,
        failed=failed,
        cpu=time.process_time() - cpu,
        errors=tuple(errors),
    )


def _answers(
    load: Load, goes_on: Callable[[float], bool]
) -> Iterator[tuple[_Client, float, tuple[bool, str]]]:
    """Each answer as it is whole; its client calls again if it goes on."""
    poll = select.epoll()
    clients: dict[int, _Client] = {}
    numbers = itertools.count()
    for call in load.calls:
        client = _Client(load, call, numbers)
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    for client in clients.values():
        client.send()
    busy = len(clients)
    while busy:
        ready = poll.poll(SILENCE_SECONDS)
        if not ready:
            raise TimeoutError(f"no answer for {SILENCE_SECONDS:g} seconds")
        for descriptor, _ in ready:
            client = clients[descriptor]
            data = client.socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the server closed a connection")
            outcome = client.calls.feed(data)
            if reply := client.calls.answer():
                client.socket.sendall(reply)
            if outcome is None:
                continue
            now = time.perf_counter()
            yield client, now, outcome
            if goes_on(now):
                client.send()
            else:
                busy -= 1
    for client in clients.values():
        client.socket.close()


def main() -> None:
    """Read what to do from standard input and write what came of it to standard output."""
    asked = json.load(sys.stdin)
    load = Load(
        port=asked["port"],
        calls=tuple(bytes.fromhex(call) for call in asked["calls"]),
        success=bytes.fromhex(asked["success"]),
        grpc_path=asked["grpc_path"],
        serial=bytes.fromhex(asked["serial"]),
    )
    outcome = run(load, seconds=asked["seconds"], warm_up=asked["warm_up"], most=asked["most"])
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
