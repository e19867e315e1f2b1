"""A server's value from its core, and its core from its value."""

from __future__ import annotations

from collections import deque

from oned.raft.leadership import Leadership, Transfer
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.messages import Message
from oned.raft.progress import Progress
from oned.raft.timing import NEVER
from oned.raft.types import Role
from oned.raft.writes import Write
from proof.exhaust.known import known
from proof.exhaust.post import Post
from proof.exhaust.server import AT_ELECTION, AT_HEARTBEAT, AT_TIMEOUT, OPTIONS, THAWED, Server
from proof.exhaust.values import Core, Local, Office, Seen, Tail


def freeze(server: Server) -> Local:
    """The value of a server, after an input."""
    core = known(server.core)
    writes = known(server.core.writes)
    office: Office | None = None
    if server.core.leadership is not None:
        office = _freeze_office(server.core.leadership)
        if server.core.term not in server.led:
            server.led = (*server.led, server.core.term)
    # Whose votes were granted matters to a candidate only; a new candidacy begins anew.
    standing = server.core.role is Role.CANDIDATE
    write = server.write
    return Local(
        Core(
            server_id=core["server_id"],
            term=core["term"],
            voted_for=core["voted_for"],
            role=core["role"],
            leader_id=core["leader_id"],
            commit=core["commit"],
            applied=core["applied"],
            initialised=core["initialised"],
            stored=writes["_stored_hard_state"],
            durable_hard_state=writes["_durable_hard_state"],
            durable=writes["durable"],
            handed_out=writes["_handed_out"],
            under_way=writes["_under_way"],
            truncate_from=writes["_truncate_from"],
            may_campaign=core["election_deadline"] != NEVER,
            pre_campaign=standing and core["pre_campaign"],
            granted=tuple(sorted(core["granted"])) if standing else (),
            messages=server.post.numbers(core["outbox"]),
            after_write=server.post.numbers(writes["messages"]),
        ),
        _freeze_log(server.core.log),
        office,
        server.disk,
        None if write is None else _without_messages(write),
        () if write is None else server.post.numbers(write.messages),
        server.images,
        server.led,
    )


def thaw(post: Post, local: Local) -> Server:
    """The server with this value."""
    server = Server(post, local.disk)
    server.images, server.led = local.images, local.led
    if local.write is not None:
        write, numbers = local.write, local.write_messages
        server.write = Write(
            write.hard_state,
            write.truncate_from,
            write.entries,
            write.apply_to,
            _messages(post, numbers),
        )
    value = local.core
    server.start(value.server_id)
    core = server.core
    log = _thaw_log(server, local.log)
    vars(core).update(
        term=value.term,
        voted_for=value.voted_for,
        log=log,
        initialised=value.initialised,
        role=value.role,
        leader_id=value.leader_id,
        commit=value.commit,
        applied=value.applied,
        election_deadline=AT_ELECTION if value.may_campaign else NEVER,
        pre_campaign=value.pre_campaign,
        granted=set(value.granted),
        outbox=list(_messages(post, value.messages)),
    )
    vars(core.writes).update(
        durable=value.durable,
        messages=list(_messages(post, value.after_write)),
        _stored_hard_state=value.stored,
        _durable_hard_state=value.durable_hard_state,
        _handed_out=value.handed_out,
        _under_way=value.under_way,
        _truncate_from=value.truncate_from,
    )
    if local.office is not None:
        core.leadership = _thaw_office(core, log, local.office)
    return server


def _without_messages(write: Write) -> Write:
    return Write(write.hard_state, write.truncate_from, write.entries, write.apply_to, ())


def _messages(post: Post, numbers: tuple[int, ...]) -> tuple[Message, ...]:
    found = []
    for number in numbers:
        message = post.messages[number]
        assert isinstance(message, Message)
        found.append(message)
    return tuple(found)


def _freeze_log(log: Log) -> Tail:
    found = known(log)
    return Tail(
        (found["base_index"], found["base_term"]),
        found["_tail_from"],
        found["_last_before_tail"],
        tuple(found["_tail"]),
        tuple(found["_configurations"]),
    )


def _thaw_log(server: Server, tail: Tail) -> Log:
    log = Log.__new__(Log)
    vars(log).update(
        _reader=server,
        base_index=tail.base[0],
        base_term=tail.base[1],
        _tail_from=tail.tail_from,
        _tail=list(tail.tail),
        _tail_bytes=0,
        _last_before_tail=tail.last_before_tail,
        _configurations=list(tail.configurations),
    )
    return log


def _freeze_office(leadership: Leadership) -> Office:
    found = known(leadership)
    transfer: Transfer | None = found["transfer"]
    return Office(
        found["term_start"],
        None if transfer is None else (transfer.to, transfer.told),
        tuple(
            Seen(peer, p.next, p.match, p.flow, p.probing, tuple(p.inflight))
            for peer, p in sorted(found["progress"].items())
        ),
    )


def _thaw_office(core: Raft, log: Log, office: Office) -> Leadership:
    leadership = Leadership(
        server_id=core.server_id,
        term=core.term,
        log=log,
        now=THAWED,
        heartbeat=OPTIONS.heartbeat,
    )
    transfer = office.transfer
    vars(leadership).update(
        next_heartbeat=AT_HEARTBEAT,
        term_start=office.term_start,
        progress={
            seen.peer: Progress(
                next=seen.next,
                match=seen.match,
                flow=seen.flow,
                probing=seen.probing,
                inflight=deque(seen.inflight),
            )
            for seen in office.seen
        },
        transfer=None if transfer is None else Transfer(transfer[0], AT_TIMEOUT, transfer[1]),
    )
    return leadership
