"""What OneZoneBackup and OneZoneTask have in common: something a user asks for once, of one zone.

A request is made, begun, and over; it is never begun again. Its condition Succeeded is Unknown
until it is over.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from onezone_operator.models.base import Model, Moment, Text, map_list
from onezone_operator.models.onezone import Metadata
from onezone_operator.models.status import Condition

__all__ = [
    "SUCCEEDED",
    "Request",
    "RequestMetadata",
    "RequestSpec",
    "RequestStatus",
    "ZoneReference",
]

SUCCEEDED = "Succeeded"
"""The one condition: True or False when the request is over, Unknown before."""


class RequestMetadata(Metadata):
    """A request's metadata: requests of a zone are ordered by age."""

    creation_timestamp: str = ""


class ZoneReference(Model):
    """A OneZone in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the OneZone."""


class RequestSpec(Model):
    """What is asked for."""

    zone_ref: ZoneReference
    """The zone."""


class RequestStatus(Model):
    """What became of it so far."""

    observed_generation: int = 0
    """Generation of the spec that this describes."""
    started_at: Moment | None = None
    """When it was begun."""
    completed_at: Moment | None = None
    """When it was over."""
    message: Text = ""
    """What is awaited, or what became of it, in a sentence."""
    conditions: Annotated[list[Condition], Field(json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    """Succeeded."""

    @property
    def outcome(self) -> Condition | None:
        """The condition Succeeded, None before it was first written."""
        return next((each for each in self.conditions if each.type == SUCCEEDED), None)


class Request(Model):
    """Something that is asked for once, of one zone."""

    metadata: RequestMetadata
    spec: RequestSpec
    status: RequestStatus = Field(default_factory=RequestStatus)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def zone(self) -> str:
        return self.spec.zone_ref.name

    @property
    def is_started(self) -> bool:
        return self.status.started_at is not None

    @property
    def is_finished(self) -> bool:
        outcome = self.status.outcome
        return outcome is not None and outcome.status != "Unknown"

    @property
    def has_succeeded(self) -> bool:
        outcome = self.status.outcome
        return outcome is not None and outcome.status == "True"

    @property
    def order(self) -> tuple[str, str]:
        """Requests of a zone by age; the name decides within a second."""
        return self.metadata.creation_timestamp, self.name
