"""Objects of a zone as golden YAML, and when an object is right.

``ONEZONE_REWRITE=1 pytest …`` writes the golden files anew; read them before committing.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import yaml
from operator_facts import UUID, build_zone

from onezone_operator import naming
from onezone_operator.models.quantity import are_equal
from onezone_operator.resources.children import Shape, build_children
from onezone_operator.resources.drift import find_drift
from onezone_operator.resources.metadata import is_foreign
from onezone_operator.resources.servers import tolerated_losses

GOLDEN = Path(__file__).parent / "data"
SPECS = {
    "plain": {},
    "full": {
        "replicas": 5,
        "storage": {
            "size": "20Gi",
            "storageClassName": "fast",
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Delete",
                "whenScaled": "Delete",
            },
        },
        "endpoint": {
            "type": "LoadBalancer",
            "nodePort": 30263,
            "metallb": {"address": "192.0.2.10", "pool": "front-end"},
            "annotations": {"example.org/owner": "cloud"},
        },
        "resources": {
            "requests": {"cpu": 1, "memory": "512Mi", "ephemeral-storage": "1Gi"},
            "limits": {"cpu": "2", "memory": "1Gi"},
        },
        "scheduling": {
            "spread": "Preferred",
            "topologyKey": "topology.kubernetes.io/zone",
            "nodeSelector": {"role": "front-end"},
            "tolerations": [{"key": "role", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "important",
        },
        "raft": {"electionTimeoutMs": 2000, "heartbeatMs": 300},
        "credentialsSecretRef": {"name": "ours"},
        "tls": {"enabled": True, "dnsNames": ["front.example"]},
        "imagePullSecrets": [{"name": "registry"}],
        "networkPolicy": {
            "enabled": True,
            "operatorNamespace": "onezone-system",
            "clientsFrom": [
                {"podSelector": {"matchLabels": {"role": "front-end"}}},
                {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}},
            ],
            "metricsFrom": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": "team", "operator": "In", "values": ["a", "b"]}
                        ]
                    },
                    "podSelector": {},
                }
            ],
        },
        "backup": {
            "storage": {
                "s3": {
                    "bucket": "front-end",
                    "endpoint": "https://store.example:9000",
                    "credentialsSecretRef": {"name": "store"},
                }
            }
        },
        "logLevel": "debug",
    },
}


class Readable(yaml.SafeDumper):
    """Shows a text of several lines as such, and no anchors."""

    def ignore_aliases(self, data):
        return True


def as_text(dumper, text):
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Readable.add_representer(str, as_text)


def children(spec, **shape):
    return build_children(
        build_zone(**spec),
        Shape(**{"zone_uuid": UUID, "replicas": 3, "voters": 3, "bootstrap": "", **shape}),
    )


def by_key(objects):
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


@pytest.mark.parametrize("name", SPECS)
def test_objects_are_as_in_the_golden_file(name):
    text = yaml.dump_all(children(SPECS[name]), Dumper=Readable, sort_keys=False, width=100)
    path = GOLDEN / f"children-{name}.yaml"
    if os.environ.get("ONEZONE_REWRITE"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("name", SPECS)
def test_applied_objects_have_no_drift(name):
    for manifest in children(SPECS[name]):
        assert find_drift(manifest, copy.deepcopy(manifest)) == ()


def test_pods_are_restricted():
    for spec in SPECS.values():
        template = by_key(children(spec))[("StatefulSet", "zone")]["spec"]["template"]["spec"]
        assert template["automountServiceAccountToken"] is False
        assert template["securityContext"]["runAsNonRoot"] is True
        assert template["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = template["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_may_write_one_slice_and_nothing_else():
    (rule,) = by_key(children({}))[("Role", "zone")]["rules"]
    assert rule["resources"] == ["endpointslices"]
    assert rule["resourceNames"] == ["zone-leader"]


def test_every_object_is_labelled_and_owned():
    for each in children({}):
        assert each["metadata"]["labels"].items() >= naming.object_labels("zone").items()
        assert each["metadata"]["ownerReferences"][0]["uid"] == "uid-zone"
        assert not is_foreign(build_zone(), each)


@pytest.mark.parametrize(("voters", "losses"), [(1, 1), (2, 0), (3, 1), (4, 1), (5, 2), (9, 4)])
def test_budget_follows_the_quorum(voters, losses):
    assert tolerated_losses(voters) == losses


def test_defaults_and_additions_of_others_are_no_drift():
    for manifest in children({}):
        live = copy.deepcopy(manifest)
        live["metadata"]["labels"]["theirs"] = "x"
        live["status"] = {"replicas": 3}
        if manifest["kind"] == "StatefulSet":
            container = live["spec"]["template"]["spec"]["containers"][0]
            container["terminationMessagePath"] = "/dev/termination-log"
            container["env"].append({"name": "INJECTED", "value": "1"})
            container["resources"]["requests"]["cpu"] = "0.1"
        assert find_drift(manifest, live) == ()


def test_changes_are_drift():
    for manifest in children({}):
        live = copy.deepcopy(manifest)
        del live["metadata"]["labels"][naming.ZONE_LABEL]
        assert find_drift(manifest, live)
        assert find_drift(manifest, None) == ("missing",)
    statefulset = by_key(children({}))[("StatefulSet", "zone")]
    live = copy.deepcopy(statefulset)
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    (difference,) = find_drift(statefulset, live)
    assert difference == (
        "spec.template.spec.containers[oned].image is 'other', not 'example.org/oned:1'"
    )


def test_field_that_is_wanted_no_more_is_drift():
    before = by_key(children({"endpoint": {"annotations": {"a": "b"}}}))[("Service", "zone")]
    after = by_key(children({}))[("Service", "zone")]
    assert find_drift(after, before)


def test_number_of_pods_does_not_change_the_template():
    three, five = (
        by_key(children({}, replicas=count))[("StatefulSet", "zone")] for count in (3, 5)
    )
    assert three["spec"]["template"] == five["spec"]["template"]


def test_configuration_changes_the_template():
    plain, other = (
        by_key(children({"raft": {"heartbeatMs": each}}))[("StatefulSet", "zone")]
        for each in (150, 200)
    )
    assert plain["spec"]["template"] != other["spec"]["template"]


def test_claims_of_a_running_zone_are_kept():
    live = by_key(children({"storage": {"size": "1024Mi"}}))[("StatefulSet", "zone")]
    zone = build_zone(storage={"size": "2Gi"})
    shape = Shape(UUID, replicas=3, voters=3, bootstrap="", live_stateful_set=live)
    again = by_key(build_children(zone, shape))[("StatefulSet", "zone")]
    assert again["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"]
    assert find_drift(again, live) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1000m", "1", True),
        ("1Gi", "1024Mi", True),
        ("0.5", "500m", True),
        ("1G", "1Gi", False),
        ("x", "x", False),
        ("1", "1k", False),
    ],
)
def test_quantities_are_compared_by_amount(one, other, same):
    assert are_equal(one, other) is same
