"""The operator's account and roles as the chart renders them, and what was asked for under them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from benchmarks.scale.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "onezone-operator"
LAB_HELM = Path.home() / ".cache" / "kindlab" / "bin" / "helm"
HELM = shutil.which("helm") or (str(LAB_HELM) if LAB_HELM.exists() else None)
SYSTEM = "onezone-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"}


def render(release: str, namespaces: list[str]) -> list[dict[str, Any]]:
    command = [str(HELM), "template", release, str(CHART), "-n", SYSTEM, "--kube-version", "1.35"]
    command += [word for each in namespaces for word in ("--set", f"watchNamespaces={{{each}}}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)
    return [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] in KINDS]


def install(lab: Lab, objects: list[dict[str, Any]]) -> str:
    """Apply accounts and roles as they are; the account's name."""
    account = ""
    for each in objects:
        plural = each["kind"].lower() + "s"
        metadata = each["metadata"]
        if each["kind"] == "ServiceAccount":
            account = metadata["name"]
            path = f"/api/v1/namespaces/{SYSTEM}/{plural}/{account}"
        elif each["kind"].startswith("Cluster"):
            path = f"{RBAC}/{plural}/{metadata['name']}"
        else:
            namespace = metadata.setdefault("namespace", SYSTEM)
            path = f"{RBAC}/namespaces/{namespace}/{plural}/{metadata['name']}"
        lab.api.apply(path, each)
    return account


def granted(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {
        (resource, verb)
        for each in objects
        for rule in each.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used_by(lab: Lab, user: str) -> tuple[set[tuple[str, str]], set[tuple[str, str, str | None]]]:
    """What a user asked for, and what of it was refused."""
    used: set[tuple[str, str]] = set()
    refused: set[tuple[str, str, str | None]] = set()
    for event in lab.api.requests(user):
        reference = event.get("objectRef") or {}
        if "resource" not in reference:
            continue  # what there is to ask for at all, which every user may know
        resource = reference["resource"]
        if "subresource" in reference:
            resource += f"/{reference['subresource']}"
        asked = (resource, event["verb"])
        code = event["responseStatus"]["code"]
        if event["verb"] == "patch" and code == 201:
            # To apply what is not there takes the verb create as well.
            used.add((resource, "create"))
        if code == 403:
            refused.add((*asked, reference.get("namespace")))
        used.add(asked)
    return used, refused
