"""Every pod is admitted where the strictest standard is enforced; a weaker one is not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import rendering
import yaml

from benchmarks.processes import BenchmarkError
from benchmarks.scale.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
NAMESPACE = "restricted"


CHART_PODS = ("helm test", "operator")


def chart_pods() -> dict[str, Any]:
    objects = rendering.render("here", NAMESPACE)
    pod = next(each for each in objects if each["kind"] == "Pod")
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    return dict(zip(CHART_PODS, (pod, deployment["spec"]["template"]), strict=True))


def operator_pods() -> dict[str, Any]:
    """Templates of the operator's own making: of everything in the golden files that has one."""
    pods = {}
    for path in sorted((ROOT / "operator" / "tests" / "data").glob("children-*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            for manifest in each if isinstance(each, list) else [each]:
                template = (manifest or {}).get("spec", {}).get("template")
                if template:
                    pods[f"{path.stem} {manifest['kind']}"] = template
    assert pods
    return pods


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> str:
    lab.api.make_namespace(NAMESPACE, LABELS)
    return NAMESPACE


def attempt(lab: Lab, template: Any) -> None:
    """Create the pod as a dry run: it is judged as if it were meant."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "generateName": "pod-"},
        "spec": {**template["spec"]},
    }
    pod["metadata"] = {
        key: value
        for key, value in pod["metadata"].items()
        if key in {"labels", "annotations", "generateName"}
    }
    name = pod["spec"].get("serviceAccountName", "default")
    account = {
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    lab.api.apply(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}", account)
    pod["spec"].pop("priorityClassName", None)
    # What a StatefulSet adds.
    claimed = {"name": "data", "emptyDir": {}}
    if all(each["name"] != "data" for each in pod["spec"].get("volumes", [])):
        pod["spec"]["volumes"] = [*pod["spec"].get("volumes", []), claimed]
    lab.api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)


@pytest.mark.parametrize("name", [*CHART_PODS, *operator_pods()])
def test_pods_are_admitted(lab: Lab, namespace: str, name: str):
    template = (chart_pods() if name in CHART_PODS else operator_pods())[name]
    attempt(lab, template)
    weaker = copy.deepcopy(template)
    weaker["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(BenchmarkError, match="violates PodSecurity"):
        attempt(lab, weaker)
