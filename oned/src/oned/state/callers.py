"""Who makes a call, as permissions and rules see it."""

from __future__ import annotations

from dataclasses import dataclass

ONEADMIN = 0
"""Id of the user and of the group that may do everything."""

USERS_GROUP = 1
"""Id of the group that new users get unless another one is asked for."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user.

    Attributes:
        groups: the groups that count in this session; a token with an EGID leaves only one.
        umask: octal, for new objects.
        list_order: API_LIST_ORDER of the user's template, or empty.
        restricted: the session is limited to some of the user's groups.
    """

    uid: int
    gid: int
    uname: str
    gname: str
    groups: frozenset[int]
    umask: int
    list_order: str = ""
    restricted: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether permissions and rules do not matter (locks still do)."""
        return self.uid == ONEADMIN or ONEADMIN in self.groups
