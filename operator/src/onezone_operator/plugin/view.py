"""Facts of a zone → what ``status`` and ``explain`` show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from onezone_operator.models.observed import ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile import Health, Step, build_status, plan
from onezone_operator.reconcile.forecast import STEPS_MAX
from onezone_operator.reconcile.steps import Nothing, Wait, awaited, describe

__all__ = [
    "Facts",
    "ServerView",
    "ZoneView",
    "as_data",
    "build_view",
    "exit_code",
    "forecast_data",
    "render_forecast",
    "render_table",
    "render_zones",
]

EXIT_UNHEALTHY = 1
_COLUMNS = ("SERVER", "ROLE", "VOTE", "TERM", "LAG", "DATABASE", "READY", "NODE", "NOTE")


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of one zone.

    Attributes:
        silent: servers with a pod whose ``/status`` was not had, and why.
        unread: kinds that the user may not read, without which the plan cannot be made.
        address_type: family of the pods' addresses.
    """

    zone: OneZone
    observed: ObservedZone
    silent: Mapping[str, str]
    unread: frozenset[str] = frozenset()
    address_type: str = "IPv4"


@dataclass(frozen=True, slots=True)
class ServerView:
    """One line of the table."""

    name: str
    role: str
    voter: bool
    ready: bool
    term: int | None
    lag: int | None
    database: str | None
    node: str | None
    note: str


@dataclass(frozen=True, slots=True)
class ZoneView:
    """One zone.

    Attributes:
        health: the diagnosis in one word.
        step: kind of the next step.
        waiting_for: what it waits for, in one word; None when it does not.
        planned_by: ``plugin`` from what was just read, or ``operator``: its status says so.
    """

    namespace: str
    name: str
    health: str
    diagnosis: str
    leader: str | None
    term: int | None
    desired: int
    ready_servers: str
    endpoint: str | None
    step: str
    next: str
    waiting_for: str | None
    planned_by: str
    servers: tuple[ServerView, ...]


def build_view(facts: Facts, now: datetime) -> ZoneView:
    """Judge the facts as the operator would."""
    zone, observed = facts.zone, facts.observed
    step: Step = Nothing("NotPlanned", "Not everything of the zone may be read")
    if not facts.unread:
        step = plan(zone, observed, now, address_type=facts.address_type)
    status = build_status(zone, observed, step, now)
    shown = zone.status.plan if facts.unread else status.plan
    servers = []
    for server in status.servers:
        report, pod = observed.reports.get(server.name), observed.pod(server.name)
        notes = [pod.trouble if pod is not None else "no pod", facts.silent.get(server.name)]
        if server.last_contact is not None:
            notes.append(f"last heard of at {server.last_contact}")
        servers.append(
            ServerView(
                name=server.name,
                role=server.role,
                voter=server.voter,
                ready=server.ready,
                term=server.term,
                lag=server.lag,
                database=(report.database or None) if report is not None else None,
                node=server.node,
                note="; ".join(each for each in notes if each),
            )
        )
    return ZoneView(
        namespace=zone.namespace,
        name=zone.name,
        health=status.diagnosis.health,
        diagnosis=status.diagnosis.message,
        leader=status.leader,
        term=status.term,
        desired=zone.spec.replicas,
        ready_servers=status.ready_servers,
        endpoint=status.endpoint,
        step=shown.step,
        next=shown.message or "unknown: the operator has not written a plan",
        waiting_for=shown.waiting_for,
        planned_by="operator" if facts.unread else "plugin",
        servers=tuple(servers),
    )


def exit_code(views: Sequence[ZoneView]) -> int:
    """0 when every zone is healthy."""
    return 0 if all(view.health == Health.HEALTHY for view in views) else EXIT_UNHEALTHY


def as_data(view: ZoneView) -> dict[str, Any]:
    """Plain data with camelCase keys, for JSON and YAML."""
    data: dict[str, Any] = _camel(asdict(view))
    return data


def render_zones(views: Sequence[ZoneView]) -> str:
    """One line for each zone."""
    head = ("NAMESPACE", "NAME", "HEALTH", "SERVERS", "LEADER", "TERM", "NEXT")
    rows = [
        (
            view.namespace,
            view.name,
            view.health,
            view.ready_servers,
            _text(view.leader),
            _text(view.term),
            view.next,
        )
        for view in views
    ]
    return _table([head, *rows])


def render_table(view: ZoneView) -> str:
    """One zone with its servers."""
    leader = "none confirmed" if view.leader is None else f"{view.leader}, term {view.term}"
    waiting = f"{view.waiting_for}: " if view.waiting_for else ""
    source = "" if view.planned_by == "plugin" else " (as the operator last said)"
    head = [
        ("Zone", f"{view.namespace}/{view.name}"),
        ("Health", f"{view.health}: {view.diagnosis}"),
        ("Leader", leader),
        ("Servers", f"{view.ready_servers} ready, {view.desired} desired"),
        ("Endpoint", _text(view.endpoint)),
        ("Next", f"{waiting}{view.next}{source}"),
    ]
    rows = [
        (
            server.name,
            server.role,
            "yes" if server.voter else "no",
            _text(server.term),
            _text(server.lag),
            _text(server.database),
            "yes" if server.ready else "no",
            _text(server.node),
            server.note,
        )
        for server in view.servers
    ]
    lines = [f"{name + ':':<10}{value}" for name, value in head]
    return "\n".join([*lines, "", _table([_COLUMNS, *rows])])


def render_forecast(steps: Sequence[Step]) -> str:
    """The steps with numbers, and where they end."""
    *changes, last = steps
    if len(steps) == STEPS_MAX:
        changes, end = list(steps), "… and more: the forecast ends here."
    elif isinstance(last, Nothing):
        end = f"Then: {last.reason}: {last.message}"
    elif isinstance(last, Wait):
        end = f"Then it waits ({last.reason}): {last.message}"
    else:
        changes, end = list(steps), "The same step again: the forecast ends here."
    lines = [f"{number:>3}. {describe(step)}" for number, step in enumerate(changes, 1)]
    return "\n".join([*(lines or ["Nothing would be changed."]), end])


def forecast_data(steps: Sequence[Step]) -> list[dict[str, str | None]]:
    """The same as plain data; the last is where it ends."""
    return [
        {"step": type(step).__name__, "message": describe(step), "waitingFor": awaited(step)}
        for step in steps
    ]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel_word(key): _camel(each) for key, each in value.items()}
    return [_camel(each) for each in value] if isinstance(value, list | tuple) else value


def _camel_word(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
