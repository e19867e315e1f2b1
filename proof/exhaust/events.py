"""All that can happen to one server: arrivals, its timers and disk, its clients, its machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from oned.raft.messages import SnapshotOffer, VoteRequest
from oned.raft.progress import Flow
from oned.raft.types import Configuration, Index, Member, ServerId, Term
from proof.exhaust.bounds import Bounds, Cost
from proof.exhaust.disk import Disk
from proof.exhaust.post import Post, Snapshot, SnapshotEnded
from proof.exhaust.server import (
    AT_ELECTION,
    AT_HEARTBEAT,
    AT_ONCE,
    AT_TIMEOUT,
    LONG_AFTER,
    Server,
)
from proof.exhaust.values import Local, Seen


class Event(NamedTuple):
    """Something that can happen to a server.

    Attributes:
        act: does it to the server.
        entry: of a proposal, which one: it can be made when so many are left.
    """

    label: str
    cost: Cost
    act: Callable[[Server], object]
    entry: int = 0


def arrivals(post: Post, number: int) -> Iterator[Event]:
    """What the arrival of a message can be."""
    message = post.messages[number]
    match message:
        case Snapshot():
            yield Event("arrives", Cost.FREE, partial(_take_snapshot, message, number))
        case SnapshotEnded():
            yield Event(
                "arrives",
                Cost.FREE,
                lambda s: s.core.snapshot_ended(message.sender, message.index),
            )
        case VoteRequest():
            # Whether a leader was heard lately is for the receiver's clock to say.
            yield Event(
                "arrives, a leader heard lately",
                Cost.FREE,
                lambda s: s.core.receive(AT_ONCE, message),
            )
            yield Event(
                "arrives, no leader heard", Cost.FREE, lambda s: s.core.receive(LONG_AFTER, message)
            )
        case _:
            yield Event("arrives", Cost.FREE, lambda s: s.core.receive(AT_ONCE, message))


def happenings(local: Local, bounds: Bounds) -> Iterator[Event]:
    """What can happen without any message."""
    if bounds.batches:
        yield Event("has no more input for this write", Cost.FREE, Server.flush)
    if local.write is not None:
        yield Event("has its write on disk", Cost.FREE, Server.end_write)
    if bounds.crashes:
        for how, disk in _outcomes(local):
            yield Event(f"crashes and restarts{how}", Cost.CRASHES, partial(_crash, disk))
    if bounds.purges and local.write is None and local.disk.applied > local.disk.base[0]:
        yield Event("purges its log", Cost.PURGES, Server.purge)
    if local.office is not None:
        yield from _leading(local, bounds)
        for seen in local.office.seen:
            yield from _leading_peer(seen, bounds)
    elif local.core.may_campaign:
        yield Event(
            "has heard no leader until its election timer",
            Cost.ELECTIONS,
            lambda s: s.core.tick(AT_ELECTION),
        )


def _leading(local: Local, bounds: Bounds) -> Iterator[Event]:
    assert local.office is not None
    if bounds.heartbeats:
        yield Event("has a heartbeat due", Cost.HEARTBEATS, lambda s: s.core.tick(AT_HEARTBEAT))
    if local.log.configurations[-1][1].voters != {local.core.server_id}:
        yield Event("has heard no quorum", Cost.FREE, lambda s: s.core.tick(LONG_AFTER))
    if local.office.transfer is not None:
        yield Event("gives up its hand-over", Cost.FREE, lambda s: s.core.tick(AT_TIMEOUT))
    for entry in range(1, bounds.entries + 1):
        data = b"%d" % entry
        yield Event(f"takes proposal {entry}", Cost.ENTRIES, partial(_propose, data, None), entry)
    if bounds.changes:
        for label, configuration in _changes(local, bounds.servers):
            yield Event(label, Cost.CHANGES, partial(_propose, b"", configuration))


def _leading_peer(seen: Seen, bounds: Bounds) -> Iterator[Event]:
    peer = seen.peer
    if bounds.transfers:
        yield Event(
            f"hands over to s{peer}", Cost.TRANSFERS, lambda s: s.core.transfer(AT_ONCE, peer)
        )
    if bounds.breaks:
        yield Event(
            f"sees its connection to s{peer} break",
            Cost.BREAKS,
            lambda s: s.core.unreachable(peer),
        )
    if seen.flow is Flow.SNAPSHOT:
        yield Event(f"streams a snapshot to s{peer}", Cost.FREE, partial(_stream, peer))
        yield Event(
            f"sees its stream to s{peer} break",
            Cost.FREE,
            lambda s: s.core.snapshot_ended(peer, None),
        )


def _propose(data: bytes, configuration: Configuration | None, server: Server) -> None:
    server.core.propose([(data, configuration)])


def _crash(disk: Disk, server: Server) -> None:
    server.crash(disk)


def _outcomes(local: Local) -> list[tuple[str, Disk]]:
    """What a crash can leave: any prefix of the transactions since the last sync.

    A process that dies leaves all that was written; a machine that loses its power may lose
    what was not synced, and of transactions never an earlier one without the later.
    """
    found: dict[Disk, str] = {}
    lost = ""
    if local.write is not None:
        found[local.disk.after(local.write)] = ", its write kept"
        lost = ", its write lost"
    found.setdefault(local.disk, lost)
    for image in reversed(local.images):
        found.setdefault(image, f"{lost}, with what it had at {image.applied} applied")
    return [(how, disk) for disk, how in found.items()]


def _stream(peer: ServerId, server: Server) -> None:
    """As ``oned.node.snapshots``: what is applied here, in one piece."""
    core, disk = server.core, server.disk
    if not core.serving:
        return
    at = disk.applied
    term = disk.base[1] if at == disk.base[0] else disk.entry(at).term
    configuration = [c for index, c in disk.configurations() if index <= at][-1]
    snapshot = Snapshot(core.term, core.server_id, peer, at, term, configuration, disk.tables)
    server.sent.append(server.post.number(snapshot))


def _take_snapshot(snapshot: Snapshot, number: int, server: Server) -> None:
    """As ``oned.node.snapshots``: hear the leader first; install when no write is under way."""
    core = server.core
    if snapshot.term < core.term:
        return
    offer = SnapshotOffer(snapshot.term, snapshot.sender, snapshot.to, snapshot.index)
    if snapshot.term > core.term or server.write is not None:
        if snapshot.term > core.term:
            core.receive(AT_ONCE, offer)
        server.sent.append(number)  # it is still arriving
        return
    core.receive(AT_ONCE, offer)
    index = core.commit
    if snapshot.index >= core.commit:
        index = snapshot.index
        server.install(index, snapshot.index_term, snapshot.configuration, snapshot.tables)
    ended = SnapshotEnded(Term(0), snapshot.to, snapshot.sender, Index(index))
    server.sent.append(server.post.number(ended))


def _changes(local: Local, servers: int) -> Iterator[tuple[str, Configuration]]:
    """Every change of one member."""
    now = local.log.configurations[-1][1]
    for server in map(ServerId, range(servers)):
        member = now.get(server)
        if member is None:
            learner = Member(server, "", "", "")
            yield f"adds s{server} as a learner", now.with_member(learner)
        elif member.voter:
            yield f"removes s{server}", now.without(server)
            yield f"makes s{server} a learner", now.demoted(server)
        else:
            yield f"removes s{server}", now.without(server)
            yield f"makes s{server} a voter", now.promoted(server, "")
