"""Which version may follow which: the paths of upgrade, as a table in code.

Pure. The version of an image is told by its tag; one that tells none (a branch, a digest) is not
held back. What servers run is told by themselves, and while none answers by the image that they
were given. An image without a path is not written into the StatefulSet at all: a pod that is lost
must not come back with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onezone_operator import naming
from onezone_operator.models.observed import Manifest, ObservedZone
from onezone_operator.models.onezone import OneZone

__all__ = ["LAST_MINORS", "LOG_FORMATS", "Version", "find_blocked", "hold_image", "judge_path"]

_VERSION = re.compile(r"^v?(\d{1,4})\.(\d{1,4})\.(\d{1,6})(?:[-+][0-9A-Za-z.+-]*)?$")

LOG_FORMATS: dict[tuple[int, int], int] = {(0, 1): 1}
"""The format of log and database that a minor version writes. A server goes back to an older minor
version only within one format; a version that is not listed is taken to have one of its own."""

LAST_MINORS: dict[int, int] = {}
"""The last minor version of each major one: from it, and only from it, the next major one follows.
A major version without an entry has no path out of it yet."""


@dataclass(frozen=True, order=True, slots=True)
class Version:
    """A version of oned."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """None when the text tells no version."""
        match = _VERSION.match(text)
        return None if match is None else cls(*(int(part) for part in match.groups()))

    @classmethod
    def of_image(cls, image: str) -> Version | None:
        """The version in an image's tag; a digest that follows it does not matter."""
        path = image.partition("@")[0].rpartition("/")[2]
        return cls.parse(path.partition(":")[2])


def judge_path(running: Version, wanted: Version) -> str | None:
    """Why this version may not follow that one; None when it may."""
    before, after = (running.major, running.minor), (wanted.major, wanted.minor)
    if before == after:
        return None
    if after < before:
        return _judge_downgrade(running, wanted)
    if running.major == wanted.major:
        if wanted.minor == running.minor + 1:
            return None
        between = f"{running.major}.{running.minor + 1}"
        return f"{running} to {wanted} skips a minor version: go to {between} first"
    last = LAST_MINORS.get(running.major)
    if wanted.major != running.major + 1 or last is None:
        return f"there is no path from {running} to {wanted}"
    if running.minor != last or wanted.minor != 0:
        return f"{wanted.major}.0 follows {running.major}.{last}: go from {running} by way of it"
    return None


def _judge_downgrade(running: Version, wanted: Version) -> str | None:
    known = LOG_FORMATS.get((running.major, running.minor))
    if known is not None and known == LOG_FORMATS.get((wanted.major, wanted.minor)):
        return None
    return (
        f"{wanted} is older than {running}, which runs, and may not read its log and database: "
        "restore a backup into a new zone instead"
    )


def find_blocked(zone: OneZone, observed: ObservedZone) -> str | None:
    """Why the image that the spec asks for is not rolled out, None when it is."""
    live = observed.objects.get(("StatefulSet", zone.name))
    wanted = Version.of_image(zone.spec.image or "")
    if live is None or wanted is None or _live_image(live) == zone.spec.image:
        return None
    if Version.parse(zone.metadata.annotations.get(naming.ALLOW_VERSION_ANNOTATION, "")) == wanted:
        return None
    for running in _running(observed, live):
        reason = judge_path(running, wanted)
        if reason is not None:
            return reason
    return None


def hold_image(zone: OneZone, observed: ObservedZone) -> OneZone:
    """The zone with the image that its servers have, while the one asked for is blocked."""
    if find_blocked(zone, observed) is None:
        return zone
    image = _live_image(observed.objects["StatefulSet", zone.name])
    return zone.model_copy(update={"spec": zone.spec.model_copy(update={"image": image})})


def _running(observed: ObservedZone, live: Manifest) -> list[Version]:
    """The versions that servers say they are, the oldest and the newest of them."""
    told = [Version.parse(report.version) for report in observed.reports.values()]
    known = sorted(version for version in told if version is not None)
    if known:
        return [known[0], known[-1]]
    given = Version.of_image(_live_image(live))
    return [] if given is None else [given]


def _live_image(live: Manifest) -> str:
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])
