"""Rights, the nine permission bits of an object, and locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache


class Right(IntFlag):
    """What a call wants to do to an object; OpenNebula's bits."""

    USE = 1
    MANAGE = 2
    ADMIN = 4
    CREATE = 8


_BITS = tuple(f"{who}_{right}" for who in ("OWNER", "GROUP", "OTHER") for right in ("U", "M", "A"))
"""Element names of PERMISSIONS in order, from the highest bit of the mode to the lowest."""

_RIGHT_BIT = {Right.USE: 0o4, Right.MANAGE: 0o2, Right.ADMIN: 0o1}

KEEP = -1
"""In a chmod: leave this bit as it is."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Nine bits as a file mode: owner, group, other by use, manage, admin."""

    mode: int

    @classmethod
    def from_umask(cls, umask: int, *, privileged: bool, other_enabled: bool = True) -> Permissions:
        """What a new object gets.

        Args:
            umask: the creator's, octal.
            privileged: the creator is oneadmin or in its group, and may give ADMIN away.
            other_enabled: ENABLE_OTHER_PERMISSIONS of oned.conf.
        """
        base = 0o777 if privileged else 0o666 if other_enabled else 0o660
        return cls(base & ~umask & 0o777)

    @classmethod
    def from_fields(cls, fields: dict[str, str]) -> Permissions:
        """Read the elements of PERMISSIONS."""
        mode = 0
        for name in _BITS:
            mode = mode << 1 | (fields.get(name) == "1")
        return cls(mode)

    def changed(self, bits: Sequence[int]) -> Permissions:
        """These permissions after a chmod with nine numbers, each ``KEEP``, 0 or 1.

        Raises:
            ValueError: another number, with OpenNebula's text.
        """
        mode = self.mode
        for position, bit in enumerate(bits):
            mask = 0o400 >> position
            if bit == 1:
                mode |= mask
            elif bit == 0:
                mode &= ~mask
            elif bit != KEEP:
                raise ValueError("New permission values must be -1, 0 or 1")
        return Permissions(mode)

    def owner(self, right: Right) -> bool:
        return bool(self.mode & _RIGHT_BIT.get(right, 0) << 6)

    def group(self, right: Right) -> bool:
        return bool(self.mode & _RIGHT_BIT.get(right, 0) << 3)

    def other(self, right: Right) -> bool:
        return bool(self.mode & _RIGHT_BIT.get(right, 0))

    def to_xml(self) -> str:
        return _permissions_xml(self.mode)


@lru_cache(maxsize=512)
def _permissions_xml(mode: int) -> str:
    inner = "".join(
        f"<{name}>{mode >> (8 - position) & 1}</{name}>" for position, name in enumerate(_BITS)
    )
    return f"<PERMISSIONS>{inner}</PERMISSIONS>"


OWNER_MANAGES = Permissions(0o600)
"""Of users and zones: the owner uses and manages, everything else is a matter of rules."""

MEMBERS_USE = Permissions(0o640)
"""Of groups: their members may see them."""

_LOCK_RIGHTS = {
    1: Right.USE | Right.MANAGE | Right.ADMIN,
    2: Right.MANAGE | Right.ADMIN,
    3: Right.ADMIN,
}

LOCK_LEVELS = {1: 1, 2: 2, 3: 3, 4: 1}
"""Levels a call may ask for, and what they are stored as: 4 (all) is 1 (use)."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on an object, laid by a user until it is taken off.

    Attributes:
        level: 1 blocks use, manage and admin, 2 manage and admin, 3 admin.
        owner: uid of who laid it.
        time: seconds since the epoch.
        request: id of the call, -1 when it is not known.
    """

    level: int
    owner: int
    time: int
    request: int = -1

    def blocks(self, right: Right) -> bool:
        return bool(_LOCK_RIGHTS[self.level] & right)

    def to_xml(self) -> str:
        return (
            f"<LOCK><LOCKED>{self.level}</LOCKED><OWNER>{self.owner}</OWNER>"
            f"<TIME>{self.time}</TIME><REQ_ID>{self.request}</REQ_ID></LOCK>"
        )

    @classmethod
    def from_fields(cls, fields: dict[str, str]) -> Lock:
        return cls(
            int(fields["LOCKED"]),
            int(fields["OWNER"]),
            int(fields["TIME"]),
            int(fields.get("REQ_ID") or -1),
        )
