"""The CRDs, from their models: structural, with rules, columns and subresources.

Pure. ``crds/`` holds the outcome, and a test fails when the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import yaml
from pydantic import BaseModel

from onezone_operator import naming
from onezone_operator.models.onezone import OneZone, OneZoneSpec
from onezone_operator.models.onezonebackup import (
    OneZoneBackup,
    OneZoneBackupSpec,
    OneZoneBackupStatus,
)
from onezone_operator.models.onezonetask import OneZoneTask, OneZoneTaskSpec, OneZoneTaskStatus
from onezone_operator.models.status import OneZoneStatus

__all__ = [
    "BACKUP",
    "DEFINITIONS",
    "FILE_NAME",
    "ONEZONE",
    "TASK",
    "Definition",
    "build_crd",
    "render_crd",
]

_Columns = tuple[tuple[str, str, str, int], ...]

_HEADER = "# Generated from the models of onezone-operator: change those, then `make crds`.\n"

_KEPT = frozenset(
    {
        "type",
        "format",
        "description",
        "default",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "maxItems",
        "maxProperties",
        "pattern",
        "required",
        "nullable",
        "anyOf",
    }
)
"""Keywords of JSON schema that a structural schema may hold as they are."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind of resource.

    Attributes:
        about: the model whose docstring describes it.
        columns: what ``kubectl get`` shows: name, type, path, and 1 for ``-o wide`` only.
        rules: on the whole object, beside those in its spec's model.
        scale: the scale subresource, None without.
    """

    kind: str
    plural: str
    singular: str
    short_name: str
    about: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: _Columns
    rules: tuple[tuple[str, str], ...] = ()
    scale: dict[str, str] | None = None

    @property
    def file_name(self) -> str:
        return f"{self.plural}.{naming.GROUP}.yaml"


ONEZONE = Definition(
    kind=naming.KIND,
    plural=naming.PLURAL,
    singular=naming.SINGULAR,
    short_name=naming.SHORT_NAME,
    about=OneZone,
    spec=OneZoneSpec,
    status=OneZoneStatus,
    columns=(
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
        ("Servers", "string", ".status.readyServers", 0),
        ("Leader", "string", ".status.leader", 0),
        ("Term", "integer", ".status.term", 0),
        ("Health", "string", ".status.diagnosis.health", 0),
        ("Status", "string", ".status.plan.message", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Desired", "integer", ".spec.replicas", 1),
        ("Endpoint", "string", ".status.endpoint", 1),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
    ),
    rules=(
        (
            f"size(self.metadata.name) <= {naming.NAME_MAX}",
            (
                f"metadata.name may have {naming.NAME_MAX} characters at most: "
                "names of pods and volumes are made from it"
            ),
        ),
        (
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            (
                "metadata.name must begin with a letter and hold only a-z, 0-9 and -: "
                "it is the name of a Service"
            ),
        ),
    ),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

TASK = Definition(
    kind=naming.TASK_KIND,
    plural=naming.TASK_PLURAL,
    singular=naming.TASK_SINGULAR,
    short_name=naming.TASK_SHORT_NAME,
    about=OneZoneTask,
    spec=OneZoneTaskSpec,
    status=OneZoneTaskStatus,
    columns=(
        ("Zone", "string", ".spec.zoneRef.name", 0),
        ("Type", "string", ".spec.type", 0),
        ("Server", "string", ".spec.server", 0),
        ("Succeeded", "string", '.status.conditions[?(@.type=="Succeeded")].status', 0),
        ("Status", "string", ".status.message", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Confirmed", "boolean", ".spec.confirm", 1),
    ),
)

BACKUP = Definition(
    kind=naming.BACKUP_KIND,
    plural=naming.BACKUP_PLURAL,
    singular=naming.BACKUP_SINGULAR,
    short_name=naming.BACKUP_SHORT_NAME,
    about=OneZoneBackup,
    spec=OneZoneBackupSpec,
    status=OneZoneBackupStatus,
    columns=(
        ("Zone", "string", ".spec.zoneRef.name", 0),
        ("Succeeded", "string", '.status.conditions[?(@.type=="Succeeded")].status', 0),
        ("Verified", "boolean", ".status.verified", 0),
        ("Size", "integer", ".status.size", 0),
        ("Server", "string", ".status.server", 0),
        ("Age", "date", ".metadata.creationTimestamp", 0),
        ("Location", "string", ".status.location", 1),
        ("Status", "string", ".status.message", 1),
    ),
    rules=(
        (
            f"size(self.metadata.name) <= {naming.BACKUP_NAME_MAX}",
            (
                f"metadata.name may have {naming.BACKUP_NAME_MAX} characters at most: "
                "names of Jobs are made from it"
            ),
        ),
    ),
)

DEFINITIONS = (ONEZONE, BACKUP, TASK)
FILE_NAME = ONEZONE.file_name


def build_crd(definition: Definition = ONEZONE) -> dict[str, Any]:
    """The CustomResourceDefinition."""
    schema: dict[str, Any] = {
        "description": _one_line(definition.about.__doc__ or ""),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _with_default(_schema(definition.spec)),
            "status": _without_defaults(_schema(definition.status)),
        },
    }
    if schema["properties"]["spec"].get("required"):
        # What a spec must have, no default can give it: the object must have a spec.
        schema["properties"]["spec"].pop("default", None)
        schema["required"] = ["spec"]
    if definition.rules:
        schema["x-kubernetes-validations"] = [
            {"rule": rule, "message": text} for rule, text in definition.rules
        ]
    scale = {} if definition.scale is None else {"scale": definition.scale}
    version = {
        "name": naming.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, **scale},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path}
            | ({"priority": priority} if priority else {})
            for name, kind, path, priority in definition.columns
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{naming.GROUP}"},
        "spec": {
            "group": naming.GROUP,
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.singular,
                "shortNames": [definition.short_name],
                "categories": [naming.CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def render_crd(definition: Definition = ONEZONE) -> str:
    """The CRD as the text that ``crds/`` holds."""
    return _HEADER + yaml.dump(
        build_crd(definition), Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )


class _Dumper(yaml.SafeDumper):
    """Spells every value out: anchors would make the file unreadable."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(raw, cast("dict[str, Any]", raw.get("$defs", {})))


def _structural(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Inline what is referred to, unwrap what is optional, and drop what Kubernetes refuses."""
    node = _resolve(node, defs)
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in _KEPT or key.startswith("x-kubernetes-"):
            result[key] = _one_line(value) if key == "description" else value
    if "const" in node:
        result["enum"] = [node["const"]]
    if "properties" in node:
        result["properties"] = {
            name: _property(value, defs) for name, value in node["properties"].items()
        }
    if "items" in node:
        result["items"] = _structural(node["items"], defs)
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(node["additionalProperties"], defs)
    if result.get("default", ...) is None:
        del result["default"]
    return result


def _property(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    result = _structural(node, defs)
    is_optional = any(each.get("type") == "null" for each in node.get("anyOf", ()))
    if result.get("type") != "object" or is_optional or result.get("required"):
        return result
    return _with_default(result)


def _with_default(schema: dict[str, Any]) -> dict[str, Any]:
    """An object that is complete without input is made by the API server, so that rules and
    readers find its defaults there. Rules see a default as it is written: it must be whole.
    """
    properties = schema.get("properties", {})
    default = {name: value["default"] for name, value in properties.items() if "default" in value}
    return {**schema, "default": default} if default else schema


def _resolve(node: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = _resolve(defs[node["$ref"].rpartition("/")[2]], defs)
        return {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    branches = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
    if len(branches) == 1:
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return {**_resolve(branches[0], defs), **rest}
    return node


def _without_defaults(node: Any) -> Any:
    """A status is written whole by the operator: the API server shall add nothing to it."""
    if isinstance(node, dict):
        return {key: _without_defaults(value) for key, value in node.items() if key != "default"}
    return node


def _one_line(text: str) -> str:
    return " ".join(text.split())
