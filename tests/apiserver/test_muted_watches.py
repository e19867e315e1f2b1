"""Watches over connections that died without a word: what is written is heard of all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from muting import Muted

from benchmarks.scale.lab import Lab
from onezone_operator import naming
from onezone_operator.errors import Unavailable
from onezone_operator.kube import WATCHED, CachedKube, Informers, KubeReader, Store
from onezone_operator.kube.cache import CATCH_UP_SECONDS

NAMESPACE = "muted"


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> str:
    lab.api.make_namespace(NAMESPACE)
    return NAMESPACE


def over(login: Path, url: str, port: int) -> Path:
    """The same login, over another port."""
    path = login.with_name(f"muted-{port}")
    path.write_text(login.read_text().replace(url, f"https://127.0.0.1:{port}"))
    return path


def labelled(value: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": NAMESPACE, "labels": {naming.ZONE_LABEL: "zone"}},
        "data": {"value": value},
    }


@pytest.mark.timeout(120)
async def test_watches_that_heard_nothing_are_begun_anew(lab: Lab, namespace: str):
    login = lab.api.kubeconfig("muted", groups=("system:masters",))
    port = urlsplit(lab.api.url).port
    assert port
    store = Store(WATCHED, (namespace,))
    async with (
        Muted(port).serve() as way,
        KubeReader(request_seconds=5, kubeconfig=login) as direct,
        KubeReader(request_seconds=5, kubeconfig=over(login, lab.api.url, way.port)) as watching,
        Informers(watching, store) as informers,
    ):
        await store.wait_until_listed()
        kube = CachedKube(direct, store, is_fresh=informers.is_fresh, doubt=informers.doubt)

        async def value() -> str:
            return str((await kube.get("ConfigMap", namespace, "one"))["data"]["value"])

        await kube.apply(labelled("first"), manager="test")
        assert await value() == "first"
        way.mute()
        await kube.apply(labelled("second"), manager="test")
        with pytest.raises(Unavailable, match="is behind"):
            await value()
        place = ("ConfigMap", namespace)
        assert await store.wait_until(
            *place,
            lambda: store.get(*place, "one")["data"]["value"] == "second",
            2 * CATCH_UP_SECONDS,
        )
        assert await value() == "second"
