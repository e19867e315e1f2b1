"""One pass over one zone: observe, plan, status, execute. Knows no kopf.

The status is written before the step is carried out: it says what is about to happen, and a
route that is wrong is dated by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars, bound_contextvars

from onezone_operator.config import Settings
from onezone_operator.errors import (
    Forbidden,
    Invalid,
    KubeError,
    OperatorError,
    VolumeRefused,
    ZoneRefused,
)
from onezone_operator.execute import Executor
from onezone_operator.handlers.memory import ZoneMemory
from onezone_operator.handlers.metrics import (
    PASS_SECONDS,
    STATUS_WRITES,
    STEPS,
    note_backups,
    note_conditions,
)
from onezone_operator.kube.apply import write_status
from onezone_operator.kube.events import create_event
from onezone_operator.kube.observe import observe_kubernetes, read_zone
from onezone_operator.kube.ports import KubeApi
from onezone_operator.models.observed import Manifest, ObservedZone
from onezone_operator.models.onezone import OneZone
from onezone_operator.reconcile import build_status, plan
from onezone_operator.reconcile.notices import Notice, notice_of_step, notices_of_change
from onezone_operator.reconcile.steps import (
    ExpandVolume,
    Nothing,
    Step,
    Wait,
    WaitForCatchUp,
    describe,
    is_change,
)
from onezone_operator.zone.ports import ZoneApi

__all__ = ["Outcome", "Reconciler"]

_AT_ONCE = 0.05
"""Seconds to the next pass after a change: its effect is the next pass's first fact."""

_LASTING = (Forbidden, Invalid, ZoneRefused)
"""Refusals: trouble that users must see, since trying again will hardly help. Everything else may
be over at the next pass."""

_CONTEXT: dict[str, Any] = dict.fromkeys(("step", "leader", "term"))
"""What a pass adds to its log records as soon as it knows, and takes away at its end."""

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass came to. ``retry_seconds`` is None when the zone is gone."""

    sentence: str
    retry_seconds: float | None


@dataclass(slots=True)
class Reconciler:
    """Runs passes. Two passes over one zone must not overlap: ``Wakeups`` sees to that."""

    kube: KubeApi
    zone_api: ZoneApi
    settings: Settings
    clock: Callable[[], datetime] = _now
    memories: dict[tuple[str, str], ZoneMemory] = field(default_factory=dict)

    async def run_pass(self, namespace: str, name: str) -> Outcome:
        """One pass.

        Raises:
            OperatorError: it could not be finished; to be tried again.
        """
        with PASS_SECONDS.time(), bound_contextvars(**_CONTEXT, namespace=namespace, zone=name):
            raw = await read_zone(self.kube, namespace, name)
            if raw is None:
                self.memories.pop((namespace, name), None)
                return Outcome("The OneZone is gone", None)
            try:
                zone = self._parse(raw)
            except ValidationError as error:
                # The CRD refuses such a spec: it is older or newer than the operator.
                raise OperatorError(f"the OneZone is unreadable: {_first_error(error)}") from error
            return await self._run(zone)

    async def _run(self, zone: OneZone) -> Outcome:
        observation = await observe_kubernetes(self.kube, zone)
        addresses = {
            pod.name: pod.address for pod in observation.zone.pods if pod.address is not None
        }
        reports = await self.zone_api.read_reports(addresses)
        memory = self.memories.setdefault((zone.namespace, zone.name), ZoneMemory())
        observed = replace(
            observation.zone,
            reports=reports,
            contested=memory.contested(self.clock()),
            asks_again=memory.may_ask_again(self.clock()),
        )
        step = self._plan(zone, observed)
        bind_contextvars(step=type(step).__name__, leader=zone.status.leader, term=zone.status.term)
        if not zone.is_deleted:
            # A step that failed is told as failed until it succeeds or another is planned.
            told = _failed(memory) if step == memory.failed_step else step
            if isinstance(step, ExpandVolume):
                # What was refused is asked for again in silence: the answer may be the same.
                memory.asked_at = self.clock()
                told = self._plan(zone, replace(observed, asks_again=False))
            zone = await self._report(zone, observed, told)
        executor = Executor(self.kube, self.zone_api, zone, observed, observation.credentials)
        try:
            sentence = await executor.execute(step)
        except VolumeRefused as error:
            observed = replace(observed, refusal=str(error), asks_again=False)
            await self._report(zone, observed, self._plan(zone, observed))
            return Outcome(str(error), self.settings.progress_seconds)
        except _LASTING as error:
            memory.failed_step, memory.failure = step, f"{describe(step)}: {error}"
            await self._report(zone, observed, _failed(memory))
            raise
        memory.failed_step = None
        memory.note_step(step, self.clock())
        if is_change(step):
            STEPS.labels(type(step).__name__).inc()
            log.info("step done", outcome=sentence)
            notice = notice_of_step(step)
            if notice is not None:
                await self._tell(zone, notice)
        return Outcome(sentence, self._retry_seconds(step))

    def _plan(self, zone: OneZone, observed: ObservedZone) -> Step:
        return plan(zone, observed, self.clock(), address_type=self.settings.address_type)

    def _parse(self, raw: Manifest) -> OneZone:
        """The zone, with what only the operator knows filled in where the spec is silent."""
        zone = OneZone.model_validate(raw)
        return zone.completed(
            image=self.settings.oned_image, operator_namespace=self.settings.lease_namespace
        )

    async def _report(self, zone: OneZone, observed: ObservedZone, step: Step) -> OneZone:
        """Write the status if it differs; the zone with the status that is there now."""
        status = build_status(zone, observed, step, self.clock())
        note_conditions(zone.namespace, zone.name, status.conditions)
        note_backups(zone.namespace, zone.name, status.backup)
        written = await write_status(self.kube, zone, status)
        if written is None:
            return zone
        STATUS_WRITES.inc()
        log.info(
            "status",
            leader=status.leader,
            term=status.term,
            servers=status.ready_servers,
            plan=describe(step),
        )
        for notice in notices_of_change(zone.status, status):
            await self._tell(zone, notice)
        return self._parse(written)

    async def _tell(self, zone: OneZone, notice: Notice) -> None:
        """An Event. That one cannot be written is no reason to stop."""
        try:
            await create_event(
                self.kube,
                zone,
                kind=notice.type,
                reason=notice.reason,
                message=notice.message,
                now=self.clock(),
            )
        except KubeError as error:
            log.warning("event was not written", error=str(error))

    def _retry_seconds(self, step: Step) -> float:
        match step:
            case (
                Nothing()
                | Wait(
                    reason="MaintenanceWindow"
                    | "LeaderApproval"
                    | "ShrinkRefused"
                    | "ExpansionRefused"
                )
            ):
                # Hours, and a user's word is a wake-up.
                return self.settings.steady_seconds
            case Wait() | WaitForCatchUp():
                return self.settings.progress_seconds
            case _:
                return _AT_ONCE


def _failed(memory: ZoneMemory) -> Wait:
    return Wait("StepFailed", memory.failure, is_trouble=True)


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
