"""Facts for tests: a healthy zone of some servers, and what it takes to change one thing of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from onezone_operator.models.observed import (
    Member,
    ObservedAuthority,
    ObservedPeers,
    ObservedPod,
    ObservedRoute,
    ObservedStatefulSet,
    ObservedZone,
    ServerReport,
)
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.children import Shape, build_children

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UUID = "7e1f2f5c-5a3f-4a0a-9c3e-0d8a5a0f3b11"


def build_zone(*, status: dict[str, Any] | None = None, **spec: Any) -> OneZone:
    return OneZone.model_validate(
        {
            "metadata": {
                "name": "zone",
                "namespace": "front",
                "uid": "uid-zone",
                "generation": 3,
                "resourceVersion": "7",
            },
            "spec": {"image": "example.org/oned:1", **spec},
            "status": {"bootstrapped": True, "zoneUUID": UUID, **(status or {})},
        }
    )


def build_pod(ordinal: int, **changes: Any) -> ObservedPod:
    pod = ObservedPod(
        name=f"zone-{ordinal}",
        uid=f"uid-{ordinal}",
        ready=True,
        created=NOW - timedelta(hours=1),
        node=f"node-{ordinal}",
        address=f"10.0.0.{ordinal}",
        revision="new",
    )
    return replace(pod, **changes)


def build_reports(
    servers: int = 3,
    *,
    leader: int | None = 0,
    term: int = 4,
    silent: tuple[int, ...] = (),
    learners: tuple[int, ...] = (),
    settled: bool = True,
) -> dict[str, ServerReport]:
    """What the servers say; a silent one is not heard by the leader either."""
    reports = {}
    for ordinal in range(servers):
        if ordinal in silent:
            continue
        leads = ordinal == leader
        reports[f"zone-{ordinal}"] = ServerReport(
            name=f"zone-{ordinal}",
            zone_uuid=UUID,
            server_id=ordinal,
            state="leader" if leads else "follower",
            term=term,
            leader_id=-1 if leader is None else leader,
            commit=100,
            serving=leads,
            initialised=True,
            configuration_committed=settled,
            members=tuple(
                Member(
                    id=each,
                    name=f"zone-{each}",
                    endpoint=f"http://zone-{each}/RPC2",
                    voter=each not in learners,
                    lag=(5000 if each in learners else 0) if leads else None,
                    last_contact_seconds=(90.0 if each in silent else 0.1) if leads else None,
                )
                for each in range(servers)
            ),
        )
    return reports


def build_observed(zone: OneZone, servers: int = 3, **changes: Any) -> ObservedZone:
    """A zone where all objects are as they shall be."""
    reports = changes.pop("reports", None)
    if reports is None:
        reports = build_reports(servers)
    voters = [each for report in reports.values() for each in report.members if each.voter]
    shape = Shape(
        zone_uuid=UUID,
        replicas=servers,
        voters=len({each.name for each in voters}) or servers,
        bootstrap="",
    )
    objects = {
        (each["kind"], each["metadata"]["name"]): each for each in build_children(zone, shape)
    }
    owners = objects[("Service", "zone")]["metadata"]["ownerReferences"]
    labels = objects[("Service", "zone")]["metadata"]["labels"]
    objects[("Secret", "zone-auth")] = {
        "kind": "Secret",
        "metadata": {"name": "zone-auth", "labels": labels, "ownerReferences": []},
    }
    assert owners
    observed = ObservedZone(
        objects=objects,
        authority=ObservedAuthority(UUID, True, "fingerprint"),
        has_credentials=True,
        certificates={f"zone-{each}": NOW + timedelta(days=700) for each in range(9)},
        peers=ObservedPeers(
            trusted=("fingerprint",),
            fingerprints={f"zone-{each}": f"leaf-{each}" for each in range(servers)},
            servers=frozenset(f"zone-{each}" for each in range(servers)),
        ),
        statefulset=ObservedStatefulSet(servers, "new", True),
        pods=tuple(build_pod(each) for each in range(servers)),
        route=ObservedRoute(("10.0.0.0",), "zone-0", 4),
        reports=reports,
    )
    return replace(observed, **changes)
