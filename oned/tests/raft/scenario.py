"""Interprets a scenario: commands to a zone of shipped cores go in, a transcript comes out.

A scenario is a text file. Prose lines start with ``#``; the first says the promise, the one
that starts with ``# source:`` where it comes from. A line ``> command`` is carried out, and
the indented lines below it are what was seen. Nothing happens by itself: time moves, and
messages arrive, only by command. Disks write at once unless ``slow`` says otherwise.

    zone 3 [2]               three voters (and two learners), s1, s2 …; index 1 is the bootstrap
    log s1 1 1 4             what s1 has stored from index 2 on, by terms, before it starts
    hard s1 3 [s2]           its stored term, and whom it voted for
    blank s3                 an uninitialised database
    chance 0.2               the random part of election timeouts drawn from now on
    begin 1700000000         what the clock shows, before there is a zone
    due s1                   in how many seconds its deadline comes
    wait 0.5                 only the clock moves
    tick s1                  s1's own deadline comes (election or heartbeat)
    now s1                   s1 ticks at the present time
    elect s1                 its deadline comes and everything is delivered, untold
    beat s1 1.8              so long s1 goes on leading, every heartbeat delivered, untold
    propose s1 x y           change s1 add|learn|promote|demote|remove s4
    deliver s1>s2 [append]   also s1>, >s2, all: what is in flight there; then drop, twice, hold
    say s1>s2 2 2/1 3        a heartbeat by hand: term, after, commit
    release                  what was held back is in flight again, last
    reverse                  what is in flight arrives in the opposite order
    stabilize [quiet]        deliver until nothing is in flight
    slow s1, write s1, fast s1   its writes wait; the one under way is durable; no more waiting
    crash s1 [written]       a write under way is lost, or just made it; restart s1
    cut s1>s2 / cut s1 / heal   one direction, or all of s1's links
    transfer s1 [s2], stepdown s1, unreachable s1 s2, read s1, proven s1, serving s1
    ask s3                   a read on a follower joins those that wait for the leader's word
    reads s3                 what became of each of them
    stale s3                 how old its tables can be
    lease s1                 whether it may answer a read without asking anybody
    compact s1 4, reset s1 s2, snapshot s1>s2 [4]   up to what s1 has applied, or to an index
    caught s1 s4 1           whether s4's log ends less than so many entries before s1's
    forget s1 s4             what s4 acknowledged is void: it has another disk
    server s4                a new machine with an uninitialised database, in no configuration
    state [s1], network
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scenario_stage import Stage, at, name, runs, server_id_of, shown
from world import BASE, Disk, Server

from oned.raft.errors import RaftError
from oned.raft.messages import AppendRequest
from oned.raft.types import (
    NO_SERVER,
    Configuration,
    Entry,
    HardState,
    Index,
    Member,
    Role,
    ServerId,
    Term,
)


class Commands(Stage):
    """What a scenario can say; each command returns the lines it shows."""

    def run(self, command: str) -> list[str]:
        verb, *words = command.split()
        method: Callable[..., list[str] | None] | None = getattr(self, f"do_{verb}", None)
        assert method is not None, f"no such command: {command}"
        try:
            lines = method(*words) or []
        except RaftError as error:
            lines = [f"refused: {type(error).__name__}"]
        self.settle()
        self.check()
        return lines

    # --- the zone and its disks ----------------------------------------------------

    def do_zone(self, voters: str, learners: str = "0") -> None:
        count = int(voters)
        members = tuple(
            Member(ServerId(i), name(i), "", "", f"disk-{i}", voter=i <= count)
            for i in range(1, count + int(learners) + 1)
        )
        for member in members:
            disk = Disk(Configuration(members))
            self.servers[member.server_id] = Server(self, member.server_id, disk)  # type: ignore[arg-type]

    def do_server(self, word: str) -> None:
        """A new machine, in no configuration yet, with an uninitialised database."""
        disk = Disk(Configuration(), initialised=False)
        self.servers[server_id_of(word)] = Server(self, server_id_of(word), disk)  # type: ignore[arg-type]

    def do_log(self, word: str, *terms: str) -> None:
        server = self.server(word)
        for index, term in enumerate(terms, start=BASE + 1):
            data = f"{index}/{term}".encode()
            server.disk.log[Index(index)] = Entry(Index(index), Term(int(term)), data)
        server.disk.hard_state = HardState(Term(max(int(t) for t in terms)))
        server.start()

    def do_hard(self, word: str, term: str, vote: str = "") -> None:
        voted_for = server_id_of(vote) if vote else NO_SERVER
        self.server(word).disk.hard_state = HardState(Term(int(term)), voted_for)
        self.server(word).start()

    def do_blank(self, word: str) -> None:
        server = self.server(word)
        server.disk = Disk(Configuration(), initialised=False)
        server.start()

    def do_slow(self, word: str) -> None:
        self.slow.add(server_id_of(word))

    def do_write(self, word: str) -> list[str]:
        server = self.server(word)
        write = server.under_way
        assert write is not None, f"{word} writes nothing"
        done = [word, "wrote"]
        if write.hard_state is not None:
            done.append(f"term={write.hard_state.term} vote={name(write.hard_state.voted_for)}")
        if write.truncate_from is not None:
            done.append(f"cut={write.truncate_from}")
        if write.entries:
            done.append(f"entries=[{runs([(e.index, e.term) for e in write.entries])}]")
        done.append(f"apply={write.apply_to}")
        server.finish_write()
        return [" ".join(done), *(shown(m) for m in write.messages)]

    def do_fast(self, word: str) -> None:
        self.slow.discard(server_id_of(word))

    def do_crash(self, word: str, written: str = "") -> None:
        server = self.server(word)
        if written and server.under_way is not None:
            server.disk.write(server.under_way)
        self.down.add(server.server_id)

    def do_restart(self, word: str) -> list[str]:
        self.down.discard(server_id_of(word))
        self.server(word).start()
        return [self.state(self.server(word))]

    # --- time ----------------------------------------------------------------------

    def do_begin(self, seconds: str) -> None:
        self.now = float(seconds)

    def do_due(self, word: str) -> list[str]:
        seconds = self.server(word).core.deadline() - self.now
        return [f"{word} in {seconds:.2f} s" if seconds < float("inf") else f"{word} waits"]

    def do_chance(self, value: str) -> None:
        self.random.value = float(value)

    def do_wait(self, seconds: str) -> None:
        self.now += float(seconds)

    def do_tick(self, word: str) -> list[str]:
        deadline = self.server(word).core.deadline()
        if deadline == float("inf"):
            return [f"{word} waits for ever"]
        self.now = max(self.now, deadline)
        return self.do_now(word)

    def do_now(self, word: str) -> list[str]:
        server = self.server(word)
        before = server.core.role
        server.core.tick(self.now)
        self.settle()
        after = server.core.role
        return [f"{word} {after.name.lower()} term={server.core.term}"] if after != before else []

    def do_beat(self, word: str, seconds: str) -> None:
        """The leader goes on as usual: each heartbeat is sent, delivered and answered."""
        server, end = self.server(word), self.now + float(seconds)
        while server.core.role is Role.LEADER and server.core.deadline() <= end:
            self.do_tick(word)
            list(self.stabilize())
        self.now = end

    def do_elect(self, word: str) -> list[str]:
        self.do_tick(word)
        self.settle()
        list(self.stabilize())
        return [self.state(self.server(word))]

    # --- the network ---------------------------------------------------------------

    def do_deliver(self, *words: str) -> list[str]:
        return [self.arrive(message) for message in self.chosen(words)]

    def do_drop(self, *words: str) -> list[str]:
        chosen = self.chosen(words)
        for message in chosen:
            self.take(message)
        return [f"{shown(m)} (lost)" for m in chosen]

    def do_twice(self, *words: str) -> None:
        self.network.extend(replace(m) for m in self.chosen(words))

    def do_hold(self, *words: str) -> list[str]:
        chosen = self.chosen(words)
        self.held.extend(chosen)
        for message in chosen:
            self.take(message)
        return [f"{shown(m)} (held back)" for m in chosen]

    def do_release(self) -> None:
        self.network.extend(self.held)
        self.held = []

    def do_reverse(self) -> None:
        self.network.reverse()

    def do_stabilize(self, quiet: str = "") -> list[str]:
        lines = list(self.stabilize())
        return [] if quiet else lines

    def do_say(self, link: str, term: str, after: str, commit: str) -> None:
        sender, to = (server_id_of(word) for word in link.split(">"))
        index, of = (int(number) for number in after.split("/"))
        self.network.append(
            AppendRequest(
                Term(int(term)), sender, to, Index(index), Term(of), (), Index(int(commit)), round=1
            )
        )

    def do_network(self) -> list[str]:
        return [shown(m) for m in self.network] or ["nothing in flight"]

    def do_cut(self, word: str) -> None:
        sender, arrow, to = word.partition(">")
        if arrow:
            self.cuts.add((server_id_of(sender), server_id_of(to)))
            return
        me = server_id_of(word)
        self.cuts |= {p for other in self.servers for p in ((me, other), (other, me))}

    def do_heal(self) -> None:
        self.cuts = set()

    # --- requests to a leader ------------------------------------------------------

    def do_propose(self, word: str, *data: str) -> list[str]:
        first = self.server(word).core.propose([(d.encode(), None) for d in data])
        return [f"{word} appended {at(first, self.server(word).core.term)}"]

    def do_change(self, word: str, what: str, whom: str) -> list[str]:
        core = self.server(word).core
        peer, now = server_id_of(whom), core.configuration
        after = {
            "add": lambda: now.with_member(Member(peer, whom, "", "", "", voter=True)),
            "learn": lambda: now.with_member(Member(peer, whom, "", "", "")),
            "promote": lambda: now.promoted(peer, f"disk-{peer}"),
            "demote": lambda: now.demoted(peer),
            "remove": lambda: now.without(peer),
        }[what]()
        index = core.propose([(b"", after)])
        voters = " ".join(name(v) for v in sorted(after.voters))
        return [f"{word} appended {at(index, core.term)}: voters {voters}"]

    def do_transfer(self, word: str, whom: str = "") -> list[str]:
        to = server_id_of(whom) if whom else None
        return [f"{word} hands over to {name(self.server(word).core.transfer(self.now, to))}"]

    def do_stepdown(self, word: str) -> None:
        self.server(word).core.step_down(self.now)

    def do_unreachable(self, word: str, peer: str) -> None:
        self.server(word).core.unreachable(server_id_of(peer))

    def do_read(self, word: str) -> list[str]:
        core = self.server(word).core
        if core.lease_read(self.now):
            return ["answered by lease"]
        round_, index = core.read_round(self.now)
        return [f"waits for round {round_} at index {index}"]

    def do_ask(self, word: str) -> list[str]:
        server = self.server(word)
        tickets = self.tickets.setdefault(server.server_id, [])
        tickets.append(server.core.read_index(self.now))
        return [f"read {len(tickets)} waits"]

    def do_reads(self, word: str) -> list[str]:
        server = self.server(word)
        outcomes = {True: "may go on", False: "was given up", None: "waits"}
        return [
            f"read {count} {outcomes[server.core.reads.outcome(ticket)]}"
            for count, ticket in enumerate(self.tickets.get(server.server_id, []), start=1)
        ]

    def do_stale(self, word: str) -> list[str]:
        seconds = self.server(word).core.staleness(self.now)
        return ["unknown" if seconds is None else f"{seconds:.2f} s at most"]

    def do_proven(self, word: str) -> list[str]:
        leadership = self.server(word).core.leadership
        return [f"round {leadership.quorum_round}" if leadership else "does not lead"]

    def do_serving(self, word: str) -> list[str]:
        return ["serving" if self.server(word).core.serving else "not serving"]

    def do_lease(self, word: str) -> list[str]:
        leased = self.server(word).core.lease_read(self.now)
        return [f"{word} holds a lease" if leased else f"{word} must ask"]

    def do_caught(self, word: str, peer: str, entries: str) -> list[str]:
        caught = self.server(word).core.caught_up(server_id_of(peer), int(entries))
        return [f"{peer} has caught up" if caught else f"{peer} is behind"]

    def do_forget(self, word: str, peer: str) -> None:
        self.server(word).core.forget_progress(server_id_of(peer))

    # --- snapshots -----------------------------------------------------------------

    def do_compact(self, word: str, index: str) -> None:
        server = self.server(word)
        to = Index(int(index))
        assert to <= server.disk.applied, "only what is applied may be purged"
        term = server.core.log.term_at(to)
        assert term is not None
        server.core.log.compact(to, term)
        server.disk.base = (to, term)
        server.disk.base_configuration = server.core.log.configuration_at(to)
        server.disk.log = {i: e for i, e in server.disk.log.items() if i > to}

    def do_reset(self, word: str, peer: str) -> None:
        self.server(word).core.force_snapshot(server_id_of(peer))

    def do_snapshot(self, link: str, to: str = "") -> list[str]:
        giver, taker = (self.server(word) for word in link.split(">"))
        assert taker.server_id in giver.core.snapshots_wanted(), f"{link} is not wanted"
        index = Index(int(to)) if to else giver.disk.applied
        assert taker.disk.applied <= index <= giver.disk.applied
        term = giver.core.log.term_at(index)
        assert term is not None
        configuration = giver.core.log.configuration_at(index)
        kept = taker.core.log.term_at(index) == term
        taker.disk.log = {i: e for i, e in taker.disk.log.items() if kept and i > index}
        taker.disk.base, taker.disk.base_configuration = (index, term), configuration
        rows = giver.disk.tables[: len(giver.disk.tables) - (giver.disk.applied - index)]
        taker.disk.applied, taker.disk.tables = index, rows
        taker.disk.initialised = True
        taker.core.installed(self.now, index, term, configuration)
        giver.core.snapshot_ended(taker.server_id, index)
        return [f"{link} snapshot {at(index, term)}"]

    # --- looking -------------------------------------------------------------------

    def do_state(self, *words: str) -> list[str]:
        servers = [self.server(w) for w in words] or list(self.servers.values())
        return [self.state(s) for s in servers]


def replay(text: str) -> str:
    """The scenario with the transcript that the shipped core makes now."""
    commands, lines = Commands(), []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            try:
                lines += [f"    {seen}" for seen in commands.run(line[2:])]
            except AssertionError as error:
                raise AssertionError(f"{line}: {error}") from error
        elif not line.startswith("    "):
            lines.append(line)
    return "\n".join(lines) + "\n"
