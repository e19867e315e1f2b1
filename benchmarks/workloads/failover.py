"""How long nothing is acknowledged when the leader is killed, and when it is stopped.

One client writes the same key over and over; where a server fails or refuses it asks the next one,
as OpenNebula's own clients do not but every careful one does.
"""

from __future__ import annotations

import signal
import socket
import time
from dataclasses import dataclass, field

from benchmarks.generator import HttpCalls, percentile
from benchmarks.plan import Results, lacking
from benchmarks.processes import BenchmarkError
from benchmarks.systems.system import System
from benchmarks.tables import Table, ms

ATTEMPT_SECONDS = 1.0
"""After which the client gives a server up and asks the next."""

PAUSE_SECONDS = 0.005
"""Between a refusal and the next attempt."""

GIVE_UP_SECONDS = 30.0
"""A call that is not acknowledged by then has failed."""

AFTER_SECONDS = 1.0
"""For which writes go on after a stopped leader has ended."""


class RetryingClient:
    """Writes until it is acknowledged."""

    def __init__(self, system: System) -> None:
        self._loads = [system.writes(server, 1) for server in system.pids()]
        self._turn = 0
        self._socket: socket.socket | None = None
        self.refused = 0

    def begin_at(self, number: int) -> None:
        """Ask this server first."""
        self._leave()
        self._turn = number

    def write(self) -> float:
        """The time of the acknowledgement.

        Raises:
            BenchmarkError: there was none.
        """
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            if self._attempt():
                return time.monotonic()
            self.refused += 1
            self._leave()
            self._turn += 1
            time.sleep(PAUSE_SECONDS)
        raise BenchmarkError(f"no write was acknowledged for {GIVE_UP_SECONDS:g} seconds")

    def _attempt(self) -> bool:
        load = self._loads[self._turn % len(self._loads)]
        calls = HttpCalls(load.calls[0], load.success)
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", load.port), ATTEMPT_SECONDS)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(calls.call())
            while data := self._socket.recv(1 << 16):
                if outcome := calls.feed(data):
                    return outcome[0]
        except OSError:
            pass
        return False

    def _leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@dataclass(slots=True)
class Gaps:
    """Seconds without an acknowledgement, one for each leader that went.

    Attributes:
        refused: attempts that the client had to make again.
        failed: calls that were not acknowledged at all.
    """

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0


def kills(system: System, count: int) -> Gaps:
    """From SIGKILL to the acknowledgement of a write that began after it."""
    gaps = Gaps()
    client = RetryingClient(system)
    for _ in range(count):
        leader = _at_leader(system, client)
        client.write()
        system.kill(leader, signal.SIGKILL)
        killed = time.monotonic()
        try:
            gaps.seconds.append(client.write() - killed)
        except BenchmarkError:
            # Without an end there is no gap to tell the length of.
            gaps.failed += 1
        system.restart()
    gaps.refused = client.refused
    return gaps


def stops(system: System, count: int) -> Gaps:
    """The longest time between two acknowledgements while the leader stops on SIGTERM."""
    gaps = Gaps()
    client = RetryingClient(system)
    for _ in range(count):
        leader = _at_leader(system, client)
        last = client.write()
        longest = 0.0
        system.kill(leader, signal.SIGTERM)
        end = GIVE_UP_SECONDS + last
        ended = False
        while last < end:
            try:
                now = client.write()
            except BenchmarkError:
                gaps.failed += 1
                break
            longest, last = max(longest, now - last), now
            if not ended and system.has_ended(leader):
                ended, end = True, now + AFTER_SECONDS
        gaps.seconds.append(longest)
        system.restart()
    gaps.refused = client.refused
    return gaps


def _at_leader(system: System, client: RetryingClient) -> str:
    leader = system.leader()
    client.begin_at(list(system.pids()).index(leader))
    return leader


def tables(measured: dict[System, tuple[Gaps, Gaps]], absent: dict[System, str]) -> Results:
    """Kills and stops of every system."""
    results = Results()
    for which, title in enumerate(
        ("Failover, kill -9 of the leader", "Failover, graceful stop of the leader (SIGTERM)")
    ):
        table = Table(
            title,
            ("system", "times", "p50 ms", "p99 ms", "longest ms", "asked again", "failed calls"),
        )
        for system, found in measured.items():
            gaps = found[which]
            ordered = sorted(gaps.seconds)
            p50, p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
            longest = ordered[-1] if ordered else 0.0
            table.add(
                system.name,
                str(len(ordered)),
                ms(p50),
                ms(p99),
                ms(longest),
                str(gaps.refused),
                str(gaps.failed),
            )
            kind = ("kill", "stop")[which]
            results.values |= {
                f"{kind} p50 {system.name}": p50,
                f"{kind} p99 {system.name}": p99,
                f"{kind} longest {system.name}": longest,
                f"{kind} failed {system.name}": float(gaps.failed),
            }
        for system, reason in lacking(absent, measured):
            table.add(system.name, reason)
        results.tables.append(table)
    results.tables[0].note = (
        "From the kill to the acknowledgement of a write that began after it, by one client that "
        "asks the next server when one fails. Default timers of each system."
    )
    results.tables[
        1
    ].note = (
        "The longest time between two acknowledgements while the leader stops; the same client."
    )
    return results


def run(system: System, *, kill: int, stop: int) -> tuple[Gaps, Gaps]:
    """Both, on one zone."""
    return kills(system, kill), stops(system, stop)
