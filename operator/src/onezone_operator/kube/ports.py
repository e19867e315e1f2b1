"""What the operator needs of the Kubernetes API, and the kinds that it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from onezone_operator import naming
from onezone_operator.models.observed import Manifest

__all__ = ["KINDS", "KubeApi", "Resource"]


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API."""

    api_version: str
    plural: str

    def path(
        self, namespace: str | None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """URL path of the collection (of all namespaces if None), an object or its subresource."""
        root = "/api" if "/" not in self.api_version else "/apis"
        place = [] if namespace is None else ["namespaces", namespace]
        parts = [root, self.api_version, *place, self.plural]
        return "/".join([*parts, *(part for part in (name, subresource) if part)])


KINDS = {
    naming.KIND: Resource(naming.API_VERSION, naming.PLURAL),
    naming.CERTIFICATE_KIND: Resource(naming.CERTIFICATE_API_VERSION, "certificates"),
    naming.TASK_KIND: Resource(naming.API_VERSION, naming.TASK_PLURAL),
    naming.BACKUP_KIND: Resource(naming.API_VERSION, naming.BACKUP_PLURAL),
    "ConfigMap": Resource("v1", "configmaps"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "Event": Resource("v1", "events"),
    "Job": Resource("batch/v1", "jobs"),
    "Lease": Resource("coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": Resource("v1", "persistentvolumeclaims"),
    "Pod": Resource("v1", "pods"),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets"),
    "Role": Resource("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Resource("rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Resource("v1", "secrets"),
    "Service": Resource("v1", "services"),
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "StatefulSet": Resource("apps/v1", "statefulsets"),
}


class KubeApi(Protocol):
    """Six verbs on namespaced objects. Each call has a deadline and raises ``KubeError`` kinds."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """One object; ``NotFound`` if there is none."""
        ...

    async def list_objects(self, kind: str, namespace: str, *, selector: str) -> list[Manifest]:
        """Objects with these labels; an empty selector is all of the namespace."""
        ...

    async def apply(self, manifest: Manifest, *, manager: str) -> Manifest:
        """Server-side apply; fields that others own are taken over.

        With a uid or a version in its metadata it is a ``Conflict`` unless the object has them.
        But what is not there is made, whatever the version; not with a uid.
        """
        ...

    async def create(self, manifest: Manifest, *, manager: str) -> Manifest:
        """A new object; ``Conflict`` if the name is taken."""
        ...

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: dict[str, Any],
        *,
        manager: str,
        subresource: str | None = None,
    ) -> Manifest:
        """JSON merge patch. With ``metadata.resourceVersion`` in it, ``Conflict`` if the object
        has changed since.
        """
        ...

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        version: str | None = None,
        orphans: bool = False,
    ) -> None:
        """Delete exactly this object: another one of the name, or version, is ``Conflict``.

        With ``orphans`` what it owns stays, without an owner.
        """
        ...
