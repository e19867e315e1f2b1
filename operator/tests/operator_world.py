"""A model of a cluster with one zone in it: enough of Kubernetes and of Raft to run passes in.

It is the thing around the code under test, not the code: the real ``Reconciler``, ``observe``,
``plan`` and ``Executor`` run against it. It checks, at every call, what must never happen, and can
cut a pass off before or after any call. ``operator_cluster`` is Kubernetes, ``operator_servers``
the zone; here are the clock, the OneZone and the operator.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from operator_backups import Backups
from operator_cluster import NAMESPACE, ZONE, CutOffError

from onezone_operator import naming
from onezone_operator.config import Settings
from onezone_operator.errors import OperatorError
from onezone_operator.handlers.reconciler import Outcome, Reconciler
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.models.onezonetask import OneZoneTask
from onezone_operator.models.quantity import amount
from onezone_operator.resources.metadata import digest

__all__ = ["NAMESPACE", "ZONE", "Wire", "World"]


SETTINGS = Settings(oned_image="oned:1")


class Wire:
    """Both APIs of a world; keeps the last call, which may arrive late."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.last: Callable[[], Awaitable[object]] | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.world, name)

        def call(*arguments: Any, **options: Any) -> Awaitable[Any]:
            self.last = functools.partial(method, *arguments, **options)
            return self.last()

        return call

    async def deliver(self) -> None:
        """Let the last call arrive now; nobody waits for the answer."""
        assert self.last is not None
        self.world.is_late = True
        with contextlib.suppress(OperatorError):
            await self.last()
        self.world.is_late = False


@dataclass
class World(Backups):
    """The cluster, the zone and the clock. ``step`` lets a second pass."""

    pods_before: dict[str, str] = field(default_factory=dict)
    """Uids of the pods when ``note_pods`` looked."""
    _reconciler: Reconciler | None = None

    def note_pods(self) -> None:
        self.pods_before = {
            name: live["metadata"]["uid"]
            for (kind, name), live in self.objects.items()
            if kind == "Pod"
        }

    def __getstate__(self) -> dict[str, Any]:
        """The world without the operator's process: what there is when that has ended."""
        return {**self.__dict__, "_reconciler": None}

    def step(self, seconds: float = 1.0) -> None:
        """One second in the life of the cluster."""
        self.now += timedelta(seconds=seconds)
        self.run_statefulset()
        self.run_volumes()
        self.run_servers()
        self.run_certificates()
        self.run_raft()
        self.run_pods(self.ready_servers())
        self.run_jobs()

    def declare(self, **spec: Any) -> None:
        """Create the OneZone, or change its spec."""
        live = self.objects.get((naming.KIND, ZONE))
        if live is None:
            self.put(naming.KIND, ZONE, {"spec": spec})
            return
        live["spec"] = {**live["spec"], **spec}
        self.touch(live)

    def ask(self, task: str, **spec: Any) -> None:
        """Create a OneZoneTask."""
        self.put(naming.TASK_KIND, task, {"spec": {"zoneRef": {"name": ZONE}, **spec}})

    def confirm(self, task: str) -> None:
        live = self.objects[(naming.TASK_KIND, task)]
        live["spec"]["confirm"] = True
        self.touch(live)

    def task(self, name: str) -> OneZoneTask:
        return OneZoneTask.model_validate(self.objects[(naming.TASK_KIND, name)])

    def tasks(self) -> list[OneZoneTask]:
        return [self.task(name) for kind, name in self.objects if kind == naming.TASK_KIND]

    def backups(self) -> list[OneZoneBackup]:
        return [
            OneZoneBackup.model_validate(live)
            for (kind, _), live in self.objects.items()
            if kind == naming.BACKUP_KIND
        ]

    def zone(self) -> OneZone:
        return OneZone.model_validate(self.objects[(naming.KIND, ZONE)])

    def reconciler(self) -> Reconciler:
        """The operator's process; a new one after it was cut off."""
        if self._reconciler is None:
            self._reconciler = Reconciler(self, self, SETTINGS, clock=lambda: self.now)
        return self._reconciler

    def start_operator_on(self, wire: Wire) -> None:
        """An operator whose calls go through this wire."""
        self._reconciler = Reconciler(wire, wire, SETTINGS, clock=lambda: self.now)

    async def run_pass(self) -> Outcome | None:
        """A pass; None if the operator was cut off in it."""
        try:
            return await self.reconciler().run_pass(NAMESPACE, ZONE)
        except CutOffError:
            self._reconciler, self.is_dead = None, False
            return None

    def has_no_operator(self) -> bool:
        return self._reconciler is None

    def says_converged(self) -> bool:
        """Whether the status tells a user that the present spec is carried out."""
        live = self.objects[(naming.KIND, ZONE)]
        status = live.get("status") or {}
        if status.get("observedGeneration") != live["metadata"]["generation"]:
            return False
        fenced = self.objects[(naming.KIND, ZONE)]["spec"].get("fencedServers") or []
        if fenced:
            told = {(each["name"], each["role"], each["ready"]) for each in status["servers"]}
            return status["plan"].get("waitingFor") == "ServerFenced" and all(
                (name, "fenced", False) in told for name in fenced
            )
        kind = "Hibernated" if self.is_to_sleep() else "Ready"
        told = next(each for each in status["conditions"] if each["type"] == kind)
        return status["plan"]["step"] == "Nothing" and told["status"] == "True"

    def is_to_sleep(self) -> bool:
        return bool(self.objects[(naming.KIND, ZONE)]["spec"].get("hibernated"))

    def says_in_sync(self) -> bool:
        """Whether the status tells that every pod runs the present template."""
        live = self.objects[(naming.KIND, ZONE)]
        status = live.get("status") or {}
        return any(
            (each["type"], each["status"]) == ("ConfigInSync", "True")
            for each in status.get("conditions", [])
            if each["observedGeneration"] == live["metadata"]["generation"]
        )

    def is_in_sync(self) -> bool:
        live = self.objects.get(("StatefulSet", ZONE))
        # While it is made anew, its pods are of what it was.
        revision = self.template_revision if live is None else digest(live["spec"]["template"])
        # One that is going already comes back from the present template.
        pods = [
            pod for (kind, _), pod in self.objects.items() if kind == "Pod" and "going" not in pod
        ]
        return all(pod["metadata"]["labels"][naming.REVISION_LABEL] == revision for pod in pods)

    def is_converged(self) -> bool:
        """Whether it is carried out: members, pods and the template that they were made of."""
        wanted = self.objects[(naming.KIND, ZONE)]["spec"]["replicas"]
        names = {f"{ZONE}-{ordinal}" for ordinal in range(wanted)}
        pods = set() if self.is_to_sleep() else names
        return (
            {member.name for member in self.voters()} == names
            and len(self.members) == wanted
            and {name for kind, name in self.objects if kind == "Pod"} == pods
            and self.fenced() == set(self.zone().spec.fenced_servers)
            and self.is_in_sync()
            and self.has_volumes(names)
            and all(task.is_finished for task in self.tasks())
        )

    def has_volumes(self, servers: set[str]) -> bool:
        """Whether these servers have the size that the spec says, and new ones will get it."""
        size = self.zone().spec.storage.size
        live = self.objects.get(("StatefulSet", ZONE))
        if live is None or "going" in live:
            return False
        claim = live["spec"]["volumeClaimTemplates"][0]["spec"]
        sizes = [self._claim(name)["status"]["capacity"]["storage"] for name in servers]
        return claim["resources"]["requests"]["storage"] == size and all(
            amount(each) >= amount(size) for each in sizes
        )

    def is_as_desired(self) -> bool:
        return self.says_converged() and self.is_converged() and not self.is_backing_up()

    def is_backing_up(self) -> bool:
        """Whether a backup is not over, or a Job runs: the zone is as it shall be all the same."""
        jobs = {name: live for (kind, name), live in self.objects.items() if kind == "Job"}
        # The backup whose file was deleted is to go, too.
        return any(
            "status" not in job or name.endswith("-drop") for name, job in jobs.items()
        ) or any(not backup.is_finished for backup in self.backups())
