"""When an entry is committed: on whose disks it is, and who proves it."""

from __future__ import annotations

from proof.mutants.faults import FOLLOWING, LEADERSHIP, LEADING, STATE, WRITES, WRITING
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "commits-before-it-is-verified",
        "A request commits no further than it proves equal.",
        (
            Edit(
                FOLLOWING,
                "def on_append_request(state: State, request: AppendRequest) -> None:\n",
                "def on_append_request(state: State, request: AppendRequest) -> None:\n"
                "    state.commit_to(min(request.commit, state.log.last_index))\n",
            ),
        ),
        defect="N1",
    ),
    Mutant(
        "committed-by-counting",
        "An entry of a former term is committed by one of this term, never by counting.",
        (Edit(LEADING, " or state.log.term_at(index) != state.term:", ":"),),
        defect="N2",
    ),
    Mutant(
        "no-no-op",
        "A leader commits what it inherits without waiting for the next write.",
        (
            Edit(
                LEADING,
                "    state.log.append([Entry(state.leadership.term_start, state.term)])\n",
                "    state.leadership.term_start = state.log.last_index\n",
            ),
        ),
        defect="N2",
    ),
    Mutant(
        "own-entry-counts-before-it-is-durable",
        "The leader's own copy counts once it is synced.",
        (
            Edit(
                WRITES,
                "self._handed_out = self._under_way = log.last_index",
                "self._handed_out = self._under_way = self.durable = log.last_index",
            ),
        ),
    ),
    Mutant(
        "acknowledged-before-it-is-durable",
        "A follower acknowledges what it has synced.",
        (
            Edit(
                WRITING,
                "        if not write.must_sync:\n",
                "        node.post.send([m for m in write.messages if hasattr(m, 'hint_term')])\n"
                "        if not write.must_sync:\n",
            ),
        ),
    ),
    Mutant(
        "entries-written-but-not-synced",
        "A write with entries is synced.",
        (
            Edit(
                WRITES,
                "return self.hard_state is not None or bool(self.entries) or"
                " self.truncate_from is not None",
                "return self.hard_state is not None",
            ),
        ),
    ),
    Mutant(
        "nothing-is-synced",
        "What was acknowledged survives a loss of power.",
        (Edit(WRITING, "        self._node.store.sync()\n", ""),),
    ),
    Mutant(
        "learner-counts-for-the-quorum",
        "Entries are committed by voters.",
        (
            Edit(
                LEADERSHIP,
                "return Index(quorum.reached(matched, voters))",
                "return Index(quorum.reached(matched, frozenset(matched)))",
            ),
        ),
    ),
    Mutant(
        "one-copy-is-enough",
        "An entry is committed when it is on a majority's disks.",
        (
            Edit(
                LEADERSHIP,
                "return Index(quorum.reached(matched, voters))",
                "return Index(max(matched.values()))",
            ),
        ),
    ),
    Mutant(
        "restart-commits-the-whole-log",
        "A server that restarts does not know more to be committed than it has applied.",
        (Edit(STATE, "        self.commit = applied\n", "        self.commit = log.last_index\n"),),
    ),
    Mutant(
        "commit-goes-back",
        "What is committed stays so.",
        (
            Edit(
                STATE,
                "        self.commit = max(self.commit, index)\n",
                "        self.commit = index\n",
            ),
        ),
    ),
)
