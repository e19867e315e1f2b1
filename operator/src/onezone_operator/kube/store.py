"""What the API server was last heard to say: objects by kind, and how far each kind is known.

Bounded by what is watched: objects with a zone's label, and the kinds that people write for the
operator. No I/O here; ``kube.informer`` fills it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from onezone_operator import naming
from onezone_operator.models.observed import Manifest

__all__ = ["Store", "version_of"]

Place = tuple[str, str | None]
"""A kind, and the namespace that is watched: None for all."""


def version_of(manifest: Manifest) -> int:
    """An object's version. Those of one kind grow with time, which Kubernetes promises."""
    text = manifest["metadata"].get("resourceVersion", "0")
    return int(text) if str(text).isdecimal() else 0


@dataclass(slots=True)
class _Known:
    """What is known of one kind in one namespace, or in all."""

    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    zones: dict[tuple[str, str], dict[str, Manifest]] = field(default_factory=dict)
    """By namespace and zone, then by name."""
    version: int = -1
    """Everything up to here was heard; -1 before the first list."""


class Store:
    """Objects as they were last heard of.

    Args:
        kinds: that are watched.
        namespaces: that are watched; all of them when empty.
        wake: called with namespace and zone when something of that zone changed.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        namespaces: tuple[str, ...],
        wake: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        places: tuple[str | None, ...] = namespaces or (None,)
        self._is_everywhere = not namespaces
        self._known: dict[Place, _Known] = {
            (kind, place): _Known() for kind in kinds for place in places
        }
        self._wake = wake
        self._changed: dict[Place, asyncio.Event] = {}

    def places(self) -> tuple[Place, ...]:
        """What there is to watch."""
        return tuple(self._known)

    def watches(self, kind: str, namespace: str) -> bool:
        """Whether objects of this kind and namespace are to be found here."""
        return self._place(kind, namespace) in self._known

    def replace(self, place: Place, items: Iterable[Manifest], version: str) -> None:
        """A list: what is not in it is gone."""
        known = self._known[place]
        before, known.objects, known.zones = known.objects, {}, {}
        for item in items:
            self._put(known, item)
        changed = [
            live
            for key in before.keys() | known.objects.keys()
            if (live := known.objects.get(key) or before[key]) is not before.get(key)
            and (key not in before or version_of(before[key]) != version_of(live))
        ]
        changed += [live for key, live in before.items() if key not in known.objects]
        self._advance(place, known, int(version) if version.isdecimal() else 0)
        for live in changed:
            self._tell(place[0], live)

    def handle(self, place: Place, event: Manifest) -> None:
        """One event of a watch."""
        known = self._known[place]
        live = event["object"]
        if event["type"] in {"ADDED", "MODIFIED"}:
            self._put(known, live)
        elif event["type"] == "DELETED":
            self._take(known, (live["metadata"].get("namespace", ""), live["metadata"]["name"]))
        self._advance(place, known, version_of(live))
        if event["type"] != "BOOKMARK":
            self._tell(place[0], live)

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, None if none is known."""
        return self._known[self._place(kind, namespace)].objects.get((namespace, name))

    def of_zone(self, kind: str, namespace: str, zone: str) -> list[Manifest]:
        """Objects with this zone's label."""
        known = self._known[self._place(kind, namespace)]
        return list(known.zones.get((namespace, zone), {}).values())

    def in_namespace(self, kind: str, namespace: str) -> list[Manifest]:
        """Every object of a kind in a namespace."""
        known = self._known[self._place(kind, namespace)]
        return [live for (place, _), live in known.objects.items() if place == namespace]

    def all_of(self, kind: str) -> Iterator[Manifest]:
        """Every object of a kind."""
        for (each, _), known in self._known.items():
            if each == kind:
                yield from known.objects.values()

    def count(self) -> int:
        """How many objects are held."""
        return sum(len(known.objects) for known in self._known.values())

    def version(self, kind: str, namespace: str) -> int:
        """How far this kind is known."""
        return self._known[self._place(kind, namespace)].version

    def heard(self, place: Place) -> str:
        """The version to go on from, empty before the first list."""
        version = self._known[place].version
        return str(version) if version > 0 else ""

    async def wait_until(
        self, kind: str, namespace: str, condition: Callable[[], bool], seconds: float
    ) -> bool:
        """Wait for news of a kind until a condition holds; False if it does not in time."""
        place = self._place(kind, namespace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._changed.setdefault(place, asyncio.Event()).wait()
        return condition()

    async def wait_until_listed(self) -> None:
        """Wait until every kind was listed once."""
        for place, known in self._known.items():
            while known.version < 0:
                await self._changed.setdefault(place, asyncio.Event()).wait()

    def _place(self, kind: str, namespace: str) -> Place:
        return (kind, None if self._is_everywhere else namespace)

    def _put(self, known: _Known, live: Manifest) -> None:
        metadata = live["metadata"]
        # Half of an object's bytes, and nothing here reads it.
        metadata.pop("managedFields", None)
        key = (metadata.get("namespace", ""), metadata["name"])
        self._take(known, key)
        known.objects[key] = live
        zone = _zone_of(live)
        if zone is not None:
            known.zones.setdefault((key[0], zone), {})[key[1]] = live

    def _take(self, known: _Known, key: tuple[str, str]) -> None:
        old = known.objects.pop(key, None)
        zone = _zone_of(old) if old is not None else None
        of_zone = known.zones.get((key[0], zone)) if zone is not None else None
        if zone is not None and of_zone is not None:
            of_zone.pop(key[1], None)
            if not of_zone:
                del known.zones[key[0], zone]

    def _advance(self, place: Place, known: _Known, version: int) -> None:
        known.version = max(known.version, version)
        event = self._changed.pop(place, None)
        if event is not None:
            event.set()

    def _tell(self, kind: str, live: Manifest) -> None:
        metadata = live["metadata"]
        zone = metadata["name"] if kind == naming.KIND else _zone_of(live)
        if zone:
            self._wake(metadata.get("namespace", ""), zone)


def _zone_of(live: Manifest) -> str | None:
    """The zone of an object: its label; of what people write for a zone, its reference."""
    label = (live["metadata"].get("labels") or {}).get(naming.ZONE_LABEL)
    reference = (live.get("spec") or {}).get("zoneRef") or {}
    return label or reference.get("name")
