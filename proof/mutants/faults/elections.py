"""Who may lead: votes, terms, and who is protected from whom."""

from __future__ import annotations

from proof.mutants.faults import (
    ELECTIONS,
    FACTS,
    FOLLOWING,
    LEADING,
    LOG,
    MACHINE,
    QUORUM,
    STATE,
    WRITES,
    WRITING,
)
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "several-votes-a-term",
        "A server gives one vote in a term.",
        (
            Edit(
                ELECTIONS,
                "free = request.pre or state.voted_for in (NO_SERVER, request.sender)",
                "free = True",
            ),
        ),
    ),
    Mutant(
        "vote-forgotten-within-its-term",
        "A server keeps its vote to the end of the term, whatever became of the candidacy.",
        (
            Edit(
                ELECTIONS,
                "    state.pre_campaign = pre\n",
                "    state.pre_campaign = pre\n    if pre:\n        state.voted_for = NO_SERVER\n",
            ),
            Edit(
                FOLLOWING,
                "    state.leader_id = leader\n",
                "    state.leader_id = leader\n    state.voted_for = NO_SERVER\n",
            ),
        ),
        defect="N9",
    ),
    Mutant(
        "vote-not-stored",
        "A server that restarts knows whom it voted for.",
        (
            Edit(
                FACTS,
                "self._replace(term=hard_state.term, voted_for=hard_state.voted_for)",
                "self._replace(term=hard_state.term, voted_for=NO_SERVER)",
            ),
        ),
    ),
    Mutant(
        "term-not-stored",
        "A server that restarts knows which terms there have been.",
        (
            Edit(
                FACTS,
                "self._replace(term=hard_state.term, voted_for=hard_state.voted_for)",
                "self._replace(voted_for=hard_state.voted_for)",
            ),
        ),
    ),
    Mutant(
        "vote-said-before-it-is-durable",
        "A vote is on disk before anybody hears of it.",
        (
            Edit(
                WRITING,
                "        if not write.must_sync:\n",
                "        node.post.send([m for m in write.messages if not hasattr(m, 'success')])\n"
                "        if not write.must_sync:\n",
            ),
        ),
    ),
    Mutant(
        "vote-written-but-not-synced",
        "Term and vote are synced, like entries.",
        (
            Edit(
                WRITES,
                "return self.hard_state is not None or bool(self.entries)",
                "return bool(self.entries)",
            ),
        ),
    ),
    Mutant(
        "term-said-before-it-is-durable",
        "A leader sends nothing in a term that it could forget, and win again with other entries.",
        (
            Edit(
                MACHINE,
                "if not self.writes.is_durable(self._hard_state):",
                "if self.term < 0:",
            ),
        ),
    ),
    Mutant(
        "term-not-raised",
        "A candidate stands for a term of its own.",
        (
            Edit(
                ELECTIONS,
                "state.term, state.voted_for = Term(state.term + 1), state.server_id",
                "state.term, state.voted_for = Term(max(state.term, 1)), state.server_id",
            ),
        ),
    ),
    Mutant(
        "vote-for-an-older-log",
        "Nobody votes for a server whose log is behind its own.",
        (
            Edit(
                ELECTIONS,
                "and not state.log.is_newer_than(request.last_index, request.last_term)\n",
                "\n",
            ),
        ),
    ),
    Mutant(
        "longer-log-wins",
        "The term of the last entry counts before the length of the log.",
        (
            Edit(
                LOG,
                "(self.last_term, self.last_index) > (last_term, last_index)",
                "self.last_index > last_index",
            ),
        ),
    ),
    Mutant(
        "length-of-the-log-ignored",
        "Of two logs that end in one term the longer one is newer.",
        (
            Edit(
                LOG,
                "(self.last_term, self.last_index) > (last_term, last_index)",
                "self.last_term > last_term",
            ),
        ),
    ),
    Mutant(
        "half-is-a-majority",
        "Any two majorities share a server.",
        (Edit(QUORUM, "return voters // 2 + 1", "return (voters + 1) // 2"),),
    ),
    Mutant(
        "pre-votes-count-as-votes",
        "Who would vote for a server has not voted for it yet.",
        (
            Edit(
                ELECTIONS,
                "    state.granted = {state.server_id}\n",
                "    state.granted = {state.server_id} | (set() if pre else state.granted)\n",
            ),
        ),
    ),
    Mutant(
        "leader-ignores-a-higher-term",
        "A leader that hears of a higher term leads no more.",
        (
            Edit(
                MACHINE,
                "if message.term > self.term:",
                "if message.term > self.term and self.leadership is None:",
            ),
        ),
    ),
    Mutant(
        "no-pre-vote",
        "A server that was cut off comes back without a higher term, and deposes nobody.",
        (
            Edit(
                MACHINE,
                "self._campaign(now, pre=True)",
                "self._campaign(now, pre=False)",
            ),
        ),
        defect="N8",
    ),
    Mutant(
        "no-stickiness",
        "A server that hears its leader helps nobody to depose it.",
        (Edit(ELECTIONS, "if led and not request.transfer and", "if not led and led and"),),
        defect="N8",
    ),
    Mutant(
        "no-check-quorum",
        "A leader that is cut off steps down within an election timeout.",
        (Edit(LEADING, "and silence > state.options.election_timeout:", "and silence > NEVER:"),),
        defect="N8",
    ),
    Mutant(
        "learner-stands-for-election",
        "Only a voter stands for election.",
        (Edit(STATE, "            and self.server_id in self.log.configuration.voters\n", ""),),
    ),
    Mutant(
        "timeouts-not-random",
        "Election timeouts are random, so that a split vote is not followed by another.",
        (
            Edit(
                STATE,
                "self.options.election_timeout * (1 + self.random())",
                "self.options.election_timeout * 1.5",
            ),
        ),
        defect="N7",
    ),
    Mutant(
        "votes-asked-one-by-one",
        "All voters are asked at once, so that dead ones cost an election no time.",
        (
            Edit(
                ELECTIONS,
                "for peer in sorted(state.voters - {state.server_id})\n",
                "for peer in sorted(state.voters - {state.server_id})[: len(state.voters) // 2]\n",
            ),
        ),
        defect="N7",
    ),
)
