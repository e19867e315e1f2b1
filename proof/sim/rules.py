"""What must hold at every moment: looked at after every event of a server.

Each rule has a name, by which violations and mutants are told. The first violation ends a run.
"""

from __future__ import annotations

import sqlite3
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oned.raft.machine import Raft
from oned.raft.messages import AppendReply, VoteReply, VoteRequest
from oned.raft.types import Entry, Index, Role, ServerId
from oned.raft.writes import Write
from oned.transport import codec
from proof.sim.ledger import Ledger, digest
from proof.sim.network import GREETING_KINDS

if TYPE_CHECKING:
    from proof.sim.disk import Image
    from proof.sim.machine import Machine
    from proof.sim.world import World


INSTANT = 1e-6
"""Times that differ by less are equal: clocks are converted to and fro."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold, and what was seen."""

    rule: str
    text: str
    at: float

    def __str__(self) -> str:
        return f"{self.rule} at {self.at:.4f} s: {self.text}"


class Broken(Exception):
    """Raised at the first violation; ends the run."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


_Seen = tuple[Role, int, int, int, int]


class Rules:
    """The judge of one world."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self.ledger = ledger
        self.violation: Violation | None = None
        self._seen: dict[str, tuple[Raft, _Seen]] = {}
        self._counted: dict[tuple[int, ServerId], Index] = {}
        self._checked: dict[str, tuple[sqlite3.Connection | None, int | None]] = {}

    def broken(self, rule: str, text: str) -> None:
        """A rule does not hold.

        Raises:
            Broken: always; where a server's own code catches it, the world looks at ``violation``.
        """
        if self.violation is None:
            self.violation = Violation(rule, text, self._world.agenda.now)
        raise Broken(self.violation)

    # --- what a server's process does --------------------------------------------------

    def process_failed(self, name: str, error: BaseException) -> None:
        """An exception that nobody caught: no server may have one."""
        if not isinstance(error, Broken):
            self.broken("unhandled", f"{name}: {error!r} {_places(error)}")

    def server_failed(self, machine: Machine, error: BaseException) -> None:
        """A server says that it cannot go on, which trouble with its disk is no reason for."""
        if isinstance(error, Broken):
            raise error
        rule = "assertion" if isinstance(error, AssertionError) else "server fails"
        self.broken(rule, f"{machine.name}: {error!r} {_places(error)}")

    def crashed(self, machine: Machine) -> None:
        self._seen.pop(machine.name, None)
        self._checked.pop(machine.name, None)

    def observe(self, machine: Machine) -> None:
        """Look at a server, if anything about its core has changed."""
        if machine.node is None:
            return
        core = machine.node.core
        if core.leadership is not None:
            self._counts(core)
        seen = (core.role, core.term, core.commit, core.applied, core.log.last_index)
        before = self._seen.get(machine.name)
        if before is not None and before[0] is core and before[1] == seen:
            return
        self._seen[machine.name] = (core, seen)
        if core.role is Role.LEADER:
            self._leads(machine, core)
        led = before is not None and before[0] is core and before[1][:2] == (Role.LEADER, core.term)
        if core.role is Role.LEADER or led:  # one that commits its own removal leads no more
            self._commits(machine, core)
            self.ledger.acknowledge(self._world.agenda.now, core.applied)
        if core.commit > self.ledger.last_committed:
            self.broken(
                "commit is proven",
                f"{machine.name} commits {core.commit}, no leader more than"
                f" {self.ledger.last_committed}",
            )
        if core.applied > core.commit:
            self.broken("applied is committed", f"{machine.name}: {core.applied} > {core.commit}")
        self._is_as_fresh_as_it_says(machine, core)

    def _is_as_fresh_as_it_says(self, machine: Machine, core: Raft) -> None:
        """What was acknowledged before the bound on staleness must be in the server's tables."""
        now = self._world.agenda.now
        seconds = core.staleness(machine.clock.monotonic(now))
        if seconds is None:
            return
        shown = self.ledger.acknowledged_at(now - seconds / machine.clock.rate - INSTANT)
        if core.applied < shown:
            self.broken(
                "staleness is bounded",
                f"{machine.name} says {seconds:.4f} s and has applied {core.applied}, {shown} was"
                " acknowledged before",
            )

    def _leads(self, machine: Machine, core: Raft) -> None:
        first = self.ledger.leaders.get(core.term)
        if first == machine.name:
            return
        if first is not None:
            self.broken("one leader a term", f"term {core.term}: {first} and {machine.name}")
        self.ledger.leaders[core.term] = machine.name
        member = core.configuration.get(core.server_id)
        if member is None or not member.voter:
            self.broken("only a voter is elected", f"{machine.name} leads term {core.term}")
        voters = [m for m in core.configuration.members if m.voter]
        votes = self.ledger.votes
        others = sum(
            votes.get((m.disk, core.term)) == core.server_id for m in voters if m is not member
        )
        if 2 * (others + 1) <= len(voters):
            self.broken(
                "a majority elects", f"{machine.name} leads term {core.term} by {others + 1} votes"
            )
        self._world.note(f"{machine.name} leads term {core.term}")
        for index, (term, _) in self.ledger.committed.items():
            if term < core.term and index > core.log.base_index:
                if core.log.term_at(Index(index)) != term:
                    self.broken(
                        "leader completeness",
                        f"{machine.name} leads term {core.term} without entry {index} of {term}",
                    )

    def _counts(self, core: Raft) -> None:
        """What the newest leader counts on must be on its voters' disks, and equal to its log."""
        assert core.leadership is not None
        for peer, progress in core.leadership.progress.items():
            if progress.match <= self._counted.get((core.term, peer), 0):
                continue
            self._counted[core.term, peer] = progress.match
            if progress.match > core.log.last_index:
                self.broken(
                    "what counts is durable and equal",
                    f"the leader of {core.term} counts on {progress.match} at {peer}, and has"
                    f" {core.log.last_index} itself",
                )
            member, term = core.configuration.get(peer), core.log.term_at(progress.match)
            if member is None or not member.voter or term is None:
                continue
            image = self._world.machines[member.name].disk.durable
            newest = core.term == max(self.ledger.leaders, default=core.term)
            if newest and image.disk == member.disk and not image.holds(progress.match, term):
                self.broken(
                    "what counts is durable and equal",
                    f"the leader of {core.term} counts on {member.name} for"
                    f" {progress.match}/{term}, which ends at {image.last}",
                )

    def _commits(self, machine: Machine, core: Raft) -> None:
        """A leader's commit index: what is new must be durable on a quorum of its voters."""
        ledger = self.ledger
        if core.commit <= ledger.last_committed:
            return
        first = Index(ledger.last_committed + 1)
        entries: list[Entry] = []
        while first + len(entries) <= core.commit:
            found = core.log.slice(
                Index(first + len(entries)), core.commit - first - len(entries) + 1, 1 << 62
            )
            if not found:
                self.broken("commit is proven", f"{machine.name} commits {core.commit} unseen")
                return
            entries.extend(found)
        last = entries[-1]
        members = [m for m in core.configuration.members if m.voter]
        holding = {
            m.server_id
            for m in members
            if (image := self._world.machines[m.name].disk.durable).disk == m.disk
            and image.holds(last.index, last.term)
        }
        # Counted here, and not by the source that is judged.
        if 2 * len(holding) <= len(members):
            self.broken(
                "committed is durable on a quorum",
                f"{machine.name} commits {last.index} of term {last.term}, durable on"
                f" {sorted(holding)} of {[m.server_id for m in members]}",
            )
        if last.term != core.term:
            self.broken(
                "commits its own term", f"{machine.name} in {core.term}: {last.index}/{last.term}"
            )
        for entry in entries:
            ledger.commit(entry)
            named = [m.name for m in entry.configuration.members] if entry.configuration else []
            if len(named) > len(set(named)):
                self.broken("a server is a member once", f"{named} at {entry.index}")
        for other in self._world.machines.values():
            # A leader of a later term had to have it, if it was elected before this commit.
            if other.node is not None and other.node.core.role is Role.LEADER:
                if other.node.core.term > core.term and (
                    last.index > other.node.core.log.base_index
                    and other.node.core.log.term_at(last.index) != last.term
                ):
                    self.broken("leader completeness", f"{other.name} lacks {last.index}")

    # --- the database ------------------------------------------------------------------

    def before_write(self, machine: Machine, write: Write) -> None:
        """The driver is about to make this write."""
        self.observe(machine)
        ledger = self.ledger
        assert machine.node is not None
        facts = machine.node.store.facts
        if write.truncate_from is not None and write.truncate_from <= facts.applied:
            self.broken(
                "no truncation of what is applied",
                f"{machine.name} cuts from {write.truncate_from}, applied {facts.applied}",
            )
        if write.truncate_from is not None:
            first = write.truncate_from
            known = ledger.committed.get(first)
            if known is not None and machine.disk.newest.term_at(first) == known[0]:
                self.broken(
                    "no truncation of what is committed", f"{machine.name} cuts from {first}"
                )
        previous: int | None = None
        for entry in write.entries:
            if previous is None:
                at = entry.index - 1
                image = machine.disk.newest
                previous = image.term_at(at)
            stored = ledger.entries.get((entry.index, entry.term))
            content = zlib.crc32(entry.data)
            if stored is None:
                ledger.entries[entry.index, entry.term] = (content, previous or -1)
            elif stored[0] != content or (previous is not None and stored[1] not in (-1, previous)):
                self.broken(
                    "log matching", f"{machine.name}: two entries at {entry.index}/{entry.term}"
                )
            previous = entry.term

    def after_write(self, machine: Machine) -> None:
        """The write was made: what it applied must be what is committed."""
        assert machine.node is not None
        connection = machine.disk.connection
        assert connection is not None
        facts = machine.node.store.facts
        applied = facts.applied
        if not facts.initialised:
            return
        known_connection, before = self._checked.get(machine.name, (None, None))
        if known_connection is not connection:
            before = None
        if before is not None and applied <= before:
            return
        self._checked[machine.name] = (connection, applied)
        if applied > self.ledger.last_committed:
            self.broken("applied is committed", f"{machine.name} applied {applied}")
        for index, term, data in connection.query(
            f"SELECT log_index, term, sqlcmd FROM logdb WHERE log_index>{before or 0}"
            f" AND log_index<={applied}"
        ):
            known = self.ledger.committed.get(index)
            if known is not None and known != (term, zlib.crc32(data.encode())):
                self.broken("state machine safety", f"{machine.name} applied {index}/{term}")
        self.compare(machine, applied, since=before)

    def image_made(self, machine: Machine, before: Image, image: Image) -> None:
        """A commit on a machine's disk: of what is committed in the zone nothing leaves it."""
        if before.disk != image.disk:
            return
        committed = self.ledger.committed
        for index in range(image.last + 1, before.last + 1):
            if index in committed and before.term_at(index) == committed[index][0]:
                self.broken("what is committed stays", f"{machine.name} has lost {index}")
        if image.base != before.base and image.terms and image.base in committed:
            stored = self.ledger.entries.get((image.base + 1, image.terms[0]))
            if stored is not None and stored[1] not in (-1, committed[image.base][0]):
                self.broken("log matching", f"{machine.name}: behind {image.base}")

    def compare(self, machine: Machine, applied: int, since: int | None = None) -> None:
        """The server's tables must be the reference's at the same index.

        ``since`` is an index up to which they were compared before.
        """
        connection = machine.disk.connection
        assert connection is not None
        for table, expected in self.ledger.reference.at(applied, since).items():
            if digest(connection, table) != expected:
                self.broken("equal tables at equal index", f"{machine.name}: {table} at {applied}")

    # --- what is said --------------------------------------------------------------------

    def frame_sent(self, name: str, data: bytes) -> None:
        """A frame leaves a server: what it claims must be durable there."""
        if data[0] in GREETING_KINDS or name not in self._world.machines:
            return
        machine = self._world.machines[name]
        image = machine.disk.durable
        message = codec.decode(data)
        if getattr(message, "term", 0) > image.term and not getattr(message, "pre", False):
            self.broken(
                "what is said is of a durable term",
                f"{name} says {message}, durable is term {image.term}",
            )
        match message:
            case VoteReply(granted=True, pre=False) as reply:
                self._vote(machine, reply.term, reply.to)
            case VoteRequest(pre=False) as request:
                self._vote(machine, request.term, request.sender)
            case AppendReply(success=True) as reply if reply.index > image.last:
                self.broken(
                    "said is durable",
                    f"{name} acknowledges {reply.index}, durable {image.last}",
                )

    def _vote(self, machine: Machine, term: int, candidate: ServerId) -> None:
        image = machine.disk.durable
        if image.term < term or (image.term == term and image.voted_for != candidate):
            self.broken(
                "a vote is durable before it is said",
                f"{machine.name} votes for {candidate} in {term}, durable"
                f" {image.voted_for} in {image.term}",
            )
        first = self.ledger.votes.setdefault((image.disk, term), candidate)
        if first != candidate:
            self.broken("one vote a term", f"{machine.name} in {term}: {first} and {candidate}")


def _places(error: BaseException) -> str:
    """Where an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "in " + ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
