"""One PySyncObj server, for the benchmark only.

PySyncObj has no protocol for clients. Its poll loop also watches our HTTP sockets, so that a call
costs no thread and no tick of waiting: the cheapest front that it can have.

With ``--tuned`` it sends entries every 2 ms instead of every 100 ms, which was fastest here, and
its journal, a memory map that is never synced, is synced before any message leaves the process.
That is when Raft demands it: of an entry before it is acknowledged to the leader, and on the leader
before it is sent.
"""

from __future__ import annotations

import argparse
import re
import socket
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated
from pysyncobj.poller import POLL_EVENT_TYPE

DEFAULT_PERIODS = (0.1, 0.05)
TUNED_PERIODS = (0.002, 0.001)
"""Seconds between two messages with entries, and between two looks at the clock."""

_HEAD = re.compile(
    rb"(GET|PUT) /(\S*) .*?content-length: *(\d+).*?\r\n\r\n", re.DOTALL | re.IGNORECASE
)


class Store(SyncObj):  # type: ignore[misc]
    """A replicated dictionary."""

    def __init__(self, peer: str, others: list[str], journal: str, period: float) -> None:
        self.values: dict[str, str] = {}
        super().__init__(
            peer,
            others,
            SyncObjConf(
                journalFile=journal,
                autoTick=False,
                appendEntriesPeriod=period,
                connectionRetryTime=0.5,
            ),
        )

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: str) -> None:
        self.values[key] = value


def sync_before_sending(store: Any) -> None:
    """Let no message leave before all that the journal holds is on the disk."""
    journal, transport = store._SyncObj__raftLog, store._SyncObj__transport  # noqa: SLF001
    add, send = journal.add, transport.send
    unsynced = False

    def adding(*entry: Any) -> None:
        nonlocal unsynced
        unsynced = True
        add(*entry)

    def sending(node: Any, message: Any) -> Any:
        nonlocal unsynced
        if unsynced:
            journal.flush()
            unsynced = False
        return send(node, message)

    journal.add, transport.send = adding, sending


class Front:
    """HTTP on PySyncObj's own poll loop."""

    def __init__(self, store: Store, port: int) -> None:
        self._store = store
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._connections: dict[int, tuple[socket.socket, bytes]] = {}
        store._poller.subscribe(  # noqa: SLF001
            self._listener.fileno(), self._accept, POLL_EVENT_TYPE.READ
        )

    def _accept(self, _descriptor: int, _event: int) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection, b""
        self._store._poller.subscribe(  # noqa: SLF001
            connection.fileno(), self._read, POLL_EVENT_TYPE.READ | POLL_EVENT_TYPE.ERROR
        )

    def _read(self, descriptor: int, _event: int) -> None:
        connection, buffer = self._connections[descriptor]
        try:
            data = connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._store._poller.unsubscribe(descriptor)  # noqa: SLF001
            del self._connections[descriptor]
            connection.close()
            return
        buffer += data
        head = _HEAD.match(buffer)
        if head is None and buffer.endswith(b"\r\n\r\n"):
            self._answer(connection, b"yes" if self._store._isLeader() else b"no")  # noqa: SLF001
            buffer = b""
        elif head is not None and len(buffer) >= head.end() + int(head[3]):
            self._call(connection, head[1], head[2].decode(), buffer[head.end() :].decode())
            buffer = b""
        self._connections[descriptor] = connection, buffer

    def _call(self, connection: socket.socket, method: bytes, key: str, value: str) -> None:
        if method == b"GET":
            self._answer(connection, self._store.values.get(key, "").encode())
            return

        def done(_result: Any, failure: int) -> None:
            self._answer(connection, b"failed: %d" % failure if failure else b"done")

        self._store.put(key, value, callback=done)

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except OSError:
            return


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("peer")
    parser.add_argument("others", nargs="+")
    asked = parser.parse_args()
    period, tick = TUNED_PERIODS if asked.tuned else DEFAULT_PERIODS
    store = Store(asked.peer, asked.others, asked.journal, period)
    if asked.tuned:
        sync_before_sending(store)
    Front(store, asked.http)
    while True:
        store.doTick(tick)


if __name__ == "__main__":
    main()
