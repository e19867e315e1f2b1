"""What a call that arrives late may do: the API server's word, which the operator relies on."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from benchmarks.scale.lab import Lab
from onezone_operator.errors import FactsChanged, NotFound
from onezone_operator.kube import KubeClient, KubeReader
from onezone_operator.kube.apply import apply_objects

NAMESPACE = "conditional"
LABELS = {"app": "late"}
SETTLED_SECONDS = 20


def stateful_set() -> dict[str, Any]:
    pod = {"containers": [{"name": "one", "image": "example.org/none:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "late", "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "serviceName": "late",
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }


def config_map() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "late", "namespace": NAMESPACE},
        "data": {"founder": "zone-0"},
    }


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> str:
    lab.api.make_namespace(NAMESPACE)
    return NAMESPACE


@pytest.fixture
async def kube(lab: Lab, namespace: str) -> AsyncIterator[KubeClient]:
    login = lab.api.kubeconfig("late", groups=("system:masters",))
    async with KubeReader(request_seconds=10, kubeconfig=login) as client:
        yield client


async def settled(kube: KubeClient, kind: str) -> dict[str, Any]:
    """The object, as soon as its controller has nothing more to say of it."""
    async with asyncio.timeout(SETTLED_SECONDS):
        while True:
            live = await kube.get(kind, NAMESPACE, "late")
            generation = live["metadata"].get("generation")
            if live.get("status", {}).get("observedGeneration") == generation:
                return live
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("manifest", [stateful_set(), config_map()], ids=lambda each: each["kind"])
async def test_late_writes_change_nothing(kube: KubeClient, manifest: dict[str, Any]):
    kind, key = manifest["kind"], (manifest["kind"], "late")
    await apply_objects(kube, (manifest,), seen={})
    made = await settled(kube, kind)
    with pytest.raises(FactsChanged):
        await apply_objects(kube, (manifest,), seen={})
    changed = copy.deepcopy(manifest)
    changed["metadata"]["annotations"] = {"example.org/changed": "yes"}
    await apply_objects(kube, (changed,), seen={key: made})
    live = await settled(kube, kind)
    assert live["metadata"]["annotations"] == {"example.org/changed": "yes"}
    with pytest.raises(FactsChanged):
        await apply_objects(kube, (manifest,), seen={key: made})
    with pytest.raises(FactsChanged):
        await apply_objects(kube, (manifest,), seen={})
    assert await kube.get(kind, NAMESPACE, "late") == live
    await kube.delete(kind, NAMESPACE, "late", uid=live["metadata"]["uid"])
    with pytest.raises(FactsChanged):
        await apply_objects(kube, (manifest,), seen={key: live})
    with pytest.raises(NotFound):
        await kube.get(kind, NAMESPACE, "late")
