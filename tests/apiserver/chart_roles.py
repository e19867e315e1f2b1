"""The operator's account and roles as the chart renders them, and what was asked for under them."""

from __future__ import annotations

from typing import Any

import rendering

from benchmarks.scale.lab import Lab

SYSTEM = "onezone-system"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount"}


def render(release: str, namespaces: list[str]) -> list[dict[str, Any]]:
    settings = [f"watchNamespaces={{{each}}}" for each in namespaces]
    found = rendering.render(release, SYSTEM, *settings)
    return [each for each in found if each["kind"] in KINDS]


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
