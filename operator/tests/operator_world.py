"""A model of a cluster with one zone in it: enough of Kubernetes and of Raft to run passes in.

It is the thing around the code under test, not the code: the real ``Reconciler``, ``observe``,
``plan`` and ``Executor`` run against it. It checks, at every call, what must never happen, and can
cut a pass off before or after any call.
"""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from onezone_operator import naming
from onezone_operator.config import Settings
from onezone_operator.errors import Conflict, NotFound, ZoneRefused, ZoneUnreachable
from onezone_operator.handlers.reconciler import Outcome, Reconciler
from onezone_operator.kube.ports import KINDS
from onezone_operator.models.observed import Member, ServerReport
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.metadata import digest

ZONE = "zone"
NAMESPACE = "front"


class CutOffError(BaseException):
    """The operator's process ended here."""


class ViolationError(AssertionError):
    """Something happened that must never happen."""


@dataclass
class Disk:
    """A server's volume."""

    initialised: bool = False
    zone_uuid: str = ""


@dataclass
class RaftMember:
    id: int
    name: str
    voter: bool = False
    caught_up_in: int = 2


@dataclass
class World:
    """The cluster, the zone and the clock. ``step`` lets a second pass."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    members: list[RaftMember] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """Servers whose process does not answer."""
    leader: str | None = None
    term: int = 0
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    hook_works: bool = True
    calls: int = 0
    writes: int = 0
    cut_before: int | None = None
    cut_after: int | None = None
    zones_made: int = 0
    pod_stays: int = 0
    """Ticks that a pod takes to go."""
    refusal: str = ""
    """What every change of the server set is refused with."""
    _reconciler: Reconciler | None = None
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _ids: Any = field(default_factory=itertools.count)

    # The clock, controllers and servers

    def step(self, seconds: float = 1.0) -> None:
        """One second in the life of the cluster."""
        self.now += timedelta(seconds=seconds)
        self._run_statefulset()
        self._run_servers()
        self._run_raft()
        self._run_pods()

    def running(self) -> set[str]:
        """Servers whose process runs."""
        return {
            name
            for (kind, name), pod in self.objects.items()
            if kind == "Pod" and name not in self.down and "going" not in pod
        }

    def voters(self) -> list[RaftMember]:
        return [member for member in self.members if member.voter]

    def has_quorum(self, members: list[RaftMember] | None = None, without: str = "") -> bool:
        voters = self.voters() if members is None else members
        up = [m for m in voters if m.name in self.running() and m.name != without and self._has(m)]
        return len(up) >= len(voters) // 2 + 1

    def _has(self, member: RaftMember) -> bool:
        return self.disks.get(member.name, Disk()).initialised

    def _run_statefulset(self) -> None:
        live = self.objects.get(("StatefulSet", ZONE))
        if live is None:
            return
        revision = digest(live["spec"]["template"])
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "updateRevision": revision,
        }
        wanted = {f"{ZONE}-{ordinal}" for ordinal in range(live["spec"]["replicas"])}
        for (kind, name), pod in list(self.objects.items()):
            if kind == "Pod" and name not in wanted and "going" not in pod:
                self._terminate(name)
        for name in sorted(wanted):
            claim = f"{naming.DATA_VOLUME}-{name}"
            if ("PersistentVolumeClaim", claim) not in self.objects:
                template = live["spec"]["volumeClaimTemplates"][0]["metadata"]
                self._put("PersistentVolumeClaim", claim, {"metadata": copy.deepcopy(template)})
                self.disks[name] = Disk()
            if ("Pod", name) not in self.objects:
                labels = {**live["spec"]["template"]["metadata"]["labels"]}
                labels[naming.REVISION_LABEL] = revision
                config = self.objects[("ConfigMap", naming.config_map_name(ZONE))]["data"]
                pod = {
                    "metadata": {
                        "labels": labels,
                        "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    },
                    "spec": {"nodeName": "node"},
                    "status": {"podIP": f"10.0.0.{next(self._numbers)}"},
                    "bootstrap": config[naming.BOOTSTRAP_KEY],
                }
                self._put("Pod", name, pod)

    def _run_servers(self) -> None:
        """The server that may makes the zone's database, from its certificate's uuid."""
        for name in sorted(self.running()):
            disk = self.disks[name]
            pod = self.objects[("Pod", name)]
            if disk.initialised or pod["bootstrap"] != name:
                continue
            authority = self.objects[("Secret", naming.authority_secret_name(ZONE))]
            disk.initialised = True
            disk.zone_uuid = authority["metadata"]["annotations"][naming.UUID_ANNOTATION]
            self.zones_made += 1
            if self.zones_made > 1:
                raise ViolationError("a second zone was made")
            self.members = [RaftMember(next(self._ids), name, voter=True)]

    def _run_raft(self) -> None:
        if not self.members or not self.has_quorum():
            self.leader = None
            return
        up = [m.name for m in self.voters() if m.name in self.running() and self._has(m)]
        if self.leader not in up:
            self.leader, self.term = up[0], self.term + 1
        uuid = self.disks[self.leader].zone_uuid
        for member in self.members:
            disk = self.disks.get(member.name)
            if member.name not in self.running() or disk is None:
                continue
            if not disk.initialised:
                # Another disk: the server forgot its votes, and is a learner until it caught up.
                member.voter, member.caught_up_in = False, 2
                disk.initialised, disk.zone_uuid = True, uuid
            elif not member.voter:
                member.caught_up_in -= 1
                member.voter = member.caught_up_in <= 0
        if self.hook_works:
            self._write_route()

    def _write_route(self) -> None:
        live = self.objects.get(("EndpointSlice", naming.leader_slice_name(ZONE)))
        pod = self.objects.get(("Pod", str(self.leader)))
        if live is None or pod is None:
            return
        annotations = live["metadata"].setdefault("annotations", {})
        annotations[naming.TERM_ANNOTATION] = str(self.term)
        annotations[naming.LEADER_ANNOTATION] = self.leader
        live["endpoints"] = [{"addresses": [pod["status"]["podIP"]]}]

    def _run_pods(self) -> None:
        for (kind, name), pod in list(self.objects.items()):
            if kind != "Pod":
                continue
            if "going" in pod:
                pod["going"] -= 1
                if pod["going"] < 0:
                    del self.objects[(kind, name)]
                continue
            is_ready = name in self.running() and self.disks[name].initialised
            is_ready = is_ready and self.leader is not None
            state = "True" if is_ready else "False"
            pod["status"]["conditions"] = [{"type": "Ready", "status": state}]

    def _terminate(self, name: str) -> None:
        pod = self.objects[("Pod", name)]
        pod["going"] = self.pod_stays
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def lose_volume(self, name: str) -> None:
        """The volume and the pod are gone; the StatefulSet makes both again."""
        self.objects.pop(("PersistentVolumeClaim", f"{naming.DATA_VOLUME}-{name}"), None)
        self.objects.pop(("Pod", name), None)
        self.disks.pop(name, None)

    def kill_pod(self, name: str) -> None:
        self.objects.pop(("Pod", name), None)

    # The OneZone

    def declare(self, **spec: Any) -> None:
        """Create the OneZone, or change its spec."""
        live = self.objects.get((naming.KIND, ZONE))
        if live is None:
            self._put(naming.KIND, ZONE, {"spec": spec})
            return
        live["spec"] = {**live["spec"], **spec}
        self._touch(live)

    def zone(self) -> OneZone:
        return OneZone.model_validate(self.objects[(naming.KIND, ZONE)])

    def scale_statefulset(self, replicas: int) -> None:
        """What a meddler does."""
        live = self.objects[("StatefulSet", ZONE)]
        live["spec"]["replicas"] = replicas
        self._touch(live)

    # KubeApi

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        assert namespace == NAMESPACE
        live = self.objects.get((kind, name))
        if live is None:
            raise NotFound(f"{kind} {name}")
        return copy.deepcopy(live)

    async def list_objects(
        self, kind: str, namespace: str, *, selector: str
    ) -> list[dict[str, Any]]:
        assert namespace == NAMESPACE
        key, _, value = selector.partition("=")
        return [
            copy.deepcopy(live)
            for (each, _), live in self.objects.items()
            if each == kind and (live["metadata"].get("labels") or {}).get(key) == value
        ]

    async def apply(self, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager
        self._before()
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        assert manifest["apiVersion"] == KINDS[kind].api_version
        if kind == "StatefulSet":
            self._check_resize(manifest["spec"]["replicas"])
        live = self.objects.get((kind, name))
        if live is None:
            self._put(kind, name, copy.deepcopy(manifest))
        else:
            before = json.dumps(live, sort_keys=True)
            _merge(live, copy.deepcopy(manifest))
            if json.dumps(live, sort_keys=True) != before:
                self._touch(live)
        self._after()
        return copy.deepcopy(self.objects[(kind, name)])

    async def create(self, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager
        self._before()
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if (kind, name) in self.objects:
            raise Conflict(name)
        if kind != "Event":
            self._put(kind, name, copy.deepcopy(manifest))
        self._after()
        return manifest

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: dict[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        assert manager
        assert namespace == NAMESPACE
        self._before()
        live = self.objects.get((kind, name))
        if live is None:
            raise NotFound(name)
        change = copy.deepcopy(change)
        version = change.get("metadata", {}).pop("resourceVersion", None)
        if version is not None and version != live["metadata"]["resourceVersion"]:
            raise Conflict(name)
        if kind == naming.KIND:
            assert subresource == "status"
        _merge_patch(live, change)
        self._touch(live, spec=subresource is None)
        self._after()
        return copy.deepcopy(live)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        assert (kind, namespace) == ("Pod", NAMESPACE)
        self._before()
        pod = self.objects.get((kind, name))
        if pod is None:
            raise NotFound(name)
        if pod["metadata"]["uid"] != uid:
            raise Conflict(name)
        takes_part = name in self.running()
        if takes_part and len(self.voters()) > 1 and not self.has_quorum(without=name):
            raise ViolationError(f"deleting {name} costs the quorum")
        if takes_part and any(not member.voter for member in self.members):
            raise ViolationError(f"deleting {name} while another server catches up")
        self._terminate(name)
        self._after()

    # ZoneApi

    async def read_reports(self, addresses: dict[str, str]) -> dict[str, ServerReport]:
        return {
            name: self._report(name)
            for name, address in addresses.items()
            if name in self.running() and self.objects[("Pod", name)]["status"]["podIP"] == address
        }

    async def add_server(
        self, address: str, session: str, *, name: str, endpoint: str, peer: str
    ) -> None:
        self._before()
        self._check_call(address, session)
        assert endpoint == f"http://{name}.{ZONE}-servers.{NAMESPACE}.svc:2633/RPC2"
        assert peer == f"{name}.{ZONE}-servers.{NAMESPACE}.svc:2635"
        if any(member.name == name for member in self.members):
            raise ViolationError(f"{name} was added twice")
        if any(not member.voter for member in self.members):
            raise ViolationError("two changes of the server set in flight")
        self.members.append(RaftMember(next(self._ids), name))
        self._after()

    async def delete_server(self, address: str, session: str, *, server_id: int) -> None:
        self._before()
        self._check_call(address, session)
        gone = [member for member in self.members if member.id == server_id]
        if not gone:
            raise ZoneRefused("SERVER not found in zone")
        rest = [m for m in self.voters() if m.id != server_id]
        if not self.has_quorum(rest, without=gone[0].name):
            raise ViolationError(f"removing {gone[0].name} costs the quorum")
        self.members = [member for member in self.members if member.id != server_id]
        if self.leader == gone[0].name:
            self._run_raft()
        self._after()

    def _check_call(self, address: str, session: str) -> None:
        assert session.startswith("oneadmin:")
        if self.refusal:
            raise ZoneRefused(self.refusal)
        if self.leader is None or not self.has_quorum():
            raise ZoneUnreachable("no leader")
        pod = self.objects.get(("Pod", self.leader))
        if pod is None or pod["status"]["podIP"] != address:
            raise ZoneRefused("not the leader")

    def _check_resize(self, replicas: int) -> None:
        """A pod may go only when its server is no member any more."""
        live = self.objects.get(("StatefulSet", ZONE))
        before = live["spec"]["replicas"] if live is not None else 0
        for member in self.members:
            ordinal = naming.server_ordinal(ZONE, member.name)
            if ordinal is not None and replicas <= ordinal < before:
                raise ViolationError(f"the pod of member {member.name} was taken")

    def _report(self, name: str) -> ServerReport:
        disk = self.disks[name]
        ids = {member.name: member.id for member in self.members}
        is_leader = name == self.leader
        knows = disk.initialised
        return ServerReport(
            name=name,
            zone_uuid=disk.zone_uuid,
            server_id=ids.get(name) if knows else None,
            state="leader" if is_leader else "follower",
            term=self.term if knows else 0,
            leader_id=ids.get(self.leader or "") if knows else None,
            commit=10 if knows else 0,
            serving=is_leader,
            initialised=knows,
            configuration_committed=True,
            members=tuple(self._member(each, is_leader) for each in self.members) if knows else (),
        )

    def _member(self, member: RaftMember, told_by_leader: bool) -> Member:
        is_up = member.name in self.running()
        return Member(
            id=member.id,
            name=member.name,
            endpoint="http://x/RPC2",
            voter=member.voter,
            lag=(0 if member.voter else 500) if told_by_leader else None,
            last_contact_seconds=(0.1 if is_up else 60.0) if told_by_leader else None,
        )

    # Bookkeeping

    def _put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        content.setdefault("metadata", {})
        number = next(self._numbers)
        content["metadata"] |= {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{number}",
            "generation": 1,
            "resourceVersion": str(number),
        }
        self.objects[(kind, name)] = content

    def _touch(self, live: dict[str, Any], *, spec: bool = True) -> None:
        self.writes += 1
        live["metadata"]["resourceVersion"] = str(next(self._numbers))
        if spec:
            live["metadata"]["generation"] += 1

    def _before(self) -> None:
        self.calls += 1
        if self.calls == self.cut_before:
            raise CutOffError

    def _after(self) -> None:
        if self.calls == self.cut_after:
            raise CutOffError

    # Passes

    def reconciler(self) -> Reconciler:
        """The operator's process; a new one after it was cut off."""
        if self._reconciler is None:
            settings = Settings(oned_image="oned:1")
            self._reconciler = Reconciler(self, self, settings, clock=lambda: self.now)
        return self._reconciler

    async def run_pass(self) -> Outcome | None:
        """A pass; None if the operator was cut off in it."""
        try:
            return await self.reconciler().run_pass(NAMESPACE, ZONE)
        except CutOffError:
            self._reconciler = None
            return None

    def is_as_desired(self) -> bool:
        wanted = self.zone().spec.replicas
        names = {f"{ZONE}-{ordinal}" for ordinal in range(wanted)}
        return (
            {member.name for member in self.voters()} == names
            and len(self.members) == wanted
            and {name for kind, name in self.objects if kind == "Pod"} == names
            and self.zone().status.plan.step == "Nothing"
        )


def _merge(live: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict) and key != "data":
            _merge(live[key], value)
        else:
            live[key] = value


def _merge_patch(live: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict):
            live.setdefault(key, {})
            _merge_patch(live[key], value)
        else:
            live[key] = value
