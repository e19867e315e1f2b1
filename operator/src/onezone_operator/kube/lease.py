"""The operator's Lease: read, taken, renewed, given back. ``reconcile.leadership`` decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from onezone_operator import naming
from onezone_operator.errors import NotFound
from onezone_operator.kube.client import KubeClient
from onezone_operator.models.lease import LEASE_SECONDS, LeaseFacts
from onezone_operator.models.observed import Manifest

__all__ = ["LeaseClient"]

_KIND = "Lease"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LeaseClient:
    """One Lease."""

    client: KubeClient
    namespace: str
    name: str
    identity: str
    now: Callable[[], datetime] = _now

    async def read(self) -> LeaseFacts | None:
        """The Lease, None if there is none."""
        try:
            return _facts(await self.client.get(_KIND, self.namespace, self.name))
        except NotFound:
            return None

    async def create(self) -> LeaseFacts:
        """Make the Lease, and hold it.

        Raises:
            Conflict: somebody else made it.
        """
        metadata = {"namespace": self.namespace, "name": self.name}
        spec = {**self._held(), "acquireTime": self._moment(), "leaseTransitions": 0}
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": _KIND,
            "metadata": metadata,
            "spec": spec,
        }
        return _facts(await self.client.create(manifest, manager=naming.FIELD_MANAGER))

    async def acquire(self, seen: LeaseFacts, transitions: int) -> LeaseFacts:
        """Take a Lease that was seen.

        Raises:
            Conflict: it was written meanwhile.
        """
        spec = {**self._held(), "acquireTime": self._moment(), "leaseTransitions": transitions}
        return await self._patch(seen, spec)

    async def renew(self, seen: LeaseFacts) -> LeaseFacts:
        """Write it again.

        Raises:
            Conflict: somebody else wrote it.
        """
        return await self._patch(seen, {"renewTime": self._moment()})

    async def release(self, seen: LeaseFacts) -> None:
        """Give it back."""
        await self._patch(seen, {"holderIdentity": "", "renewTime": self._moment()})

    async def wait_until_changed(self, seen: LeaseFacts) -> None:
        """Return when somebody writes it, or when the watch ends; to be cut off by a timeout."""
        query = [("fieldSelector", f"metadata.name={self.name}")]
        events = self.client.watch(
            _KIND, self.namespace, query, version=seen.version, seconds=LEASE_SECONDS
        )
        async for event in events:
            if event["type"] != "BOOKMARK":
                return

    async def _patch(self, seen: LeaseFacts, spec: dict[str, Any]) -> LeaseFacts:
        change = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
        return _facts(
            await self.client.patch(
                _KIND, self.namespace, self.name, change, manager=naming.FIELD_MANAGER
            )
        )

    def _held(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "renewTime": self._moment(),
        }

    def _moment(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _facts(lease: Manifest) -> LeaseFacts:
    spec = lease.get("spec") or {}
    return LeaseFacts(
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or LEASE_SECONDS),
        version=lease["metadata"]["resourceVersion"],
        transitions=int(spec.get("leaseTransitions") or 0),
    )
