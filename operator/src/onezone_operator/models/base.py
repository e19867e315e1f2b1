"""What all models of resources have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = ["Model", "Moment", "Name", "Text", "map_list", "rules", "unchanged"]

Name = Annotated[str, Field(max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Model(BaseModel):
    """A part of a resource, in Kubernetes' spelling."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
    )


def rules(*given: tuple[str, str]) -> dict[str, Any]:
    """CEL rules, each with the message that a user gets."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": text} for rule, text in given]}


def unchanged(advice: str, *names: str) -> tuple[tuple[str, str], ...]:
    """Rules that hold these fields as they were when the object was made."""
    return tuple(
        (
            (
                f"has(self.{name}) == has(oldSelf.{name})"
                f" && (!has(self.{name}) || self.{name} == oldSelf.{name})"
            ),
            f"{name} cannot be changed: {advice}",
        )
        for name in names
    )


def map_list(key: str) -> dict[str, Any]:
    """A list whose items are told apart by a key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
