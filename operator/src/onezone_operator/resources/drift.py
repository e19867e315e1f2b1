"""Why an object differs from what it shall be.

An object is right when everything in its desired manifest is there (others may add to it) and it
was last applied from that same manifest (what is desired no more shows only in the hash).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from onezone_operator import naming
from onezone_operator.models.observed import Manifest
from onezone_operator.models.onezone import OneZone
from onezone_operator.models.quantity import are_equal
from onezone_operator.resources.children import Shape, build_sized_stateful_set

__all__ = ["find_drift", "template_difference"]

_IDENTITY = frozenset({"apiVersion", "kind"})


def find_drift(desired: Manifest, live: Manifest | None) -> tuple[str, ...]:
    """What differs, as paths with both values; empty when nothing does."""
    if live is None:
        return ("missing",)
    wanted = {key: value for key, value in desired.items() if key not in _IDENTITY}
    return tuple(_differences(wanted, live, ""))


def template_difference(zone: OneZone, live: Manifest) -> str | None:
    """The first thing that the spec wants of the StatefulSet and that is not written there.

    The number of pods does not count, nor do claims, nor that volumes are kept for a while: these
    are other matters.
    """
    shape = Shape(
        zone_uuid="",
        replicas=live["spec"].get("replicas", 1),
        voters=1,
        bootstrap="",
        live_stateful_set=live,
    )
    drifts = [
        find_drift(
            build_sized_stateful_set(
                zone, replace(shape, keeps_volumes=keeps, releases_volumes=releases)
            ),
            live,
        )
        for keeps in (False, True)
        for releases in (False, True)
    ]
    if not all(drifts):
        return None
    # The hash differs too, and tells a reader nothing.
    telling = [each for each in drifts[0] if naming.DESIRED_ANNOTATION not in each]
    return [*telling, *drifts[0]][0]


def _differences(desired: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            if desired:
                yield f"{path} is missing"
            return
        for key, value in desired.items():
            yield from _differences(value, live.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(desired, list):
        yield from _list_differences(desired, live or [], path)
    elif not _is_same(desired, live):
        yield f"{path} is {live!r}, not {desired!r}"


def _list_differences(desired: list[Any], live: Any, path: str) -> Iterator[str]:
    if not isinstance(live, list):
        yield f"{path} is no list"
        return
    if desired and all(isinstance(each, dict) and "name" in each for each in desired):
        # Lists of named things may get additions from others, such as an injected variable.
        named = {each.get("name"): each for each in live if isinstance(each, dict)}
        for each in desired:
            yield from _differences(each, named.get(each["name"]), f"{path}[{each['name']}]")
        return
    if len(desired) != len(live):
        yield f"{path} has {len(live)} items, not {len(desired)}"
        return
    for index, (one, other) in enumerate(zip(desired, live, strict=True)):
        yield from _differences(one, other, f"{path}[{index}]")


def _is_same(desired: Any, live: Any) -> bool:
    if desired == live and isinstance(desired, bool) == isinstance(live, bool):
        return True
    if live is None:
        # The API server leaves out what is empty.
        return desired in ("", 0, False)
    return isinstance(desired, str) and isinstance(live, str) and are_equal(desired, live)
