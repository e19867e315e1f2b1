"""A model of Kubernetes: the API that the operator calls, and the controllers behind it.

Every call, reading or writing, has a number. At a given one the operator's process ends: before
the call takes effect, or after it, when the answer is lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from onezone_operator import naming
from onezone_operator.errors import Conflict, Forbidden, Invalid, NotFound
from onezone_operator.kube.ports import KINDS
from onezone_operator.models.quantity import amount
from onezone_operator.resources.metadata import digest

ZONE = "zone"
NAMESPACE = "front"
READING = ("get", "list", "read")


class CutOffError(BaseException):
    """The operator's process ended here."""


class ViolationError(AssertionError):
    """Something happened that must never happen."""


@dataclass
class Disk:
    """What is on a server's volume."""

    initialised: bool = False
    zone_uuid: str = ""
    commit: int = 0
    founded: str = ""
    """The last founding that was carried out."""
    put_aside: list[int] = field(default_factory=list)
    """Commit indices of the databases that a founding put aside."""


@dataclass
class Cluster:
    """Objects, and what Kubernetes itself does with them: pods and claims of a StatefulSet."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    """Servers whose process does not answer."""
    bad_images: set[str] = field(default_factory=set)
    """Images whose process ends right after its start."""
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    pod_stays: int = 0
    """Ticks that a pod takes to go, and a claim that is deleted."""
    controller_takes: int = 0
    """Ticks in which the StatefulSet's controller does nothing, after each in which it does."""
    expandable: bool = True
    """Whether storage classes let volumes grow."""
    growth_takes: int = 1
    """Ticks until a volume has what its claim asks for."""
    template_revision: str = ""
    """Of the last StatefulSet that its controller saw."""
    calls: int = 0
    """Calls that write."""
    writes: int = 0
    """Objects that were changed."""
    requests: list[str] = field(default_factory=list)
    """Every call, reading ones too: those begin with ``READING``."""
    job_pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Pods of backup Jobs that are over: apart from the servers'."""
    cut_before: int | None = None
    cut_after: int | None = None
    is_dead: bool = False
    cuts: int = 0
    """How often the operator was cut off."""
    _number: int = 0
    _controller_rests: int = 0

    def running(self) -> set[str]:
        """Servers whose process runs."""
        return {
            name
            for (kind, name), pod in self.objects.items()
            if kind == "Pod"
            and name not in self.down
            and "going" not in pod
            and name not in self.fenced()
            and pod["image"] not in self.bad_images
        }

    def fenced(self) -> set[str]:
        """Servers whose pods are marked: they answer, and take no part."""
        return {
            name
            for (kind, name), pod in self.objects.items()
            if kind == "Pod"
            and (pod["metadata"].get("annotations") or {}).get(naming.FENCED_ANNOTATION) == "true"
        }

    # The API: KubeApi. What was read is not copied, since a write makes another object of it.

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        assert namespace == NAMESPACE
        self._begin(f"get {kind} {name}")
        live = self.objects.get((kind, name))
        self._end()
        if live is None:
            raise NotFound(f"{kind} {name}")
        return live

    async def list_objects(
        self, kind: str, namespace: str, *, selector: str
    ) -> list[dict[str, Any]]:
        assert namespace == NAMESPACE
        self._begin(f"list {kind}")
        self._end()
        key, _, value = selector.partition("=")
        if (kind, key) == ("Pod", naming.BACKUP_ZONE_LABEL):
            return list(self.job_pods.values())
        return [
            live
            for (each, _), live in self.objects.items()
            if each == kind
            and (not key or (live["metadata"].get("labels") or {}).get(key) == value)
        ]

    async def apply(self, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        """As the API server does: a version alone keeps nobody from making what is not there."""
        assert manager
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._begin(f"apply {kind} {name}", writes=True)
        assert manifest["apiVersion"] == KINDS[kind].api_version
        live = self.objects.get((kind, name))
        manifest = _copy(manifest)
        conditions = {
            key: manifest["metadata"].pop(key)
            for key in ("uid", "resourceVersion")
            if key in manifest["metadata"]
        }
        if live is None and "uid" in conditions:
            raise Conflict(name)
        if live is not None and not conditions.items() <= live["metadata"].items():
            raise Conflict(name)
        if kind == "StatefulSet":
            self.check_resize(manifest["spec"]["replicas"])
            if live is not None:
                self._check_claims(manifest, live)
        if live is None:
            self.put(kind, name, manifest)
        else:
            changed = _copy(live)
            _merge(changed, manifest)
            if changed != live:
                self.objects[(kind, name)] = changed
                self.touch(changed)
        self._end()
        return self.objects[(kind, name)]

    async def create(self, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self._begin(f"create {kind}", writes=True)
        if (kind, name) in self.objects:
            raise Conflict(name)
        if kind != "Event":
            self.put(kind, name, _copy(manifest))
        self._end()
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
        self._begin(f"patch {kind} {name}", writes=True)
        live = self.objects.get((kind, name))
        if live is None:
            raise NotFound(name)
        change = _copy(change)
        version = change.get("metadata", {}).pop("resourceVersion", None)
        if version is not None and version != live["metadata"]["resourceVersion"]:
            raise Conflict(name)
        if (
            change.get("metadata", {}).get("uid", live["metadata"]["uid"])
            != live["metadata"]["uid"]
        ):
            raise Conflict(name)
        if kind == "Pod":
            self.check_patch(name, change)
        if kind == "PersistentVolumeClaim":
            self._check_growth(name, live, change)
        if kind in {naming.KIND, naming.TASK_KIND, naming.BACKUP_KIND}:
            assert subresource == "status"
        changed = self.objects[(kind, name)] = _copy(live)
        merge_patch(changed, change)
        self.touch(changed, spec=subresource is None)
        self._end()
        return changed

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        version: str | None = None,
        orphans: bool = False,
    ) -> None:
        assert namespace == NAMESPACE
        self._begin(f"delete {kind} {name}", writes=True)
        live = self.objects.get((kind, name))
        if live is None:
            raise NotFound(name)
        if live["metadata"]["uid"] != uid:
            raise Conflict(name)
        if version is not None and live["metadata"]["resourceVersion"] != version:
            raise Conflict(name)
        if kind == "StatefulSet":
            assert orphans
            self.check_orphaning()
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            live.setdefault("going", self.pod_stays)
            self.touch(live, spec=False)
        elif kind == "Pod":
            self.check_delete(name)
            self._terminate(name)
        elif kind == "PersistentVolumeClaim":
            self.check_delete_claim(name.removeprefix(f"{naming.DATA_VOLUME}-"))
            self._condemn(name)
        elif kind == naming.BACKUP_KIND:
            self.check_delete_backup(name)
            self.writes += 1
        else:
            assert kind in {naming.TASK_KIND, "NetworkPolicy"}
            del self.objects[(kind, name)]
            self.writes += 1
        self._end()

    def _check_claims(self, manifest: dict[str, Any], live: dict[str, Any]) -> None:
        """What the API server lets nobody change in a StatefulSet."""
        if manifest["spec"]["volumeClaimTemplates"] != live["spec"]["volumeClaimTemplates"]:
            raise Invalid("spec: Forbidden: updates to statefulset spec for fields other than …")

    def _check_growth(self, name: str, live: dict[str, Any], change: dict[str, Any]) -> None:
        """What the API server says to a claim that asks for another size."""
        size = change["spec"]["resources"]["requests"]["storage"]
        known = live["spec"]["resources"]["requests"]["storage"]
        if amount(size) > amount(known) and not self.expandable:
            raise Forbidden(f"{name} is forbidden: only dynamically provisioned pvc can be resized")
        if amount(size) < amount(known) and amount(size) <= amount(_size_of(live)):
            raise Invalid(f"{name}: field can not be less than status.capacity")
        self.check_growth(name.removeprefix(f"{naming.DATA_VOLUME}-"), size)

    def _condemn(self, claim: str) -> None:
        """A claim that is deleted stays until its pod is gone."""
        live = self.objects[("PersistentVolumeClaim", claim)]
        live["condemned"] = True
        live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if ("Pod", claim.removeprefix(f"{naming.DATA_VOLUME}-")) not in self.objects:
            live.setdefault("going", self.pod_stays)

    def check_patch(self, name: str, change: dict[str, Any]) -> None:
        """Raise if this change of a pod breaks something."""

    def check_resize(self, replicas: int) -> None:
        """Raise if this number of pods breaks something."""

    def check_delete(self, name: str) -> None:
        """Raise if the loss of this pod breaks something."""

    def check_growth(self, name: str, size: str) -> None:
        """Raise if it breaks something that this server's volume is asked to grow."""

    def check_orphaning(self) -> None:
        """Raise if it breaks something that the StatefulSet goes without its pods."""

    def check_delete_claim(self, name: str) -> None:
        """Raise if the loss of this server's volume breaks something."""

    def check_delete_backup(self, name: str) -> None:
        """Delete a backup, or raise if that breaks something."""

    # The controllers

    def run_statefulset(self) -> None:
        """Make claims and pods that are missing, let pods go that are too many."""
        live = self.objects.get(("StatefulSet", ZONE))
        self._controller_rests -= 1
        if live is None or self._controller_rests >= 0 or "going" in live:
            return
        self._controller_rests = self.controller_takes
        revision = self.template_revision = digest(live["spec"]["template"])
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "updateRevision": revision,
        }
        wanted = {f"{ZONE}-{ordinal}" for ordinal in range(live["spec"]["replicas"])}
        policy = live["spec"].get("persistentVolumeClaimRetentionPolicy", {})
        for (kind, name), pod in list(self.objects.items()):
            if kind == "Pod" and name not in wanted and "going" not in pod:
                if policy.get("whenScaled") == "Delete":
                    self._claim(name)["condemned"] = True
                self._terminate(name)
        for name in sorted(wanted):
            claim = f"{naming.DATA_VOLUME}-{name}"
            if ("PersistentVolumeClaim", claim) not in self.objects:
                self._make_claim(claim, live["spec"]["volumeClaimTemplates"][0])
                self.disks[name] = Disk()
            owner = {"kind": "StatefulSet", "uid": live["metadata"]["uid"]}
            owners = [owner] if policy.get("whenDeleted") == "Delete" else []
            self._claim(name)["metadata"]["ownerReferences"] = owners
            # A claim of an earlier pod that is about to go is waited for.
            if ("Pod", name) not in self.objects and "condemned" not in self._claim(name):
                self._make_pod(name, live["spec"]["template"], revision)

    def _make_claim(self, name: str, template: dict[str, Any]) -> None:
        claim = _copy(template)
        claim["spec"].setdefault("storageClassName", "standard")
        size = claim["spec"]["resources"]["requests"]["storage"]
        claim["status"] = {"phase": "Bound", "capacity": {"storage": size}}
        self.put("PersistentVolumeClaim", name, claim)

    def run_volumes(self) -> None:
        """Volumes get what their claims ask for, after a while."""
        for (kind, _), claim in self.objects.items():
            if kind != "PersistentVolumeClaim":
                continue
            wanted = claim["spec"]["resources"]["requests"]["storage"]
            if amount(wanted) <= amount(_size_of(claim)):
                continue
            claim["status"]["conditions"] = [{"type": "Resizing", "status": "True"}]
            claim["growing"] = claim.get("growing", self.growth_takes) - 1
            if claim["growing"] < 0:
                del claim["growing"]
                claim["status"] = {"phase": "Bound", "capacity": {"storage": wanted}}
                claim["metadata"]["resourceVersion"] = str(self._next())

    def _make_pod(self, name: str, template: dict[str, Any], revision: str) -> None:
        labels = {**template["metadata"]["labels"], naming.REVISION_LABEL: revision}
        config = self.objects[("ConfigMap", naming.config_map_name(ZONE))]["data"]
        pod = {
            "metadata": {
                "labels": labels,
                "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "spec": {"nodeName": "node"},
            "status": {"podIP": f"10.0.0.{self._next()}"},
            "image": template["spec"]["containers"][0]["image"],
            # What a server reads once, when it starts.
            "bootstrap": config[naming.BOOTSTRAP_KEY],
            "founding": config.get(naming.FOUNDING_KEY, ""),
            "config": config[naming.CONFIG_KEY],
        }
        self.put("Pod", name, pod)

    def run_pods(self, ready: set[str]) -> None:
        """Pods and claims that are going go; the others are ready or not."""
        for (kind, name), live in list(self.objects.items()):
            if "going" in live:
                live["going"] -= 1
                if live["going"] < 0:
                    del self.objects[(kind, name)]
                    self._gone(kind, name)
            elif kind == "Pod":
                state = "True" if name in ready else "False"
                live["status"]["conditions"] = [{"type": "Ready", "status": state}]

    def _gone(self, kind: str, name: str) -> None:
        if kind == "PersistentVolumeClaim":
            self.disks.pop(name.removeprefix(f"{naming.DATA_VOLUME}-"), None)
            return
        claim = self.objects.get(("PersistentVolumeClaim", f"{naming.DATA_VOLUME}-{name}"))
        if claim is not None and "condemned" in claim:
            claim["going"] = self.pod_stays
            claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def _claim(self, name: str) -> dict[str, Any]:
        return self.objects[("PersistentVolumeClaim", f"{naming.DATA_VOLUME}-{name}")]

    def _capacity(self, server: str) -> str:
        """What a server's volume has."""
        return _size_of(self._claim(server))

    def _is_growing(self, server: str) -> bool:
        asked = self._claim(server)["spec"]["resources"]["requests"]["storage"]
        return amount(asked) > amount(self._capacity(server))

    def _terminate(self, name: str) -> None:
        pod = self.objects[("Pod", name)]
        pod["going"] = self.pod_stays
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    # What others do

    def lose_volume(self, name: str) -> None:
        """The volume and the pod are gone; the StatefulSet makes both again."""
        self.objects.pop(("PersistentVolumeClaim", f"{naming.DATA_VOLUME}-{name}"), None)
        self.objects.pop(("Pod", name), None)
        self.disks.pop(name, None)

    def kill_pod(self, name: str) -> None:
        self.objects.pop(("Pod", name), None)

    def scale_statefulset(self, replicas: int) -> None:
        """What a meddler does."""
        live = self.objects[("StatefulSet", ZONE)]
        live["spec"]["replicas"] = replicas
        self.touch(live)

    # Bookkeeping

    def put(self, kind: str, name: str, content: dict[str, Any]) -> None:
        content.setdefault("metadata", {})
        number = self._next()
        content["metadata"] |= {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{number}",
            "generation": 1,
            "resourceVersion": str(number),
            **(
                {"creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ")}
                if kind in {naming.TASK_KIND, naming.BACKUP_KIND}
                else {}
            ),
        }
        self.objects[(kind, name)] = content

    def touch(self, live: dict[str, Any], *, spec: bool = True) -> None:
        self.writes += 1
        live["metadata"]["resourceVersion"] = str(self._next())
        if spec:
            live["metadata"]["generation"] += 1

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _begin(self, request: str, *, writes: bool = False) -> None:
        """A call reaches the server, unless the operator ended before."""
        if self.is_dead:
            raise CutOffError
        self.requests.append(request)
        self.calls += writes
        if len(self.requests) == self.cut_before:
            self._cut()

    def _end(self) -> None:
        """A call was carried out; its answer does not reach an operator that ended."""
        if len(self.requests) == self.cut_after:
            self._cut()

    def _cut(self) -> None:
        self.is_dead, self.cuts = True, self.cuts + 1
        raise CutOffError


def _size_of(claim: dict[str, Any]) -> str:
    return str(claim["status"]["capacity"]["storage"])


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _merge(live: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict) and key != "data":
            _merge(live[key], value)
        else:
            live[key] = value


def merge_patch(live: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict):
            live.setdefault(key, {})
            merge_patch(live[key], value)
        else:
            live[key] = value
