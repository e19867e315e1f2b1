"""All objects of a zone together, in the order in which they must come to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onezone_operator.models.backups import BackupStorage
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.resources.configuration import build_config_map
from onezone_operator.resources.metadata import with_digest
from onezone_operator.resources.policies import build_policies
from onezone_operator.resources.servers import build_disruption_budget, build_stateful_set
from onezone_operator.resources.services import (
    build_access,
    build_any_service,
    build_leader_service,
    build_leader_slice,
    build_servers_service,
)

__all__ = ["Shape", "build_children", "build_found_config_map", "build_sized_stateful_set"]

_CLAIMS = "volumeClaimTemplates"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the objects depend on beside the spec.

    Attributes:
        zone_uuid: identity of the zone.
        replicas: pods that the StatefulSet shall have.
        voters: members whose vote counts.
        bootstrap: the server that may make the zone's database, or empty.
        address_type: IPv4 or IPv6.
        live_stateful_set: the StatefulSet as it is.
        founding: the ConfigMap's word on who founds the zone anew, or empty.
        restore_storage: where the backup is that a server begins with before it starts.
        keeps_volumes: members have no pods for a while: their volumes stay, whatever the policy is
            for those of servers that are removed.
        backup_storages: where backups of the zone are stored, or are to be.
        releases_volumes: the StatefulSet is about to be deleted, and no volume may go with it.
    """

    zone_uuid: str
    replicas: int
    voters: int
    bootstrap: str
    address_type: str = "IPv4"
    live_stateful_set: Manifest | None = None
    founding: str = ""
    restore_storage: BackupStorage | None = None
    keeps_volumes: bool = False
    backup_storages: tuple[BackupStorage, ...] = ()
    releases_volumes: bool = False

    def with_new_claims(self) -> Shape:
        """The shape of a StatefulSet that is made anew, with the claims that the spec asks for."""
        return replace(self, live_stateful_set=None, releases_volumes=False)


def build_children(zone: OneZone, shape: Shape) -> tuple[Manifest, ...]:
    """Everything but Secrets. The StatefulSet is last: its pods need all the rest."""
    children = (
        *build_access(zone),
        build_config_map(zone, bootstrap=shape.bootstrap, founding=shape.founding),
        build_leader_service(zone),
        build_any_service(zone),
        build_servers_service(zone),
        build_leader_slice(zone, address_type=shape.address_type),
        build_disruption_budget(zone, voters=shape.voters),
        *build_policies(
            zone,
            backup_storages=shape.backup_storages,
            restore_storage=shape.restore_storage,
        ),
    )
    return (*(with_digest(each) for each in children), build_sized_stateful_set(zone, shape))


def build_found_config_map(zone: OneZone, shape: Shape) -> Manifest:
    """The ConfigMap alone, with its hash."""
    return with_digest(build_config_map(zone, bootstrap=shape.bootstrap, founding=shape.founding))


def build_sized_stateful_set(zone: OneZone, shape: Shape) -> Manifest:
    """The StatefulSet alone, with its hash."""
    manifest = build_stateful_set(
        zone,
        replicas=shape.replicas,
        zone_uuid=shape.zone_uuid,
        live=shape.live_stateful_set,
        keeps_volumes=shape.keeps_volumes,
        releases_volumes=shape.releases_volumes,
        restore_storage=shape.restore_storage,
    )
    # Claims are taken over as the API server spells them, which is no change of the operator's.
    hashed = {key: value for key, value in manifest["spec"].items() if key != _CLAIMS}
    return with_digest(manifest, of={**manifest, "spec": hashed})
