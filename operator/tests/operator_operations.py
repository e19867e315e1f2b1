"""Operations on a zone as users start them: what each changes, and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from operator_cluster import ZONE
from operator_world import World

from onezone_operator import naming

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
