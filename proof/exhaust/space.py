"""The zone: servers, a network, what is left of the budgets, and history. States are five
or so small numbers; a transition is a few look-ups in what single servers were seen to do.
"""

from __future__ import annotations

from itertools import combinations, groupby, permutations, product

from oned.raft.quorum import majority
from oned.raft.types import ServerId
from proof.exhaust.bounds import UNCOUNTED, Bounds, Cost
from proof.exhaust.disk import Disk
from proof.exhaust.freezing import freeze
from proof.exhaust.invariants import (
    Committed,
    History,
    holds,
    wrong_between,
    wrong_with_history,
)
from proof.exhaust.post import Naming, Post, renamed_entry
from proof.exhaust.server import Server
from proof.exhaust.starts import FIRST, STARTS
from proof.exhaust.steps import Servers, Step

Network = tuple[int, ...]
"""Messages in flight that will arrive some day, sorted."""


State = tuple[tuple[int, ...], Network, tuple[int, ...], int]
"""One state of the zone: each server's value by number, at its id; the messages in flight; the
budgets left; the number of the history of what was ever committed."""

Move = tuple[State, int, Step, int | None]
"""A transition: the state before it is brought to its canonical form, whose step it was, the step,
and the message that arrived."""


class Space:
    """All that a search knows of one zone under its bounds.

    Args:
        reduce: False to search without symmetry and with messages that can do nothing, for tests.
    """

    def __init__(self, bounds: Bounds, *, reduce: bool = True) -> None:
        self.bounds = bounds
        self.reduce = reduce
        self.post = Post()
        self.servers = Servers(bounds, self.post)
        self.histories: list[History] = []
        self._history_numbers: dict[History, int] = {}
        self._renamed_histories: dict[tuple[int, Naming], int] = {}
        self._wrong: dict[tuple[tuple[int, ...], int], str | None] = {}
        self._between: dict[tuple[int, int], str | None] = {}
        self._with_history: dict[tuple[int, int], tuple[str | None, bool]] = {}
        self._spending: dict[tuple[tuple[int, ...], Cost], tuple[int, ...]] = {}
        self._commits = self.servers.commits
        self._lasts: list[int] = []
        self._namings: dict[tuple[int, ...], tuple[tuple[tuple[int, ...], Naming], ...]] = {}
        self._same = tuple(range(bounds.servers))

    def start(self) -> State:
        disks = STARTS[self.bounds.start](self.bounds.servers)
        servers = tuple(self._started(server, disk) for server, disk in enumerate(disks))
        return servers, (), self.bounds.budgets, self.history(())

    def _started(self, server_id: int, disk: Disk) -> int:
        server = Server(self.post, disk)
        server.start(ServerId(server_id))
        return self.servers.number(freeze(server))

    def history(self, history: History) -> int:
        found = self._history_numbers.get(history)
        if found is None:
            found = self._history_numbers[history] = len(self.histories)
            self.histories.append(history)
            self._lasts.append(FIRST - 1 + len(history))
        return found

    # --- transitions -----------------------------------------------------------------

    def moves(self, state: State) -> list[Move]:
        """All that can happen next; what can happen in no other way than before is left out."""
        servers, network, budgets, _ = state
        found: list[Move] = []
        for position, number in enumerate(servers):
            for step in self.servers.happenings(number):
                cost = step.cost
                left = budgets
                if cost is not Cost.FREE:
                    has = budgets[cost]
                    if has == 0 or (cost is Cost.ENTRIES and has != step.entry):
                        continue
                    if has != UNCOUNTED:
                        left = self._spent(budgets, cost)
                self._join(found, state, position, step, network, left, None)
        duplicates = budgets[Cost.DUPLICATES]
        to, arrivals = self.post.to, self.servers.arrivals
        before = -1
        for at, message in enumerate(network):
            if message == before:
                continue  # the same message twice: either may arrive first
            before = message
            position = to[message]
            for step in arrivals(servers[position], message):
                rest = network[:at] + network[at + 1 :]
                self._join(found, state, position, step, rest, budgets, message)
                if duplicates:
                    left = self._spent(budgets, Cost.DUPLICATES)
                    self._join(found, state, position, step, network, left, message)
        return found

    def _spent(self, budgets: tuple[int, ...], cost: Cost) -> tuple[int, ...]:
        found = self._spending.get((budgets, cost))
        if found is None:
            left = (*budgets[:cost], budgets[cost] - 1, *budgets[cost + 1 :])
            found = self._spending[budgets, cost] = left
        return found

    def _join(  # noqa: PLR0917 - the inner loop: keywords would cost a tenth of the time
        self,
        found: list[Move],
        state: State,
        position: int,
        step: Step,
        network: Network,
        budgets: tuple[int, ...],
        message: int | None,
    ) -> None:
        """Put a server's step into the zone; each choice of messages that are lost is a move."""
        servers, _, _, history = state
        _, _, number, sent, wrong, _ = step
        if wrong is not None:
            found.append((state, position, step, message))
            return
        if not budgets[Cost.CRASHES] and self.bounds.crashes:
            number = self.servers.settled(number)
            if step.cost is Cost.CRASHES:
                servers = tuple([self.servers.settled(server) for server in servers])
        after = (*servers[:position], number, *servers[position + 1 :])
        if self._commits[number] > self._lasts[history]:
            history = self._extended(history, servers[position], number)
        if self.reduce:
            to, is_dead = self.post.to, self.servers.is_dead
            if sent:
                sent = tuple([m for m in sent if not is_dead(after[to[m]], m)])
            if network and number != servers[position]:
                for m in network:
                    if to[m] == position and is_dead(number, m):
                        network = tuple(
                            [m for m in network if to[m] != position or not is_dead(number, m)]
                        )
                        break
        if sent:
            network = tuple(sorted(network + sent))
        bound = self.bounds.messages
        if len(network) <= bound:
            found.append(((after, network, budgets, history), position, step, message))
            return
        # A message that is lost later is one that never arrives: it is lost here and now.
        found.extend(
            ((after, kept, budgets, history), position, step, message)
            for kept in set(combinations(network, bound))
        )

    def _extended(self, number: int, before: int, after: int) -> int:
        """History, when a leader has committed something that nobody had."""
        local = self.servers.locals[after]
        history = self.histories[number]
        last = self._lasts[number]
        if self.servers.locals[before].office is None:
            return number  # nobody commits for the first time but a leader: ``wrong`` will tell
        entries = {entry.index: entry for entry in local.entries()}
        voters = tuple(sorted(local.log.configurations[-1][1].voters))
        new = [
            Committed(entries[index], local.core.term, voters)
            for index in sorted(entries)
            if last < index <= local.core.commit
        ]
        return self.history((*history, *new))

    # --- symmetry --------------------------------------------------------------------

    def canonical(self, state: State) -> State:
        """The one of all states that differ only in how ids are dealt out."""
        if not self.reduce:
            return state
        servers, network, budgets, history = state
        namings = self._namings.get(servers)
        if namings is None:
            namings = self._namings[servers] = self._canonical_namings(servers)
        if len(namings) == 1:
            renamed_servers, naming = namings[0]
            if naming is self._same:
                return renamed_servers, network, budgets, history
            if network:
                network = self._renamed_network(network, naming)
            if history:
                history = self._renamed_history(history, naming)
            return renamed_servers, network, budgets, history
        # Servers that are alike: what is in flight decides who is who.
        return min(
            (
                renamed_servers,
                self._renamed_network(network, naming),
                budgets,
                self._renamed_history(history, naming),
            )
            for renamed_servers, naming in namings
        )

    def _renamed_network(self, network: Network, naming: Naming) -> Network:
        renamed = self.post.renamed
        return tuple(sorted([renamed(message, naming) for message in network]))

    def _canonical_namings(
        self, servers: tuple[int, ...]
    ) -> tuple[tuple[tuple[int, ...], Naming], ...]:
        """The canonical order of these servers; several when some of them are alike."""
        kinds = self.servers.kinds
        order = sorted(self._same, key=lambda position: kinds[servers[position]])
        runs = [list(run) for _, run in groupby(order, key=lambda p: kinds[servers[p]])]
        found = []
        for choice in product(*(permutations(run) for run in runs)):
            names = [0] * len(servers)
            for new, old in enumerate(old for run in choice for old in run):
                names[old] = new
            naming = self._same if tuple(names) == self._same else tuple(names)
            renamed_servers = [0] * len(servers)
            for old, new in enumerate(naming):
                renamed_servers[new] = self.servers.renamed(servers[old], naming)
            found.append((tuple(renamed_servers), naming))
        first = min(renamed_servers for renamed_servers, _ in found)
        return tuple(
            (first, naming) for renamed_servers, naming in found if renamed_servers == first
        )

    def _renamed_history(self, number: int, naming: Naming) -> int:
        found = self._renamed_histories.get((number, naming))
        if found is None:
            found = self._renamed_histories[number, naming] = self.history(
                tuple(
                    Committed(
                        renamed_entry(entry, naming),
                        term,
                        tuple(sorted(ServerId(naming[voter]) for voter in voters)),
                    )
                    for entry, term, voters in self.histories[number]
                )
            )
        return found

    # --- what must hold --------------------------------------------------------------

    def wrong(self, state: State) -> str | None:
        """The first promise that does not hold in a state; the network promises nothing."""
        key = (state[0], state[3])
        if key not in self._wrong:
            self._wrong[key] = self._find_wrong(*key)
        return self._wrong[key]

    def _find_wrong(self, numbers: tuple[int, ...], number_of_history: int) -> str | None:
        for one, other in combinations(numbers, 2):
            if (one, other) not in self._between:
                locals_ = self.servers.locals
                self._between[one, other] = wrong_between(locals_[one], locals_[other])
            if found := self._between[one, other]:
                return found
        history = self.histories[number_of_history]
        holding = set()
        for position, number in enumerate(numbers):
            known = self._with_history.get((number, number_of_history))
            if known is None:
                local = self.servers.locals[number]
                known = self._with_history[number, number_of_history] = (
                    wrong_with_history(local, history, FIRST),
                    holds(local, history, FIRST),
                )
            if known[0] is not None:
                return known[0]
            if known[1]:
                holding.add(position)
        if history:
            voters = history[-1].voters
            if len(holding.intersection(voters)) < majority(len(voters)):
                return (
                    f"durability: entry {FIRST - 1 + len(history)} is committed and on the disks"
                    f" of {sorted(holding)} only"
                )
        return None
