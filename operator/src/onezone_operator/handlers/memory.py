"""What the operator remembers of a zone from pass to pass: only what keeps it from repeating
itself in vain. Losing it costs a few calls and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from onezone_operator import naming
from onezone_operator.models.observed import ObjectKey
from onezone_operator.reconcile.steps import ApplyObjects, Step

__all__ = ["ZoneMemory"]

REPEATS_MAX = 3
"""An object that differs again right after it was written so often is contested: somebody else,
such as an admission webhook, insists on another content."""

CONTEST_PAUSE = timedelta(seconds=60)
"""A contested object is written once in this time, and does not hold up the rest meanwhile."""


ASK_AGAIN = timedelta(minutes=10)
"""A volume that Kubernetes did not let grow is tried again after this, and by an operator that
starts: its storage class may allow it by then, which nothing tells."""


@dataclass(slots=True)
class _Attempts:
    digest: str
    count: int
    last: datetime


@dataclass(slots=True)
class ZoneMemory:
    """Of one zone.

    Attributes:
        failed_step: a step that could not be carried out, while it is still the one planned.
        failure: why.
        asked_at: when a volume was asked to grow the last time.
    """

    failed_step: Step | None = None
    failure: str = ""
    asked_at: datetime | None = None
    _attempts: dict[ObjectKey, _Attempts] = field(default_factory=dict)

    def contested(self, now: datetime) -> frozenset[ObjectKey]:
        """Objects that are not to be written now."""
        return frozenset(
            key
            for key, attempts in self._attempts.items()
            if attempts.count >= REPEATS_MAX and now - attempts.last < CONTEST_PAUSE
        )

    def may_ask_again(self, now: datetime) -> bool:
        """Whether it is time to ask for what was refused before."""
        return self.asked_at is None or now - self.asked_at >= ASK_AGAIN

    def note_step(self, step: Step, now: datetime) -> None:
        """Count what a pass writes. What was right for one pass is not contested."""
        written: dict[ObjectKey, str] = {}
        if isinstance(step, ApplyObjects):
            for each in step.manifests:
                metadata = each["metadata"]
                digest = metadata["annotations"][naming.DESIRED_ANNOTATION]
                written[each["kind"], metadata["name"]] = digest
        paused = self.contested(now)
        for key in [key for key in self._attempts if key not in written and key not in paused]:
            del self._attempts[key]
        for key, digest in written.items():
            before = self._attempts.get(key)
            same = before is not None and before.digest == digest
            count = before.count + 1 if before is not None and same else 1
            self._attempts[key] = _Attempts(digest, count, now)
