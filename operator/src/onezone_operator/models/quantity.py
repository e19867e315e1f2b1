"""Kubernetes' resource quantities: their grammar, and when two spellings are one amount."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

__all__ = ["Quantity", "amount", "are_equal"]

PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
"""What is accepted: plain numbers with an optional suffix, no signs and no exponents."""

_MATCH = re.compile(PATTERN)
_LENGTH_MAX = 32
_FACTORS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def amount(text: str) -> Decimal | None:
    """The amount in base units, None when the text is no quantity."""
    if not _MATCH.match(text):
        return None
    number = text.rstrip("".join({char for suffix in _FACTORS for char in suffix}))
    return Decimal(number) * _FACTORS[text[len(number) :]]


def are_equal(one: Any, other: Any) -> bool:
    """Whether two values are the same amount (the API server rewrites ``1000m`` to ``1``)."""
    left, right = amount(str(one)), amount(str(other))
    return left is not None and left == right


def _validate(value: Any) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if len(text) > _LENGTH_MAX or amount(text) is None:
        raise ValueError(f"{value!r} is no quantity such as 500m, 1 or 10Gi")
    return text


Quantity = Annotated[
    str,
    BeforeValidator(_validate),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": _LENGTH_MAX,
            "x-kubernetes-validations": [
                {
                    "rule": f"string(self).matches('{PATTERN}')".replace("\\", "\\\\"),
                    "message": "must be a quantity such as 500m, 1 or 10Gi",
                }
            ],
        }
    ),
]
"""A quantity as text; integers in YAML are taken too."""
