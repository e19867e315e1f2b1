"""``one.zone.transferleader``: an administrator says who is to lead.

OpenNebula has no such call: there, one stops the leader and takes who comes. Changes wait
while leadership is handed over, so what cannot succeed at once is refused before it begins.
"""

from __future__ import annotations

import asyncio
import time

from oned.api.calls import Call
from oned.api.registry import Registry, integer
from oned.api.responses import action, lost
from oned.errors import NotLeader
from oned.raft.types import NO_SERVER, Configuration, Follower, Role, ServerId
from oned.state.permissions import Right
from oned.state.zones import Zone

BEST = -1
"""Instead of a server's id: whoever would take over soonest."""

LAG_ENTRIES_MAX = 512
"""One request holds so many; changes would wait while a server further behind catches up."""

SILENCE_SECONDS_MAX = 2.0
"""A server that was silent for so long would not take over: heartbeats come far more often."""

LEADER_KNOWN_SECONDS = 3.0
"""How long to wait for the word of the new leader after this server has stepped down."""

_POLL_SECONDS = 0.01


def register(registry: Registry) -> None:
    """Declare the method."""
    registry.write(
        "one.zone.transferleader",
        _transfer_leader,
        integer("id"),
        integer("server_id"),
        when_disabled=True,
        summary="Hand leadership of this zone to a server, or to the best one (-1)",
    )


async def _transfer_leader(call: Call, oid: int, number: int) -> int:
    """The id of the server that leads afterwards."""
    if oid != call.services.zone_id:
        raise action("Leadership has to be handed over through the target zone endpoints")
    async with call.hold((Zone.KIND.table, oid)):
        call.obtain(Zone, oid, Right.ADMIN)
        front = call.front
        status = front.status()
        if status.role is Role.SOLO:
            raise action("This server is alone in its zone: nobody else can lead")
        if status.role is not Role.LEADER:
            raise NotLeader("leadership was lost while the call waited")
        if number == status.server_id:
            return number
        target = front.successor() if number == BEST else ServerId(number)
        fault = objection(
            target,
            front.configuration(),
            None if target is None else front.follower(target),
            leader=status.server_id,
        )
        if fault or target is None:
            raise action(fault)
        if not await front.transfer_leadership(target):
            raise lost(f"server {target} did not take over in time", writes=True)
        return await _new_leader(call, target, any_will_do=number == BEST)


def objection(
    target: ServerId | None,
    configuration: Configuration,
    follower: Follower | None,
    *,
    leader: ServerId,
) -> str:
    """Why ``target`` cannot take over at once; empty when it can.

    Args:
        target: who is to lead; None when nobody can.
        configuration: the members.
        follower: what the leader knows of the target.
        leader: who leads now.
    """
    if target is None:
        others = configuration.voters - {leader}
        why = "none of them answers" if others else "it has none that votes"
        return f"No other server of this zone can take over: {why}"
    member = configuration.get(target)
    if member is None:
        return f"Server {target} is not a member of this zone"
    who = f"Server {target} ({member.name})"
    if not member.voter:
        return f"{who} has no vote yet: it becomes a voter when it has caught up"
    if follower is None or follower.silence_seconds is None:
        return f"{who} has not answered this leader yet"
    if follower.silence_seconds > SILENCE_SECONDS_MAX:
        return f"{who} has not answered for {follower.silence_seconds:.1f} s"
    if follower.lag > LAG_ENTRIES_MAX:
        return f"{who} is too far behind: it lacks {follower.lag} entries, try again later"
    return ""


async def _new_leader(call: Call, target: ServerId, *, any_will_do: bool) -> int:
    """Who leads now that this server does not any more."""
    deadline = time.monotonic() + LEADER_KNOWN_SECONDS
    while (leader := call.front.status().leader_id) == NO_SERVER:
        if time.monotonic() >= deadline:
            raise lost("this server leads no more, and has not heard who does", writes=True)
        # The front has no event for this; it happens once in a hand-over.
        await asyncio.sleep(_POLL_SECONDS)
    if leader != target and not any_will_do:
        raise action(f"Server {leader} leads now: it was elected before server {target} was")
    return leader
