"""Backups go from a cluster into a real S3 store and a zone comes back from there. The store's keys
are in a Secret, and nowhere else.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import buckets
import lab
import onezones
import pyone
import pytest
import timeouts
from onezonebackups import backup, wait_until_taken
from writer import Writer

pytestmark = timeouts.limit(900)

READ_USERS = f"""
import json, xml.etree.ElementTree as tree, xmlrpc.client
session = open("/etc/one/auth/one_auth").read().strip()
server = xmlrpc.client.ServerProxy("http://localhost:{onezones.API_PORT}/RPC2")
ok, pool, *_ = server.one.userpool.info(session)
assert ok, pool
users = tree.fromstring(pool).iter("USER")
print(json.dumps({{u.findtext("ID"): [u.findtext("NAME"), u.findtext("GNAME")] for u in users}}))
"""
SHOWN = (
    "onezones,onezonebackups,onezonetasks,statefulsets,jobs,pods,configmaps,services,events,"
    "controllerrevisions"
)
"""Kinds in which a key must not be."""


@pytest.fixture(scope="module")
def store(nodes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.Store]:
    """A real S3 server that speaks https."""
    with buckets.running(tmp_path_factory.mktemp("s3")) as found:
        yield found


def zone_of(namespace: str, name: str, replicas: int, **spec: Any) -> onezones.Zone:
    manifest = copy.deepcopy(onezones.example("three-servers"))
    manifest["metadata"]["name"] = name
    manifest["spec"] |= spec
    return onezones.make(namespace, manifest, replicas)


def ask(namespace: str, name: str, **spec: Any) -> None:
    lab.apply(
        {
            "apiVersion": "onezone.dev/v1alpha1",
            "kind": "OneZoneBackup",
            "metadata": {"name": name},
            "spec": {"zoneRef": {"name": "first"}, **spec},
        },
        "-n",
        namespace,
    )


def users(zone: onezones.Zone, server: str) -> dict[str, list[str]]:
    return dict(json.loads(zone.python(server, READ_USERS)))


def wait_until_failed(namespace: str, name: str) -> str:
    """Wait until all attempts failed; the last words."""

    def words() -> str:
        status = backup(namespace, name).get("status") or {}
        over = [each["status"] for each in status.get("conditions") or []]
        assert over != ["True"], "it succeeded"
        return str(status["message"]) if over == ["False"] else ""

    return lab.wait_until(f"backup {name} has failed", words, timeouts.BACKUP)


def everything_said(namespace: str) -> dict[str, str]:
    """All that somebody without a right to Secrets may read of this."""
    where = ("-n", namespace)
    found = {"objects": lab.kubectl(*where, "get", SHOWN, "-o", "yaml")}
    for pod in lab.kubectl(*where, "get", "pods", "-o", "name").split():
        found[pod] = lab.kubectl(*where, "logs", pod, "--all-containers", "--tail=-1")
    operator = ("-n", lab.OPERATOR_NAMESPACE, "logs", lab.OPERATOR_DEPLOYMENT)
    found["operator"] = lab.kubectl(*operator, "--tail=-1")
    return found


def assert_in_none(said: dict[str, str], secrets: list[str]) -> None:
    for place, text in said.items():
        assert text, f"{place} says nothing at all"
        assert not any(secret in text for secret in secrets), f"a key is in {place}"


def assert_stored(store: buckets.Store, status: dict[str, Any], folder: str) -> None:
    """The object is in the bucket, whole, and nothing half-done beside it."""
    assert status["verified"] is True
    assert status["location"].startswith(f"s3://{buckets.BUCKET}/{folder}/first/")
    content = store.file(status["location"]).read_bytes()
    assert len(content) == status["size"]
    assert hashlib.sha256(content).hexdigest() == status["sha256"]
    assert store.server.unfinished(buckets.BUCKET) == []


def test_a_zone_goes_into_a_bucket_and_another_comes_out(
    store: buckets.Store, namespace: str
) -> None:
    """By the schedule and on request; users and documents of the second zone are the first's."""
    store.make_secrets(namespace)
    storage = store.storage("nightly")
    schedule = {"schedule": "0 2 * * *", "storage": storage}
    zone = zone_of(namespace, "first", 3, backup=schedule)
    lab.wait_until(
        "the schedule's first backup is there",
        lambda: (zone.get()["status"].get("backup") or {}).get("lastSuccessful"),
        timeouts.BACKUP,
    )
    first = backup(namespace, zone.get()["status"]["backup"]["lastSuccessful"])["status"]
    assert_stored(store, first, "nightly")

    with Writer(zone) as writer:
        writer.wait_for_writes(100, timeouts.FAILOVER)
    client = pyone.OneServer(zone.url(), session=zone.session())
    client.user.allocate("ada", "a-password-of-hers", "")
    ask(namespace, "now")
    taken = wait_until_taken(namespace, "now")
    assert_stored(store, taken, "nightly")
    assert taken["location"] != first["location"]

    wrong = {"AWS_ACCESS_KEY_ID": "not-this-key", "AWS_SECRET_ACCESS_KEY": "nor-this-secret"}
    buckets.make_secret(namespace, "wrong-keys", wrong)
    ask(namespace, "refused", storage=store.storage("nightly", keys="wrong-keys"))
    lab.step(f"  with wrong keys: {wait_until_failed(namespace, 'refused')}")
    assert store.server.unfinished(buckets.BUCKET) == []

    # By the location alone, as in another cluster.
    restore = {"location": taken["location"], "storage": storage}
    again = zone_of(namespace, "second", 3, bootstrap={"restore": restore})
    leader = zone.leader()
    wanted = zone.documents(leader), users(zone, leader)
    assert writer.acknowledged.items() <= wanted[0].items()
    assert [name for name, _ in wanted[1].values() if name == "ada"]
    for server in again.pods():
        lab.wait_until(
            f"{server} holds what the first zone holds",
            lambda server=server: (again.documents(server), users(again, server)) == wanted,
            timeouts.CATCH_UP,
        )
    with Writer(again) as writer:
        writer.wait_for_writes(20, timeouts.FAILOVER)
    writer.assert_nothing_lost()

    environment = store.server.environment()
    keys = [environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]]
    assert_in_none(everything_said(namespace), [*keys, *wrong.values()])
