"""``one.zone.transferleader`` through a real server and pyone.

Real servers hand over in ``processes/test_hand_over_by_call.py``.
"""

from __future__ import annotations

import pyone
import pytest

from oned.raft.types import NO_SERVER, Configuration, Follower, Role, ServerId

from .conftest import member  # type: ignore[import-not-found]

pytestmark = pytest.mark.integration

READY = Follower(lag=0, silence_seconds=0.1)


@pytest.fixture
def zone(database):
    """Server 0 leads, 1 and 2 vote, 3 learns."""
    database.members = Configuration(
        tuple(member(number, voter=number != 3) for number in range(4))
    )
    database.followers = {ServerId(n): READY for n in (1, 2, 3)}
    database.can_hand_over = True
    return database


async def test_the_named_server_leads_and_its_id_is_the_answer(one, zone):
    assert await one("zone.transferleader", 0, 2) == 2
    assert (zone.state.role, zone.state.leader_id) == (Role.FOLLOWER, 2)
    assert zone.applied == 0


async def test_minus_one_is_the_best_server(one, zone):
    zone.followers[ServerId(1)] = Follower(lag=9, silence_seconds=0.1)
    del zone.followers[ServerId(3)]
    assert await one("zone.transferleader", 0, -1) == 2


async def test_whoever_leads_already_stays(one, zone):
    assert await one("zone.transferleader", 0, 0) == 0
    assert zone.state.role is Role.LEADER


@pytest.mark.parametrize(
    ("target", "knows", "text"),
    [
        (9, READY, "Server 9 is not a member of this zone"),
        (-7, READY, "Server -7 is not a member of this zone"),
        (3, READY, r"Server 3 \(zone-3\) has no vote yet"),
        (1, None, r"Server 1 \(zone-1\) has not answered this leader yet"),
        (1, Follower(0, None), r"Server 1 \(zone-1\) has not answered this leader yet"),
        (1, Follower(0, 7.25), r"Server 1 \(zone-1\) has not answered for 7\.2 s"),
        (1, Follower(513, 0.1), r"Server 1 \(zone-1\) is too far behind: it lacks 513 entries"),
    ],
)
async def test_what_cannot_succeed_is_refused_before_it_begins(one, zone, target, knows, text):
    if knows is None:
        del zone.followers[ServerId(target)]
    else:
        zone.followers[ServerId(target)] = knows
    with pytest.raises(pyone.OneActionException, match=text):
        await one("zone.transferleader", 0, target)
    assert zone.state.role is Role.LEADER


async def test_nobody_can_take_over(one, zone):
    zone.followers = {}
    with pytest.raises(pyone.OneActionException, match="none of them answers"):
        await one("zone.transferleader", 0, -1)
    zone.members = Configuration((member(0),))
    with pytest.raises(pyone.OneActionException, match="it has none that votes"):
        await one("zone.transferleader", 0, -1)
    zone.state = zone.state._replace(role=Role.SOLO, server_id=ServerId(-1))
    with pytest.raises(pyone.OneActionException, match="alone in its zone"):
        await one("zone.transferleader", 0, -1)


async def test_a_hand_over_not_seen_to_its_end_is_an_unknown_outcome(one, zone, monkeypatch):
    zone.can_hand_over = False
    with pytest.raises(pyone.OneInternalException, match=r"Outcome unknown: server 1 did not take"):
        await one("zone.transferleader", 0, 1)
    monkeypatch.setattr("oned.api.methods.leadership.LEADER_KNOWN_SECONDS", 0.05)
    zone.can_hand_over, zone.elected = True, NO_SERVER
    with pytest.raises(pyone.OneInternalException, match=r"Outcome unknown: this server leads no"):
        await one("zone.transferleader", 0, 1)


async def test_another_server_may_be_elected_meanwhile(one, zone):
    zone.elected = ServerId(2)
    with pytest.raises(pyone.OneActionException, match=r"Server 2 leads now: it was elected"):
        await one("zone.transferleader", 0, 1)


async def test_who_may_not_administer_the_zone_changes_no_leader(one, as_user, zone):
    await one("user.allocate", "alice", "secret", "core")
    with pytest.raises(pyone.OneAuthorizationException, match=r"ADMIN ZONE \[0\]"):
        await as_user("alice:secret")("zone.transferleader", 0, 1)
    with pytest.raises(pyone.OneActionException, match="through the target zone endpoints"):
        await one("zone.transferleader", 5, 1)
    assert zone.state.role is Role.LEADER


async def test_a_disabled_zone_changes_its_leader(one, zone):
    await one("zone.enable", 0, False)
    assert await one("zone.transferleader", 0, 1) == 1
