"""Sessions are remembered as long as they are good; objects are locked; ids are counted."""

import asyncio
import hashlib

import pytest

from oned.api import auth
from oned.api.auth import Authenticator
from oned.api.ids import Ids
from oned.api.locks import ObjectLocks
from oned.errors import Busy, NotLeader
from oned.raft.types import Term
from oned.state import users
from oned.state.entry import Change
from oned.state.users import User


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def authenticator(clock):
    return Authenticator(default_umask=0o177, expiration=900, clock=clock)


def log_in(authenticator, database, session="oneadmin:opennebula"):
    version = database.table_version("user_pool")
    return authenticator.caller(session, reader=database, version=version)


def change_user(database, name, **attributes):
    user = users.by_name(database, name)
    for attribute, value in attributes.items():
        setattr(user, attribute, value)
    database.apply(Change((user.update(),)))


def test_a_sha1_of_an_old_database_is_accepted(authenticator, database):
    change_user(database, "oneadmin", password=hashlib.sha1(b"opennebula").hexdigest())
    assert log_in(authenticator, database).uid == 0
    assert log_in(authenticator, database, "oneadmin:wrong") is None


def test_a_remembered_session_does_not_outlive_its_user(authenticator, database):
    assert log_in(authenticator, database)
    change_user(database, "oneadmin", enabled=False)
    assert log_in(authenticator, database) is None


def test_a_remembered_session_costs_one_row_when_another_user_changed(
    authenticator, database, monkeypatch
):
    first = log_in(authenticator, database)
    change_user(database, "serveradmin", enabled=False)

    def compare(*_):
        raise AssertionError("the password was compared again")

    monkeypatch.setattr(auth, "_core_matches", compare)
    assert log_in(authenticator, database) is first


def test_a_session_is_remembered_for_its_time_only(authenticator, database, clock, monkeypatch):
    log_in(authenticator, database)
    clock.now += 901
    monkeypatch.setattr(auth, "_core_matches", lambda *_: False)
    assert log_in(authenticator, database) is None


def test_what_is_remembered_is_bounded_and_holds_no_secret(authenticator, database, monkeypatch):
    monkeypatch.setattr(auth, "SESSIONS_MAX", 3)
    user = users.by_name(database, "oneadmin")
    for number in range(8):
        user.add_token(users.LoginToken(f"token{number}", -1, -1), 0)
    database.apply(Change((user.update(),)))
    for number in range(8):
        assert log_in(authenticator, database, f"oneadmin:token{number}")
    assert len(authenticator._sessions) == 3
    assert all(len(key) == 32 for key in authenticator._sessions)


def test_an_umask_of_the_user_counts_unless_it_is_none(authenticator, database):
    user = users.by_name(database, "oneadmin")
    user.template.set("UMASK", "022")
    database.apply(Change((user.update(),)))
    assert log_in(authenticator, database).umask == 0o022
    user.template.set("UMASK", "nine")
    database.apply(Change((user.update(),)))
    assert log_in(authenticator, database).umask == 0o177


@pytest.mark.parametrize("token", ["", "=", "AAAA", "é", "A" * 22 + "=="])
def test_bad_cipher_tokens(token):
    assert auth.open_cipher_token("0" * 64, token, "a:b") is None
    assert auth.open_cipher_token("short", token, "a:b") is None


def test_a_cipher_token_is_opened():
    stored = User(name="s", password="0123456789abcdef" * 4).password
    token = auth.seal_cipher_token(stored, "s:alice", 1234)
    assert auth.open_cipher_token(stored, token, "s:alice") == 1234
    assert auth.open_cipher_token(stored, token, "s:bob") is None


async def test_locks_keep_calls_apart_and_leave_nothing_behind():
    locks, inside, most = ObjectLocks(), 0, 0

    async def work(*keys):
        nonlocal inside, most
        async with locks.hold(*keys):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    a, b = ("t", 1), ("t", 2)
    await asyncio.wait_for(asyncio.gather(*[work(a, b), work(b, a), work(a), work(a, b)]), 5)
    assert most == 1
    assert len(locks) == 0


async def test_a_cancelled_wait_leaves_the_lock_to_others():
    locks = ObjectLocks()
    async with locks.hold(("t", 1)):
        waiting = asyncio.ensure_future(_hold(locks))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await asyncio.wait_for(_hold(locks), 1)
    assert len(locks) == 0


async def _hold(locks):
    async with locks.hold(("t", 1)):
        pass


async def test_too_many_waiting_calls_are_turned_away():
    locks = ObjectLocks(waiting_max=1)
    async with locks.hold(("t", 1)):
        with pytest.raises(Busy):
            await _hold(locks)
    await _hold(locks)


def test_ids_of_a_former_term_are_not_asked_for(database):
    ids = Ids()
    assert ids.next("document_pool", reader=database, term=Term(3))[0] == 0
    assert ids.next("document_pool", reader=database, term=Term(3))[0] == 1
    with pytest.raises(NotLeader):
        ids.next("document_pool", reader=database, term=Term(2))
    # Neither id was recorded, so that nobody has ever seen them.
    assert ids.next("document_pool", reader=database, term=Term(4))[0] == 0
