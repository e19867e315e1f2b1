"""Settings of the operator, from the environment (``ONEZONE_…``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from onezone_operator import naming

__all__ = ["Settings"]


class Settings(BaseSettings):
    """What the operator's Deployment decides; everything about one zone is in its OneZone."""

    model_config = SettingsConfigDict(
        env_prefix="ONEZONE_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    oned_image: str = "onezone/oned:0.1.0"
    """Image of a zone that names none."""

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to serve, separated by commas. Empty: all of them, which takes a ClusterRole."""

    address_type: Literal["IPv4", "IPv6"] = "IPv4"
    """Family of the pods' addresses, which the leader's EndpointSlice must name."""

    steady_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0
    """Time between two passes of a zone where nothing is to be done. The servers' state is not
    something that can be watched, so this bounds how late the operator sees a change of it."""

    progress_seconds: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Time between two passes while a step waits for something."""

    backoff_max_seconds: Annotated[float, Field(ge=1, le=300)] = 15.0
    """Longest time between two passes after errors."""

    request_seconds: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Deadline of one call to the API server."""

    status_seconds: Annotated[float, Field(ge=0.2, le=10)] = 2.0
    """Deadline of one server's /status: asked of all servers at once."""

    zone_seconds: Annotated[float, Field(ge=1, le=60)] = 10.0
    """Deadline of one XML-RPC call; a leader that hands over first needs an election's time."""

    concurrent_passes: Annotated[int, Field(ge=1, le=256)] = 16
    """Zones that are worked on at the same time."""

    lease_namespace: str = ""
    """Namespace of the Lease that says which of several operators is at work: the operator's own.
    Empty: there is no Lease, and no second operator may run."""

    lease_name: Annotated[str, Field(min_length=1, max_length=253)] = naming.OPERATOR
    """Name of the Lease."""

    probe_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """``/healthz`` of the operator."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """``/metrics`` of the operator; 0 turns it off."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
