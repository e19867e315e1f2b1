"""Bad input gets a clear error from the API server, and changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import lab
import onezones
import pytest

BAD = {
    "even number of servers": ({"replicas": 4}, "replicas must be odd"),
    "no servers": ({"replicas": 0}, "spec.replicas"),
    "too many servers": ({"replicas": 99}, "spec.replicas"),
    "unknown database": ({"database": {"backend": "oracle"}}, "supported values"),
    "negative port": ({"endpoint": {"type": "NodePort", "nodePort": -1}}, "spec.endpoint.nodePort"),
    "port of no use": ({"endpoint": {"type": "ClusterIP", "nodePort": 32000}}, "endpoint.nodePort"),
    "quantity that is none": ({"storage": {"size": "much"}}, "must be a quantity"),
    "negative quantity": ({"resources": {"requests": {"cpu": "-1"}}}, "must be a quantity"),
    "unknown endpoint": ({"endpoint": {"type": "Magic"}}, "supported values"),
    "nervous elections": ({"raft": {"electionTimeoutMs": 300, "heartbeatMs": 200}}, "three times"),
    "unknown field": ({"replicsa": 3}, "unknown field"),
}


def merged(spec: dict[str, Any]) -> dict[str, Any]:
    """The example with a part of its spec replaced."""
    manifest = copy.deepcopy(onezones.example("three-servers"))
    del manifest["spec"]["endpoint"]
    manifest["spec"] |= spec
    return manifest


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_refused_at_creation(zone: onezones.Zone, spec: dict[str, Any], message: str) -> None:
    """The user is told which field and what is allowed, and there is no OneZone afterwards."""
    manifest = merged(spec)
    manifest["metadata"] = {"name": "refused", "namespace": zone.namespace}
    assert message in lab.refused(manifest)
    names = lab.kubectl("-n", zone.namespace, "get", "onezones", "-o", "name").split()
    assert names == [f"onezone.onezone.dev/{zone.name}"]


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_refused_as_a_change(zone: onezones.Zone, spec: dict[str, Any], message: str) -> None:
    """A running zone stays as it is."""
    before = zone.get()
    manifest = merged(spec)
    manifest["metadata"]["namespace"] = zone.namespace
    assert message in lab.refused(manifest)
    after = zone.get()
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
