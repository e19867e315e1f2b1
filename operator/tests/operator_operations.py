"""Operations on a zone as users start them, and what must hold while and after they run."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass

from operator_cluster import ZONE, ViolationError
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

DELETED = {"storage": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}


@dataclass(frozen=True)
class Operation:
    """A change of a zone of ``servers`` (0: none yet), made by ``start``."""

    name: str
    servers: int
    start: Callable[[World], None]
    is_https: bool = False
    is_outage: bool = False
    """The zone is down before, or for it: only the end can be judged."""
    replaced: str = ""
    """A server that shall get another id and an empty volume."""
    is_done: Callable[[World], bool] = lambda _: True
    """What it came to."""
    is_asleep: bool = False
    """It starts with a zone that is hibernated."""
    fenced: str = ""
    """It starts with this server fenced."""
    has_policies: bool = False
    """It starts with NetworkPolicies."""


def _declare(**spec: object) -> Callable[[World], None]:
    return lambda world: world.declare(**spec)


def _fail_over_without_hook(world: World) -> None:
    world.hook_works = False
    world.kill_pod(f"{ZONE}-0")


def _roll_without_hook(world: World) -> None:
    world.hook_works = False
    world.declare(image="oned:2")


HTTPS = {"tls": {"enabled": True, "authorityOverlapSeconds": 3}}


def _ask_for_another_authority(world: World) -> None:
    """As ``kubectl annotate`` does it."""
    secret = world.objects[("Secret", naming.authority_secret_name(ZONE))]
    secret["metadata"]["annotations"][naming.ROTATE_ANNOTATION] = "now"
    world.touch(secret)


def _lose_api_certificate(world: World) -> None:
    world.objects.pop(("Secret", naming.tls_secret_name(ZONE)))


def _add_a_name(world: World) -> None:
    world.declare(tls={**HTTPS["tls"], "dnsNames": ["front.example"]})


def _ask(kind: str, **spec: object) -> Callable[[World], None]:
    return lambda world: world.ask("task", type=kind, **spec)


def _lose_most(world: World) -> None:
    world.lose_volume(f"{ZONE}-0")
    world.lose_volume(f"{ZONE}-2")
    world.ask("task", type="RecoverQuorum", confirm=True)


def _leads(server: str) -> Callable[[World], bool]:
    return lambda world: world.leader == server


def _founded(server: str, *, kept: int) -> Callable[[World], bool]:
    """It was founded once, and that many databases of others are still on their volumes."""

    def is_so(world: World) -> bool:
        aside = [index for disk in world.disks.values() for index in disk.put_aside]
        return world.foundings == [server] and len(aside) == kept

    return is_so


def _replaced(server: str) -> Callable[[World], bool]:
    return lambda world: world.replaced == {server}


def _back_up_with_failures(world: World) -> None:
    world.job_failures = 1
    world.ask_backup("one")


def _back_up_behind_policies(world: World) -> None:
    """To a store of the backup's own, which the zone's spec does not know."""
    s3 = {"bucket": "here", "endpoint": "http://store:9000", "credentialsSecretRef": {"name": "k"}}
    world.ask_backup("one", storage={"s3": s3})


def _reaches(port: int) -> Callable[[World], bool]:
    """The Jobs of backups do."""

    def is_so(world: World) -> bool:
        policy = world.objects[("NetworkPolicy", "zone-backup")]["spec"]
        ports = [each["port"] for rule in policy["egress"] for each in rule["ports"]]
        return port in ports and all(backup.has_succeeded for backup in world.backups())

    return is_so


def _schedule(world: World) -> None:
    """Four backups are there, of which one is kept beside the one that is due."""
    for day in range(1, 5):
        world.add_taken(f"old-{day}", f"2025-12-2{day}T00:00:00Z")
    world.declare(backup={**SCHEDULE, "retention": {"last": 2}})


def _backed_up(*, tries: int = 1) -> Callable[[World], bool]:
    """There is one backup, taken once and from a follower."""

    def is_so(world: World) -> bool:
        (backup,) = world.backups()
        followers = all(each != f"{ZONE}-0" for each in world.taken_from)
        return (
            backup.has_succeeded
            and backup.status.verified
            and backup.status.attempts == tries
            and list(world.stored) == [backup.status.location]
            and world.stored[str(backup.status.location)] == backup.status.index
            and followers
        )

    return is_so


def _keeps(*names: str) -> Callable[[World], bool]:
    """These backups are left, and their files and no others."""

    def is_so(world: World) -> bool:
        left = {backup.name for backup in world.backups()}
        files = {str(backup.status.location) for backup in world.backups()}
        return left == set(names) and files == set(world.stored)

    return is_so


def _is_from_backup(world: World) -> bool:
    pods = [pod for (kind, _), pod in world.objects.items() if kind == "Pod"]
    founders = [json.loads(pod["founding"])["server"] for pod in pods]
    # The first one was replaced when the backup's storage was not needed any more.
    return world.foundings == [f"{ZONE}-0"] and not any(founders)


SCHEDULE = {"schedule": "0 0 * * *", "storage": {"volume": {"claimName": "backups"}}}
FROM_BACKUP = {
    "restore": {
        "location": "file:///backups/zone/one.bck",
        "storage": {"volume": {"claimName": "backups"}},
    }
}


def _hibernate_under_a_follower(world: World) -> None:
    """The last server leads when it all begins."""
    world.kill_pod(f"{ZONE}-0")
    world.leader = f"{ZONE}-2"
    world.declare(hibernated=True)


BOTH = {"whenScaled": "Delete", "whenDeleted": "Delete"}
LARGER = {"storage": {**DELETED["storage"], "size": "20Gi"}}


def _move_server(world: World) -> None:
    world.declare(storage={**DELETED["storage"], "storageClassName": "fast"})
    world.ask("task", type="ReplaceServer", server=f"{ZONE}-1")


def _is_moved(world: World) -> bool:
    """The one that was replaced has a volume of the new class."""
    classes = [
        live["spec"]["storageClassName"]
        for (kind, _), live in sorted(world.objects.items())
        if kind == "PersistentVolumeClaim"
    ]
    told = world.zone().status.condition("VolumesInSync")
    return (classes, told.reason) == (["standard", "fast", "standard"], "OlderStorageClass")


def _keeps_pods(world: World) -> bool:
    """The pods of the zone's first three servers are those that there were before."""
    return all(
        world.objects[("Pod", name)]["metadata"]["uid"] == uid
        for name, uid in world.pods_before.items()
    )


OPERATIONS = (
    Operation("make a new zone", 0, _declare(replicas=1, **DELETED)),
    Operation("grow 1 to 3", 1, _declare(replicas=3)),
    Operation("grow 3 to 5", 3, _declare(replicas=5)),
    Operation("shrink 3 to 1", 3, _declare(replicas=1)),
    Operation("shrink 5 to 3", 5, _declare(replicas=3)),
    Operation("roll the image", 3, _declare(image="oned:2")),
    Operation("roll resources", 3, _declare(resources={"requests": {"cpu": "1"}})),
    Operation("roll the configuration", 3, _declare(logLevel="debug")),
    Operation("replace the leader's volume", 3, lambda world: world.lose_volume(f"{ZONE}-0")),
    Operation("replace a follower's volume", 3, lambda world: world.lose_volume(f"{ZONE}-1")),
    Operation("hibernate", 3, _declare(hibernated=True)),
    Operation("hibernate under a follower", 3, _hibernate_under_a_follower),
    Operation("wake", 3, _declare(hibernated=False), is_asleep=True),
    Operation("fence the leader", 3, _declare(fencedServers=[f"{ZONE}-0"])),
    Operation("fence a follower", 3, _declare(fencedServers=[f"{ZONE}-2"])),
    Operation("unfence", 3, _declare(fencedServers=[]), fenced=f"{ZONE}-1"),
    Operation("fence another", 3, _declare(fencedServers=[f"{ZONE}-2"]), fenced=f"{ZONE}-1"),
    Operation("switch policies on", 3, _declare(networkPolicy={"enabled": True})),
    Operation("switch policies off", 3, _declare(networkPolicy={}), has_policies=True),
    Operation(
        "back up behind policies",
        3,
        _back_up_behind_policies,
        has_policies=True,
        is_done=_reaches(9000),
    ),
    Operation("repair the route", 3, _fail_over_without_hook),
    Operation("roll without a hook", 3, _roll_without_hook),
    Operation("make a new zone of https", 0, _declare(replicas=1, **DELETED, **HTTPS)),
    Operation("grow 1 to 3 of https", 1, _declare(replicas=3), is_https=True),
    Operation("rotate the authority", 3, _ask_for_another_authority),
    Operation("rotate the authority of https", 3, _ask_for_another_authority, is_https=True),
    Operation("renew the API's certificate", 3, _lose_api_certificate, is_https=True),
    Operation("name the API differently", 3, _add_a_name, is_https=True),
    Operation("hand over", 3, _ask("HandOver", server=f"{ZONE}-2"), is_done=_leads(f"{ZONE}-2")),
    Operation(
        "hand over to the best", 3, _ask("HandOver"), is_done=lambda w: w.leader != f"{ZONE}-0"
    ),
    Operation(
        "replace the leader by task",
        3,
        _ask("ReplaceServer", server=f"{ZONE}-0"),
        replaced=f"{ZONE}-0",
        is_done=_replaced(f"{ZONE}-0"),
    ),
    Operation(
        "replace the middle by task",
        3,
        _ask("ReplaceServer", server=f"{ZONE}-1"),
        replaced=f"{ZONE}-1",
        is_done=_replaced(f"{ZONE}-1"),
    ),
    Operation(
        "replace the last by task",
        3,
        _ask("ReplaceServer", server=f"{ZONE}-2"),
        replaced=f"{ZONE}-2",
        is_done=_replaced(f"{ZONE}-2"),
    ),
    Operation(
        "recover the quorum",
        3,
        _lose_most,
        is_outage=True,
        is_done=_founded(f"{ZONE}-1", kept=1),
    ),
    Operation(
        "restore in place",
        3,
        _ask("Restore", location="s3://backups/zone.bck", confirm=True),
        is_outage=True,
        is_done=_founded(f"{ZONE}-0", kept=3),
    ),
    Operation("back up", 3, lambda world: world.ask_backup("one"), is_done=_backed_up()),
    Operation("back up at the second try", 3, _back_up_with_failures, is_done=_backed_up(tries=2)),
    Operation("back up by the schedule", 3, _declare(backup=SCHEDULE), is_done=_backed_up()),
    Operation(
        "keep to the retention", 3, _schedule, is_done=_keeps("old-4", f"{ZONE}-202601010000")
    ),
    Operation(
        "make a zone from a backup",
        0,
        _declare(replicas=1, bootstrap=FROM_BACKUP),
        # The one server is started again without the storage of the backup.
        is_outage=True,
        is_done=_is_from_backup,
    ),
    Operation("grow the volumes", 3, _declare(**LARGER), is_done=_keeps_pods),
    Operation(
        "grow the volumes that go with their StatefulSet",
        3,
        _declare(storage={**LARGER["storage"], "persistentVolumeClaimRetentionPolicy": BOTH}),
        is_done=_keeps_pods,
    ),
    Operation("grow the volumes of one server", 1, _declare(**LARGER), is_done=_keeps_pods),
    Operation("grow volumes and zone", 3, _declare(replicas=5, **LARGER), is_done=_keeps_pods),
    Operation("grow volumes, shrink the zone", 3, _declare(replicas=1, **LARGER)),
    Operation(
        "grow volumes and roll",
        3,
        _declare(image="oned:2", **LARGER),
        is_done=lambda world: not _keeps_pods(world),
    ),
    Operation(
        "change the storage class",
        3,
        _declare(storage={**DELETED["storage"], "storageClassName": "fast"}),
        is_done=_keeps_pods,
    ),
    Operation(
        "replace a server into another storage class",
        3,
        _move_server,
        replaced=f"{ZONE}-1",
        is_done=_is_moved,
    ),
)


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
