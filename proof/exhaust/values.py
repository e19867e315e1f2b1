"""One server as a value: everything that can influence what it does, and nothing else.

Times are not in it, see ``server``. Nor is what only reads and leases need.
"""

from __future__ import annotations

from typing import NamedTuple

from oned.raft.progress import Flow
from oned.raft.types import Configuration, Entry, HardState, Index, Role, ServerId, Term
from oned.raft.writes import Write
from proof.exhaust.disk import Disk
from proof.exhaust.post import (
    Naming,
    Post,
    renamed_configuration,
    renamed_entries,
    renamed_id,
)


class Core(NamedTuple):
    """``Raft``, without its log and leadership."""

    server_id: ServerId
    term: Term
    voted_for: ServerId
    role: Role
    leader_id: ServerId
    commit: Index
    applied: Index
    initialised: bool
    stored: HardState
    durable_hard_state: HardState
    durable: Index
    handed_out: Index
    under_way: Index | None
    truncate_from: Index | None
    may_campaign: bool
    pre_campaign: bool
    granted: tuple[ServerId, ...]
    messages: tuple[int, ...]
    after_write: tuple[int, ...]


class Tail(NamedTuple):
    """``Log``."""

    base: tuple[Index, Term]
    tail_from: Index
    last_before_tail: tuple[Index, Term]
    tail: tuple[Entry, ...]
    configurations: tuple[tuple[Index, Configuration], ...]


class Seen(NamedTuple):
    """``Progress``."""

    peer: ServerId
    next: Index
    match: Index
    flow: Flow
    probing: bool
    inflight: tuple[Index, ...]


class Office(NamedTuple):
    """``Leadership``."""

    term_start: Index
    transfer: tuple[ServerId, bool] | None
    seen: tuple[Seen, ...]


class Local(NamedTuple):
    """All of one server that can influence what it does.

    Attributes:
        write: the transaction that is made and not yet durable, its messages by number.
        images: the disk before each of the transactions that have not been synced.
        led: the terms that this server has ever led; kept through crashes, for the invariants.
    """

    core: Core
    log: Tail
    office: Office | None
    disk: Disk
    write: Write | None
    write_messages: tuple[int, ...]
    images: tuple[Disk, ...]
    led: tuple[Term, ...]

    def entries(self) -> tuple[Entry, ...]:
        """The log as the core sees it, behind its base."""
        first = self.log.base[0] + 1
        stored = [self.disk.entry(index) for index in range(first, self.log.tail_from)]
        return (*stored, *self.log.tail)


# --- the same server in a zone whose ids are dealt out otherwise --------------------------


def _renamed_hard_state(state: HardState, naming: Naming) -> HardState:
    return HardState(state.term, renamed_id(state.voted_for, naming))


def _renamed_disk(disk: Disk, naming: Naming) -> Disk:
    return disk._replace(
        hard_state=_renamed_hard_state(disk.hard_state, naming),
        base_configuration=renamed_configuration(disk.base_configuration, naming),
        log=renamed_entries(disk.log, naming),
        tables=renamed_entries(disk.tables, naming),
    )


def _renamed_core(core: Core, post: Post, naming: Naming) -> Core:
    return core._replace(
        server_id=renamed_id(core.server_id, naming),
        voted_for=renamed_id(core.voted_for, naming),
        leader_id=renamed_id(core.leader_id, naming),
        stored=_renamed_hard_state(core.stored, naming),
        durable_hard_state=_renamed_hard_state(core.durable_hard_state, naming),
        granted=tuple(sorted(renamed_id(server, naming) for server in core.granted)),
        messages=_renamed_messages(core.messages, post, naming),
        after_write=_renamed_messages(core.after_write, post, naming),
    )


def _renamed_messages(numbers: tuple[int, ...], post: Post, naming: Naming) -> tuple[int, ...]:
    return tuple(sorted(post.renamed(number, naming) for number in numbers))


def renamed(local: Local, post: Post, naming: Naming) -> Local:
    """This server's value if every server had its new id."""
    office, write = local.office, local.write
    if office is not None:
        transfer = office.transfer
        office = Office(
            office.term_start,
            None if transfer is None else (renamed_id(transfer[0], naming), transfer[1]),
            tuple(
                sorted(seen._replace(peer=renamed_id(seen.peer, naming)) for seen in office.seen)
            ),
        )
    if write is not None:
        hard_state = write.hard_state
        write = Write(
            None if hard_state is None else _renamed_hard_state(hard_state, naming),
            write.truncate_from,
            renamed_entries(write.entries, naming),
            write.apply_to,
            (),
        )
    configurations = tuple(
        (index, renamed_configuration(configuration, naming))
        for index, configuration in local.log.configurations
    )
    return Local(
        _renamed_core(local.core, post, naming),
        local.log._replace(
            tail=renamed_entries(local.log.tail, naming), configurations=configurations
        ),
        office,
        _renamed_disk(local.disk, naming),
        write,
        _renamed_messages(local.write_messages, post, naming),
        tuple(_renamed_disk(image, naming) for image in local.images),
        local.led,
    )
