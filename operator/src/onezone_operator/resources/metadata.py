"""Metadata that every object of a zone has, and the hash that tells what was applied."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from onezone_operator import naming
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone

__all__ = ["build_metadata", "build_owner", "digest", "is_foreign", "with_digest"]


def build_owner(zone: OneZone) -> dict[str, Any]:
    """The reference by which the garbage collector takes children away with their zone."""
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "name": zone.name,
        "uid": zone.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_metadata(
    zone: OneZone, name: str, *, annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """Name, labels and owner of an object of the zone."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": zone.namespace,
        "labels": naming.object_labels(zone.name),
        "ownerReferences": [build_owner(zone)],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata


def digest(value: Any) -> str:
    """A short hash of JSON data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_digest(manifest: Manifest, *, of: Manifest | None = None) -> Manifest:
    """The manifest with a hash as an annotation: its own, or the one of another manifest."""
    metadata = manifest["metadata"]
    annotations = {
        **metadata.get("annotations", {}),
        naming.DESIRED_ANNOTATION: digest(manifest if of is None else of),
    }
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def is_foreign(zone: OneZone, live: Manifest) -> bool:
    """Whether an object under one of the zone's names belongs to something else.

    An object without an owner but with the zone's label was kept from an earlier OneZone of the
    same name. One with another owner, be it that earlier OneZone, must not be touched.
    """
    metadata = live.get("metadata", {})
    owners = metadata.get("ownerReferences") or []
    if owners:
        return all(owner.get("uid") != zone.metadata.uid for owner in owners)
    return bool((metadata.get("labels") or {}).get(naming.ZONE_LABEL) != zone.name)
