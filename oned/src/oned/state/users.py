"""Users: credentials, groups, login tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

from oned.state import xml
from oned.state.acl import ObjectType
from oned.state.entry import Reader
from oned.state.objects import Kind, PoolObject

CORE_DRIVER = "core"
PUBLIC_DRIVER = "public"
TOKENS_MAX = 10
"""Login tokens a user may have at a time."""

NO_EGID = -1
"""EGID of a token that stands for all groups of its user."""

NEVER = -1
"""Expiration of a token that does not expire."""

KIND = Kind(table="user_pool", type=ObjectType.USER, root="USER", word="user", taken_by="USER")


@dataclass(frozen=True, slots=True)
class LoginToken:
    """A token that logs its user in like the password does.

    Attributes:
        expires: seconds since the epoch, or ``NEVER``.
        egid: the one group the session is limited to, or ``NO_EGID``.
    """

    token: str
    expires: int
    egid: int

    def is_valid(self, now: float) -> bool:
        return self.expires == NEVER or now < self.expires

    def to_xml(self) -> str:
        return (
            f"<LOGIN_TOKEN><TOKEN>{xml.escape(self.token)}</TOKEN>"
            f"<EXPIRATION_TIME>{self.expires}</EXPIRATION_TIME><EGID>{self.egid}</EGID>"
            "</LOGIN_TOKEN>"
        )


@dataclass(slots=True, kw_only=True)
class User(PoolObject):
    """A user; its own owner. ``gid`` is the primary group and one of ``groups``."""

    KIND: ClassVar[Kind] = KIND

    groups: set[int] = field(default_factory=set)
    password: str
    driver: str = CORE_DRIVER
    enabled: bool = True
    tokens: list[LoginToken] = field(default_factory=list)

    def body(self) -> str:
        return "".join(
            (
                f"<USER><ID>{self.oid}</ID><GID>{self.gid}</GID>",
                xml.ids("GROUPS", self.groups),
                f"<GNAME>{xml.escape(self.gname)}</GNAME><NAME>{xml.escape(self.name)}</NAME>",
                f"<PASSWORD>{xml.cdata(self.password)}</PASSWORD>",
                f"<AUTH_DRIVER>{xml.cdata(self.driver)}</AUTH_DRIVER>",
                f"<ENABLED>{int(self.enabled)}</ENABLED>",
                *[token.to_xml() for token in self.tokens],
                self.template.to_xml(),
                "</USER>",
            )
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        body = xml.Body(text)
        oid, name = body.integer("ID"), body.text("NAME")
        return cls(
            oid=oid,
            uid=oid,
            name=name,
            uname=name,
            gid=body.integer("GID"),
            gname=body.text("GNAME"),
            groups=body.integers("GROUPS"),
            password=body.text("PASSWORD"),
            driver=body.text("AUTH_DRIVER", CORE_DRIVER),
            enabled=body.integer("ENABLED") == 1,
            tokens=[
                LoginToken(
                    item["TOKEN"],
                    int(item["EXPIRATION_TIME"]),
                    int(item.get("EGID") or NO_EGID),
                )
                for item in body.repeated("LOGIN_TOKEN")
            ],
            template=body.template(),
        )

    def set_password(self, password: str) -> None:
        """Store ``password`` as the driver wants it; tokens issued before are gone."""
        self.password = stored_password(self.driver, password)
        self.tokens = []

    def add_group(self, gid: int) -> bool:
        """Make the user a member; False when it is one."""
        if gid in self.groups:
            return False
        self.groups.add(gid)
        return True

    def add_token(self, token: LoginToken, now: float) -> bool:
        """Keep ``token``, dropping expired ones; False when there are too many."""
        kept = [t for t in self.tokens if t.is_valid(now) and t.token != token.token]
        if len(kept) >= TOKENS_MAX:
            return False
        self.tokens = [*kept, token]
        return True

    def remove_token(self, token: str) -> bool:
        kept = [t for t in self.tokens if t.token != token]
        found = len(kept) != len(self.tokens)
        self.tokens = kept
        return found


def stored_password(driver: str, password: str) -> str:
    """What PASSWORD holds: a SHA-256 for ``core``, the given text for all other drivers."""
    if driver == CORE_DRIVER:
        return hashlib.sha256(password.encode()).hexdigest()
    return password


def body_of(reader: Reader, name: str) -> str | None:
    """Body of the user called ``name``."""
    rows = reader.rows("SELECT body FROM user_pool WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def by_name(reader: Reader, name: str) -> User | None:
    body = body_of(reader, name)
    return User.parse(body) if body else None


def load_all(reader: Reader, oids: Iterable[int]) -> list[User]:
    """Those of the users ``oids`` that exist."""
    found = (User.load(reader, oid) for oid in sorted(oids))
    return [user for user in found if user is not None]
