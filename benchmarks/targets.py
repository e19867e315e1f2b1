"""What the numbers are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.systems import dqlite, etcd, pysyncobj
from benchmarks.tables import Table

Values = Mapping[str, float]

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """One line: how a value is made from what was measured, and the limit that it must keep.

    Attributes:
        value: in the unit that ``shown`` writes; None when it was not measured.
        limit: at least this when ``least``, else at most.
    """

    what: str
    value: Callable[[Values], float | None]
    limit: float
    shown: str
    least: bool = False

    def is_met(self, measured: float) -> bool:
        return measured >= self.limit if self.least else measured <= self.limit


def _of(name: str, scale: float = 1.0) -> Callable[[Values], float | None]:
    return lambda values: values[name] * scale if name in values else None


def _over(peer: str) -> Callable[[Values], float | None]:
    """Our writes with 64 clients over a peer's."""

    def value(values: Values) -> float | None:
        ours, theirs = values.get("writes oned 64"), values.get(f"writes {peer} 64")
        return ours / theirs if ours and theirs else None

    return value


def _over_best(peer: str) -> Callable[[Values], float | None]:
    """Our writes with 64 clients over the best that a peer showed with any number of clients."""

    def value(values: Values) -> float | None:
        theirs = [rate for name, rate in values.items() if name.startswith(f"writes {peer} ")]
        ours = values.get("writes oned 64")
        return ours / max(theirs) if ours and theirs else None

    return value


TARGETS = (
    Target("acknowledged writes/s, 64 clients", _of("writes oned 64"), 4000, "{:,.0f}", least=True),
    Target("their p99, ms", _of("writes p99 oned 64", 1e3), 25, "{:.1f}"),
    Target("times the best row of dqlite", _over_best(dqlite.NAME), 1.0, "{:.2f}", least=True),
    Target("times PySyncObj (not durable)", _over(pysyncobj.NAME), 1.0, "{:.2f}", least=True),
    Target(
        "times PySyncObj, tuned and synced by us",
        _over(pysyncobj.NAME_TUNED),
        1.0,
        "{:.2f}",
        least=True,
    ),
    Target("times etcd over JSON", _over(etcd.NAME_JSON), 0.5, "{:.2f}", least=True),
    Target("times etcd over gRPC", _over(etcd.NAME_GRPC), 0.5, "{:.2f}", least=True),
    Target("p50 of one client's write, ms", _of("writes p50 oned 1", 1e3), 1.5, "{:.2f}"),
    Target(
        "core and SQL apply without XML, entries/s", _of("apply 64"), 15_000, "{:,.0f}", least=True
    ),
    Target("one.zone.info on one server, reads/s", _of("reads oned"), 5000, "{:,.0f}", least=True),
    Target("kill -9 of the leader, p50 s", _of("kill p50 oned"), 1.5, "{:.2f}"),
    Target("kill -9 of the leader, p99 s", _of("kill p99 oned"), 3.0, "{:.2f}"),
    Target(
        "graceful stop of the leader, longest gap ms", _of("stop longest oned", 1e3), 200, "{:.0f}"
    ),
    Target("calls that failed in graceful stops", _of("stop failed oned"), 0, "{:.0f}"),
    Target("follower 100,000 entries behind, s", _of("catch-up 100000"), 10, "{:.1f}"),
    Target("snapshot of 1 GiB, s", _of("snapshot 1073741824 0"), 60, "{:.0f}"),
    Target("leader's p99 meanwhile, 1 client, ratio", _of("snapshot p99 ratio 1"), 2.0, "{:.2f}"),
    Target(
        "leader's p99 meanwhile, 16 clients, ratio", _of("snapshot p99 ratio 16"), 2.0, "{:.2f}"
    ),
    Target("idle server, RSS in MB", _of("idle rss oned", 1 / _MEGABYTE), 80, "{:.0f}"),
    Target("idle server, % of a core", _of("idle cpu oned", 100), 1.0, "{:.2f}"),
)


def judge(values: Values) -> tuple[Table, int, list[str]]:
    """The table, how many targets are met, and those that are missed."""
    table = Table("Targets", ("what", "target", "measured", ""))
    met, missed = 0, []
    for target in TARGETS:
        wanted = ("≥ " if target.least else "≤ ") + target.shown.format(target.limit)
        measured = target.value(values)
        if measured is None:
            table.add(target.what, wanted, "not measured")
            continue
        if target.is_met(measured):
            met += 1
        else:
            missed.append(target.what)
        verdict = "met" if target.is_met(measured) else "**missed**"
        table.add(target.what, wanted, target.shown.format(measured), verdict)
    return table, met, missed
