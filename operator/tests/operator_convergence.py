"""What must hold while an operation is carried out, and after it."""

from __future__ import annotations

import base64
import contextlib
import pickle
from collections.abc import Callable

from operator_cluster import ZONE, ViolationError
from operator_operations import DELETED, HTTPS, Operation
from operator_world import World

from onezone_operator import naming
from onezone_operator.errors import OperatorError

UNDISTURBED_PASSES_MAX = 60
"""An operation that nobody cuts off converges within so many passes."""

RECOVERY_PASSES_MAX = 3
"""A killed operator costs at most so many passes more: the one that was cut off, and those in which
the next one waits for what the first has begun."""

IDLE_PASSES = 2
"""Passes after convergence in which nothing may be written."""


async def prepare(
    operation: Operation,
    *,
    ticks: int = 1,
    controller_takes: int = 0,
    kind: type[World] = World,
) -> bytes:
    """The world right after the operation was started.

    Args:
        operation: which.
        ticks: how slow pods, claims and changes of the server set are.
        controller_takes: how slow the StatefulSet's controller is.
        kind: of the world.
    """
    world = kind(pod_stays=ticks, commit_takes=ticks, controller_takes=controller_takes)
    if operation.servers:
        https = HTTPS if operation.is_https else {}
        world.declare(replicas=operation.servers, **DELETED, **https)
        await _settle(world)
    if operation.fenced:
        world.declare(fencedServers=[operation.fenced])
        await _settle(world)
    if operation.has_policies:
        world.declare(networkPolicy={"enabled": True})
        await _settle(world)
    if operation.is_asleep:
        world.declare(hibernated=True)
        await _settle(world)
    world.note_pods()
    operation.start(world)
    world.requests.clear()
    return pickle.dumps(world)


async def _settle(world: World) -> None:
    for _ in range(UNDISTURBED_PASSES_MAX):
        await world.run_pass()
        world.step()
    assert world.is_as_desired()


class Observer:
    """Looks at a world after each pass and each second."""

    def __init__(self, world: World, operation: Operation | None = None) -> None:
        self.world = world
        self.operation = operation
        self.ids = {member.name: member.id for member in world.members}
        self.wanted = int(world.zone().spec.replicas)
        self.is_asleep = False

    def look(self) -> None:
        """What must hold at any moment.

        Raises:
            ViolationError: it does not.
        """
        world, operation = self.world, self.operation
        if not world.members or (operation is not None and operation.is_outage):
            return
        running = world.running()
        away = [member.name for member in world.members if member.name not in running]
        # From the first word until all are awake again.
        self.is_asleep = world.is_to_sleep() or (self.is_asleep and bool(away))
        if not self.is_asleep:
            if not world.has_quorum():
                raise ViolationError("the quorum is lost")
            if len(away) > 1:
                raise ViolationError(f"more than one server is away: {', '.join(away)}")
        now = {member.name: member.id for member in world.members}
        for name, number in self.ids.items():
            ordinal = naming.server_ordinal(ZONE, name)
            assert ordinal is not None
            if operation is not None and name == operation.replaced:
                continue
            if ordinal < self.wanted and now.get(name) != number:
                raise ViolationError(f"member {name} was lost")
        # Whoever was added meanwhile is a member like any other.
        self.ids |= now


async def converge(
    world: World,
    passes_max: int,
    *,
    outage: int = 0,
    before_pass: Callable[[World], None] = lambda _: None,
    operation: Operation | None = None,
) -> int:
    """Run passes until all is as desired, then idle ones; how many the first took.

    Args:
        world: where the operator works, and may be cut off.
        passes_max: bound of the passes.
        outage: seconds until the next operator starts after one was cut off.
        before_pass: called before each.
        operation: what was started, where it allows more than others do.
    """
    observer = Observer(world, operation)
    observer.is_asleep = not world.running()
    for passes in range(1, passes_max + 1):
        before_pass(world)
        outcome = None
        with contextlib.suppress(OperatorError):
            outcome = await world.run_pass()
        if outcome is not None:
            check_truth(world)
        observer.look()
        for _ in range(outage if world.has_no_operator() else 1):
            world.step()
            observer.look()
        # A status that was written before the operator was killed may be out of date.
        if outcome is not None and world.is_as_desired():
            return passes
    status = world.zone().status
    raise ViolationError(f"not converged: {status.plan} {world.members}")


def check_truth(world: World) -> None:
    """A pass that was finished tells nobody to go on before it is time."""
    if world.says_converged() and not world.is_converged():
        raise ViolationError(f"called converged: {world.zone().status.plan} {world.members}")
    if world.says_in_sync() and not world.is_in_sync():
        raise ViolationError("pods of an older template are said to be of the present one")


async def check_end(world: World, operation: Operation | None = None) -> None:
    """Nothing is left over, nothing is missing, and nothing is written any more."""
    assert operation is None or operation.is_done(world), f"{world.leader} {world.foundings}"
    assert all(task.status.outcome.status == "True" for task in world.tasks())
    wanted = world.zone().spec.replicas
    names = {f"{ZONE}-{ordinal}" for ordinal in range(wanted)}
    # The claim of a pod that is gone takes a moment more.
    for _ in range(world.pod_stays + 2):
        world.step()
    before = world.writes, world.calls
    for _ in range(IDLE_PASSES):
        await world.run_pass()
        world.step(2)
    assert (world.writes, world.calls) == before, "a zone at rest is written"
    assert world.is_as_desired()
    assert {member.name for member in world.voters()} == names
    assert len(world.members) == wanted
    assert world.zones_made == 1
    is_asleep = world.is_to_sleep()
    others = {naming.TASK_KIND, naming.BACKUP_KIND, "Job"}
    objects = {key for key in world.objects if key[0] not in others}
    pods = set() if is_asleep else names
    assert objects == _objects(names, pods) | _https_objects(world) | _policies(world)
    assert set(world.disks) == names
    assert all(disk.initialised for disk in world.disks.values())
    if is_asleep:
        assert world.zone().status.condition("Degraded").status == "False"
        return
    _check_certificates(world, names)
    _check_route(world)
    _check_pods(world)
    _check_status(world)


def _objects(names: set[str], pods: set[str]) -> set[tuple[str, str]]:
    """All objects that there shall be."""
    return {
        (naming.KIND, ZONE),
        ("Secret", "zone-auth"),
        ("Secret", "zone-ca"),
        ("Secret", "zone-peers"),
        ("ServiceAccount", "zone"),
        ("Role", "zone"),
        ("RoleBinding", "zone"),
        ("ConfigMap", "zone-config"),
        ("Service", "zone"),
        ("Service", "zone-any"),
        ("Service", "zone-servers"),
        ("EndpointSlice", "zone-leader"),
        ("PodDisruptionBudget", "zone"),
        ("StatefulSet", "zone"),
        *(("Pod", name) for name in pods),
        *(("PersistentVolumeClaim", f"data-{name}") for name in names),
    }


def _https_objects(world: World) -> set[tuple[str, str]]:
    return {("Secret", "zone-tls")} if world.zone().spec.tls.enabled else set()


def _policies(world: World) -> set[tuple[str, str]]:
    if not world.zone().spec.network_policy.enabled:
        return set()
    return {("NetworkPolicy", "zone"), ("NetworkPolicy", "zone-backup")}


def _check_certificates(world: World, names: set[str]) -> None:
    """One authority, which issued everything, and nothing for servers that are no more."""
    authority = world.objects[("Secret", "zone-ca")]
    assert set(authority["data"]) == {"tls.crt", "tls.key"}
    assert set(authority["metadata"]["annotations"]) == {
        naming.UUID_ANNOTATION,
        naming.BOOTSTRAPPED_ANNOTATION,
    }
    peers = world.objects[("Secret", "zone-peers")]["data"]
    files = {f"{name}.{suffix}" for name in names for suffix in ("crt", "key")}
    assert set(peers) == {naming.AUTHORITY_KEY, *files}
    secrets = [peers]
    if world.zone().spec.tls.enabled:
        secrets.append(world.objects[("Secret", "zone-tls")]["data"])
    for data in secrets:
        assert data[naming.AUTHORITY_KEY] == authority["data"]["tls.crt"]
    told = {each.name for each in world.zone().status.certificates}
    assert told == ({"authority", "peers", "api"} if len(secrets) > 1 else {"authority", "peers"})


def _check_route(world: World) -> None:
    live = world.objects[("EndpointSlice", "zone-leader")]
    leader = world.objects[("Pod", str(world.leader))]
    assert [each["addresses"] for each in live["endpoints"]] == [[leader["status"]["podIP"]]]
    assert live["metadata"]["annotations"][naming.TERM_ANNOTATION] == str(world.term)


def _check_pods(world: World) -> None:
    """Each pod started with the present configuration, and none may make a database again.

    What was made once is what the zone was made with.
    """
    data = world.objects[("ConfigMap", "zone-config")]["data"]
    assert data[naming.BOOTSTRAP_KEY] == ""
    peers = world.objects[("Secret", "zone-peers")]["data"]
    authority = world.objects[("Secret", "zone-ca")]
    password = world.objects[("Secret", "zone-auth")]["data"][naming.AUTH_KEY]
    assert base64.b64decode(password).decode() == world.session
    assert peers[naming.AUTHORITY_KEY] == authority["data"]["tls.crt"]
    assert {disk.zone_uuid for disk in world.disks.values()} == {
        authority["metadata"]["annotations"][naming.UUID_ANNOTATION]
    }
    for (kind, name), pod in world.objects.items():
        if kind == "Pod":
            assert pod["config"] == data[naming.CONFIG_KEY]
            assert {f"{name}.crt", f"{name}.key"} <= set(peers)


def _check_status(world: World) -> None:
    zone = world.zone()
    status = zone.status
    conditions = {each.type: each.status for each in status.conditions}
    if zone.spec.fenced_servers:
        assert status.condition("Degraded").reason == "ServersFenced"
        assert (conditions["Quorate"], status.leader) == ("True", world.leader)
        return
    assert conditions == {
        "Ready": "True",
        "Quorate": "True",
        "LeaderElected": "True",
        "RoutingInSync": "True",
        "AllServersReady": "True",
        "Progressing": "False",
        "Degraded": "False",
        "ConfigInSync": "True",
        "VolumesInSync": "False" if zone.spec.storage.storage_class_name else "True",
        "CertificatesReady": "True",
        "BackupReady": "Unknown" if zone.spec.backup is None else "True",
        "Paused": "False",
        "Hibernated": "False",
    }
    assert status.observed_generation == zone.metadata.generation
    assert (status.replicas, status.leader) == (zone.spec.replicas, world.leader)
    assert status.bootstrapped
