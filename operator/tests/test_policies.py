"""Who reaches whom behind a zone's NetworkPolicies, judged by an evaluator of Kubernetes' rules.

That a network which enforces them agrees is shown by tests/e2e/test_network_policy.py.
"""

from __future__ import annotations

import pytest
from operator_facts import UUID, build_observed, build_zone
from operator_network import End, is_let_through
from operator_world import SETTINGS, World
from test_model_world import grown

from onezone_operator import naming
from onezone_operator.handlers.reconciler import Reconciler
from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.onezonebackup import OneZoneBackup
from onezone_operator.reconcile.policies import backup_storages
from onezone_operator.reconcile.steps import DropPolicy, describe
from onezone_operator.resources.children import Shape, build_children
from onezone_operator.resources.policies import find_operator_namespace, policy_names

API, PEER, ADMIN = naming.API_PORT, naming.PEER_PORT, naming.ADMIN_PORT
SYSTEM = "onezone-system"


def end(namespace, **labels):
    return End(namespace, labels, {"kubernetes.io/metadata.name": namespace})


SERVER = End("front", naming.selector_labels("zone"), {})
OTHER_ZONE = End("front", naming.selector_labels("other"), {})
JOB = End("front", {naming.BACKUP_ZONE_LABEL: "zone"}, {})
OPERATOR_LABELS = {
    "app.kubernetes.io/name": "onezone-operator",
    "app.kubernetes.io/component": "operator",
}
OPERATOR = End(SYSTEM, OPERATOR_LABELS, {"kubernetes.io/metadata.name": SYSTEM})
IMPOSTOR = End("elsewhere", OPERATOR_LABELS, {"kubernetes.io/metadata.name": "elsewhere"})
STRANGER = end("front", app="stranger")
FRONT_END = end("front", role="front-end")
PROMETHEUS = end("monitoring", app="prometheus")
OUTSIDE = End(address="192.0.2.7")
NODE = End(address="172.18.0.2")


def policies(storages=(), restore=None, **given):
    given = {"enabled": True, "operatorNamespace": SYSTEM, **given}
    zone = build_zone(networkPolicy=given)
    shape = Shape(
        zone_uuid=UUID,
        replicas=3,
        voters=3,
        bootstrap="",
        backup_storages=storages,
        restore_storage=restore,
    )
    return [each for each in build_children(zone, shape) if each["kind"] == "NetworkPolicy"]


def s3(endpoint=None):
    return BackupStorage.model_validate(
        {"s3": {"bucket": "backups", "endpoint": endpoint, "credentialsSecretRef": {"name": "k"}}}
    )


def reaches(made, source, target, *ports):
    return [port for port in ports if is_let_through(made, source, target, port)]


def test_by_default_there_are_none():
    assert not policies(enabled=False)
    assert is_let_through(policies(enabled=False), STRANGER, SERVER, PEER)


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        (SERVER, [API, PEER]),
        (OPERATOR, [API, ADMIN]),
        (JOB, [API]),
        (STRANGER, [API]),
        (OTHER_ZONE, [API]),
        (IMPOSTOR, [API]),
        (PROMETHEUS, [API]),
        (OUTSIDE, [API]),
    ],
)
def test_who_gets_in_where_nobody_is_named(source, ports):
    """The API is open, since sessions guard it; everything else is the zone's own."""
    assert reaches(policies(), source, SERVER, API, PEER, ADMIN, 22) == ports


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        (SERVER, [API, PEER]),
        (OPERATOR, [API, ADMIN]),
        (JOB, [API]),
        (FRONT_END, [API]),
        (OUTSIDE, [API]),
        (End(address="192.0.2.200"), []),
        (PROMETHEUS, [ADMIN]),
        (STRANGER, []),
        (OTHER_ZONE, []),
        (NODE, []),
    ],
)
def test_who_gets_in_where_some_are_named(source, ports):
    """What the zone itself needs does not have to be named."""
    made = policies(
        clientsFrom=[
            {"podSelector": {"matchLabels": {"role": "front-end"}}},
            {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}},
        ],
        metricsFrom=[
            {
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "In",
                            "values": ["monitoring"],
                        }
                    ]
                }
            }
        ],
    )
    assert reaches(made, source, SERVER, API, PEER, ADMIN) == ports


def test_operator_of_an_unknown_namespace_is_known_by_its_labels():
    made = policies(operatorNamespace=None)
    assert reaches(made, OPERATOR, SERVER, API, PEER, ADMIN) == [API, ADMIN]
    assert reaches(made, end(SYSTEM, app="other"), SERVER, ADMIN) == []
    assert find_operator_namespace(made[0]) is None
    assert find_operator_namespace(policies()[0]) == SYSTEM
    assert find_operator_namespace(None) is None


def test_where_servers_get_to():
    made = policies()
    assert reaches(made, SERVER, OUTSIDE, 443, 6443, 80, 22, 9000, PEER) == [443, 6443]
    assert is_let_through(made, SERVER, OUTSIDE, 53, "UDP")
    assert is_let_through(made, SERVER, OUTSIDE, 53)
    assert not is_let_through(made, SERVER, OUTSIDE, 123, "UDP")
    # While one of them begins with a backup, the store is reached as well.
    made = policies(restore=s3("http://store:9000"))
    assert reaches(made, SERVER, OUTSIDE, 80, 9000) == [9000]


def test_jobs_of_backups_get_to_the_servers_and_to_their_store_and_nobody_gets_to_them():
    assert reaches(policies(), JOB, SERVER, API, PEER, ADMIN) == [API]
    assert reaches(policies(), JOB, OUTSIDE, 443, 6443, 9000) == []
    assert reaches(policies(storages=(s3(),)), JOB, OUTSIDE, 443, 6443) == [443]
    stores = (s3("http://one"), s3("https://two:9000"), s3("https://three/path"))
    assert reaches(policies(stores), JOB, OUTSIDE, 80, 443, 9000, 22) == [80, 443, 9000]
    # A URL that leads nowhere is for the Job to complain about.
    assert reaches(policies((s3("https://store:none"),)), JOB, OUTSIDE, 443) == [443]
    volume = BackupStorage.model_validate({"volume": {"claimName": "backups"}})
    assert reaches(policies((volume,)), JOB, OUTSIDE, 443, 80) == []
    for source in (SERVER, STRANGER, OPERATOR):
        assert reaches(policies(), source, JOB, API, PEER, ADMIN, 8080) == []


def test_stores_of_all_backups_of_the_zone_count():
    def backup(zone, port):
        storage = s3(f"http://store:{port}").model_dump(by_alias=True)
        return OneZoneBackup.model_validate(
            {
                "metadata": {"name": f"b{port}", "namespace": "front", "uid": f"u{port}"},
                "spec": {"zoneRef": {"name": zone}},
                "status": {"storage": storage},
            }
        )

    own = s3("http://own").model_dump(by_alias=True)
    zone = build_zone(backup={"storage": own})
    observed = build_observed(zone, backups=(backup("zone", 9001), backup("other", 9002)))
    found = [each.s3.endpoint for each in backup_storages(zone, observed)]
    assert found == ["http://own", "http://store:9001"]


async def test_operators_own_namespace_is_filled_in():
    world = World()
    settings = SETTINGS.model_copy(update={"lease_namespace": SYSTEM})
    world._reconciler = Reconciler(world, world, settings, clock=lambda: world.now)
    world.declare(replicas=1, networkPolicy={"enabled": True})
    for _ in range(40):
        await world.run_pass()
        world.step()
    assert world.says_converged()
    assert find_operator_namespace(world.objects[("NetworkPolicy", "zone")]) == SYSTEM


async def test_foreign_policies_stay():
    """What carries the zone's label and another owner, or another name, is not the operator's."""
    world = await grown(1)
    theirs = {"metadata": {"labels": naming.object_labels("zone"), "ownerReferences": []}}
    owned = {"uid": "somebody", "kind": "Other"}
    world.put("NetworkPolicy", "mine", {"metadata": {**theirs["metadata"]}})
    world.put(
        "NetworkPolicy", "zone", {"metadata": {**theirs["metadata"], "ownerReferences": [owned]}}
    )
    for _ in range(3):
        await world.run_pass()
    assert world.says_converged()
    assert {name for kind, name in world.objects if kind == "NetworkPolicy"} == {"mine", "zone"}
    world.declare(networkPolicy={"enabled": True})
    await world.run_pass()
    assert world.zone().status.plan.waiting_for == "NameTaken"


def test_switching_off_is_said():
    assert policy_names("zone") == ("zone", "zone-backup")
    assert "zone-backup" in describe(DropPolicy("zone-backup", "uid"))
