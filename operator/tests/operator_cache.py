"""The world of ``operator_world`` seen through the operator's own cache, which is behind.

The real ``Store`` and ``CachedKube`` stand between the operator and the model. What changes in the
model becomes an event of a watch; the last ``behind`` of them have not arrived yet, unless the
operator waits for what it wrote itself.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operator_cluster import NAMESPACE, READING
from operator_world import SETTINGS, World

from onezone_operator.handlers.reconciler import Reconciler
from onezone_operator.kube.cache import CachedKube
from onezone_operator.kube.informer import WATCHED
from onezone_operator.kube.store import Store

LATE_STEPS = 3
"""Seconds after which an event has arrived, however few came after it."""


class LaggingStore(Store):
    """Lets events arrive when they are waited for: nothing else runs meanwhile."""

    arrive: Callable[[], bool]

    async def wait_until(
        self, kind: str, namespace: str, condition: Callable[[], bool], seconds: float
    ) -> bool:
        while not condition() and self.arrive():
            pass
        return condition()


@dataclass
class CachedWorld(World):
    """Attributes: ``behind``, events that the cache of the operator has not heard of."""

    behind: int = 0
    _texts: dict[tuple[str, str], str] = field(default_factory=dict)
    _events: deque[tuple[int, str, dict[str, Any]]] = field(default_factory=deque)
    _steps: int = 0
    _store: LaggingStore | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "_store": None, "_events": deque(), "_texts": {}}

    def reconciler(self) -> Reconciler:
        """The operator's process, which lists everything when it starts."""
        if self._reconciler is None:
            self._events.clear()
            self._texts.clear()
            self._store = LaggingStore(WATCHED, ())
            self._store.arrive = self._arrive
            self.record()
            while self._arrive():
                pass
            for kind, place in self._store.places():
                self._store.replace((kind, place), self._listed(kind), str(self._next()))
            cache = CachedKube(self, self._store, clock=self._seconds)
            self._reconciler = Reconciler(cache, self, SETTINGS, clock=lambda: self.now)
        return self._reconciler

    def _seconds(self) -> float:
        return self.now.timestamp()

    def _listed(self, kind: str) -> list[dict[str, Any]]:
        return [json.loads(text) for (each, _), text in self._texts.items() if each == kind]

    def step(self, seconds: float = 1.0) -> None:
        super().step(seconds)
        self._steps += 1
        self.record()
        while self._events and (
            len(self._events) > self.behind or self._events[0][0] <= self._steps - LATE_STEPS
        ):
            self._arrive()

    def _end(self) -> None:
        if not self.requests[-1].startswith(READING):
            self.record()
        super()._end()

    def record(self) -> None:
        """Make events of what changed since the last time."""
        if self._store is None:
            return
        for key, live in self.objects.items():
            before = self._texts.get(key)
            text = json.dumps(live, sort_keys=True)
            if text == before:
                continue
            version = live["metadata"]["resourceVersion"]
            if before is not None and json.loads(before)["metadata"]["resourceVersion"] == version:
                # What the model's controllers changed in place.
                live["metadata"]["resourceVersion"] = str(self._next())
                text = json.dumps(live, sort_keys=True)
            self._note(key, "MODIFIED" if before is not None else "ADDED", text)
            self._texts[key] = text
        for key in self._texts.keys() - self.objects.keys():
            gone = json.loads(self._texts.pop(key))
            gone["metadata"]["resourceVersion"] = str(self._next())
            self._note(key, "DELETED", json.dumps(gone))

    def _note(self, key: tuple[str, str], kind: str, text: str) -> None:
        self._events.append((self._steps, key[0], {"type": kind, "object": json.loads(text)}))

    def _arrive(self) -> bool:
        """The next event is heard of; False if there is none."""
        if not self._events:
            return False
        _, kind, event = self._events.popleft()
        assert self._store is not None
        if self._store.watches(kind, NAMESPACE):
            self._store.handle((kind, None), event)
        return True
