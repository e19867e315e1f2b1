"""Who a session string stands for: passwords, login tokens, services that act for users.

A session is ``user:secret``. The driver of the *first* name decides what the secret is:
``core`` compares SHA-256 sums (SHA-1 as old databases hold it), a ``server_cipher`` user sends
``service:user[:egid]:token`` and acts for that user. Login tokens count for every driver, and
``public`` never logs in with a password. Secrets are compared in constant time and never kept:
the cache knows sessions by a keyed hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from oned.state import users
from oned.state.callers import Caller
from oned.state.entry import Reader
from oned.state.groups import Group
from oned.state.users import User

SERVER_CIPHER = "server_cipher"

SESSIONS_MAX = 4096
"""Sessions remembered at a time."""

USERS_MAX = 4096
"""Parsed users remembered at a time."""

_SESSION_LENGTH_MAX = 4096
_SHA1_LENGTH = 40
_BLOCK_BITS = 128
_TOKEN_PARTS = 3


@dataclass(slots=True)
class _Session:
    """A session that is good as long as ``users`` look like this; so they did at ``version``."""

    caller: Caller
    users: tuple[User, ...]
    expires: float
    version: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """A good secret: for whom, with which single group, and until when."""

    user: User
    egid: int
    expires: float


class Authenticator:
    """Turns sessions into callers, from this server's own tables.

    Args:
        default_umask: for users whose template has none.
        expiration: seconds that a session is remembered for; 0 remembers none.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        default_umask: int,
        expiration: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._default_umask = default_umask
        self._expiration = expiration
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._users: OrderedDict[str, tuple[str, User]] = OrderedDict()

    def caller(self, session: str, *, reader: Reader, version: int) -> Caller | None:
        """Who the session stands for, None when it is not good.

        Args:
            session: parameter 0 of a call.
            reader: the tables.
            version: of the table of users, so that what is remembered is checked against it.
        """
        if len(session) > _SESSION_LENGTH_MAX:
            return None
        key = hashlib.blake2b(session.encode(), digest_size=32, key=self._key).digest()
        now = self._clock()
        known = self._sessions.get(key)
        if known is not None:
            if now < known.expires and self._unchanged(known, reader, version):
                self._sessions.move_to_end(key)
                return known.caller
            del self._sessions[key]
        names, accepted = self._accept(session, reader, now)
        if accepted is None:
            return None
        caller = self._caller_of(accepted, reader)
        if self._expiration > 0:
            expires = min(now + self._expiration, accepted.expires)
            self._sessions[key] = _Session(caller, tuple(names), expires, version)
            if len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return caller

    def _unchanged(self, session: _Session, reader: Reader, version: int) -> bool:
        """Whether the users behind a session are as they were.

        The version tells it for all users at once; when it moved, their rows do.
        """
        if version != session.version:
            if any(self._user(user.name, reader) is not user for user in session.users):
                return False
            session.version = version
        return True

    def _user(self, name: str, reader: Reader) -> User | None:
        """The user called ``name``; the same object as long as the row is the same."""
        body = users.body_of(reader, name)
        if body is None:
            self._users.pop(name, None)
            return None
        known = self._users.get(name)
        if known is not None and known[0] == body:
            self._users.move_to_end(name)
            return known[1]
        user = User.parse(body)
        self._users[name] = (body, user)
        if len(self._users) > USERS_MAX:
            self._users.popitem(last=False)
        return user

    def _accept(
        self, session: str, reader: Reader, now: float
    ) -> tuple[list[User], Accepted | None]:
        name, separator, secret = session.partition(":")
        user = self._user(name, reader) if separator else None
        if user is None or not user.enabled or not secret:
            return [], None
        token = _valid_token(user, secret, now)
        if token is not None:
            expires = float("inf") if token.expires == users.NEVER else float(token.expires)
            if token.egid != users.NO_EGID and token.egid not in user.groups:
                return [], None
            return [user], Accepted(user, token.egid, expires)
        if user.driver == users.CORE_DRIVER:
            good = _core_matches(user.password, secret)
            return [user], Accepted(user, users.NO_EGID, float("inf")) if good else None
        if user.driver == SERVER_CIPHER:
            target = self._accept_service(user, secret, reader, now)
            return ([user, target.user], target) if target else ([], None)
        return [], None

    def _accept_service(
        self, service: User, secret: str, reader: Reader, now: float
    ) -> Accepted | None:
        """``target:token`` or ``target:egid:token`` of a service that acts for ``target``."""
        parts = secret.split(":")
        if len(parts) not in (_TOKEN_PARTS - 1, _TOKEN_PARTS):
            return None
        target_name, token = parts[0], parts[-1]
        egid = users.NO_EGID
        if len(parts) == _TOKEN_PARTS:
            if not parts[1].isdecimal():
                return None
            egid = int(parts[1])
        expires = open_cipher_token(service.password, token, f"{service.name}:{target_name}")
        if expires is None or expires <= now:
            return None
        target = self._user(target_name, reader)
        if target is None or not target.enabled:
            return None
        if egid != users.NO_EGID and egid not in target.groups:
            return None
        return Accepted(target, egid, float(expires))

    def _caller_of(self, accepted: Accepted, reader: Reader) -> Caller:
        user = accepted.user
        restricted = accepted.egid != users.NO_EGID
        gname = user.gname
        if restricted and accepted.egid != user.gid:
            group = Group.load(reader, accepted.egid)
            gname = group.name if group else ""
        return Caller(
            uid=user.oid,
            gid=accepted.egid if restricted else user.gid,
            uname=user.name,
            gname=gname,
            groups=frozenset([accepted.egid]) if restricted else frozenset(user.groups),
            umask=_umask(user, self._default_umask),
            list_order=user.template.get("API_LIST_ORDER").upper(),
            restricted=restricted,
        )


def _umask(user: User, default: int) -> int:
    text = user.template.get("UMASK")
    try:
        return int(text, 8) & 0o777 if text else default
    except ValueError:
        return default


def _valid_token(user: User, secret: str, now: float) -> users.LoginToken | None:
    given = secret.encode()
    for token in user.tokens:
        if hmac.compare_digest(token.token.encode(), given) and token.is_valid(now):
            return token
    return None


def _core_matches(stored: str, password: str) -> bool:
    digest = hashlib.sha1 if len(stored) == _SHA1_LENGTH else hashlib.sha256
    return hmac.compare_digest(digest(password.encode()).hexdigest().encode(), stored.encode())


def open_cipher_token(stored: str, token: str, prefix: str) -> int | None:
    """When a ``server_cipher`` token expires (seconds since the epoch); None when it is bad.

    The key is made from what PASSWORD of the service holds: the first 32 characters, and the
    first 16 as initialisation vector. The text inside is ``prefix:<expiration>``.
    """
    key = stored.encode()
    try:
        sealed = base64.b64decode(token, validate=False)
        cipher = Cipher(algorithms.AES(key[:32]), modes.CBC(key[:16]))
        decryptor = cipher.decryptor()
        padded = decryptor.update(sealed) + decryptor.finalize()
        count = padded[-1]
        if not 1 <= count <= _BLOCK_BITS // 8 or padded[-count:] != bytes([count]) * count:
            return None
        text = padded[:-count].decode()
    except (ValueError, binascii.Error, IndexError):
        return None
    start, _, expiration = text.rpartition(":")
    if not hmac.compare_digest(start.encode(), prefix.encode()) or not expiration.isdecimal():
        return None
    return int(expiration)


def seal_cipher_token(stored: str, prefix: str, expires: int) -> str:
    """The token that a service with the stored password ``stored`` sends."""
    key = stored.encode()
    plain = f"{prefix}:{expires}".encode()
    count = _BLOCK_BITS // 8 - len(plain) % (_BLOCK_BITS // 8)
    encryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(key[:16])).encryptor()
    sealed = encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()
    return base64.b64encode(sealed).decode()
