"""Who may lead: votes, terms, and who is protected from whom."""

from __future__ import annotations

from proof.mutants.faults import FACTS, LOG, MACHINE, QUORUM, WRITING
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "several-votes-a-term",
        "A server gives one vote in a term.",
        (
            Edit(
                MACHINE,
                "free = request.pre or self.voted_for in (NO_SERVER, request.sender)",
                "free = True",
            ),
        ),
    ),
    Mutant(
        "vote-forgotten-within-its-term",
        "A server keeps its vote to the end of the term, whatever became of the candidacy.",
        (
            Edit(
                MACHINE,
                "        self._pre_campaign = pre\n",
                "        self._pre_campaign = pre\n"
                "        if pre:\n"
                "            self.voted_for = NO_SERVER\n",
            ),
            Edit(
                MACHINE,
                "        self.leader_id = leader\n",
                "        self.leader_id = leader\n        self.voted_for = NO_SERVER\n",
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
                "        node._send([m for m in write.messages if not hasattr(m, 'success')])\n"
                "        if not write.must_sync:\n",
            ),
        ),
    ),
    Mutant(
        "vote-written-but-not-synced",
        "Term and vote are synced, like entries.",
        (
            Edit(
                MACHINE,
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
                "if self._durable_hard_state != HardState(self.term, self.voted_for):",
                "if self.term < 0:",
            ),
        ),
    ),
    Mutant(
        "term-not-raised",
        "A candidate stands for a term of its own.",
        (
            Edit(
                MACHINE,
                "self.term, self.voted_for = Term(self.term + 1), self.server_id",
                "self.term, self.voted_for = Term(max(self.term, 1)), self.server_id",
            ),
        ),
    ),
    Mutant(
        "vote-for-an-older-log",
        "Nobody votes for a server whose log is behind its own.",
        (
            Edit(
                MACHINE,
                "and not self.log.is_newer_than(request.last_index, request.last_term)\n",
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
                MACHINE,
                "        self._granted = {self.server_id}\n",
                "        self._granted = {self.server_id} | (set() if pre else self._granted)\n",
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
        (Edit(MACHINE, "if led and not request.transfer and", "if not led and led and"),),
        defect="N8",
    ),
    Mutant(
        "no-check-quorum",
        "A leader that is cut off steps down within an election timeout.",
        (Edit(MACHINE, "and silence > self.options.election_timeout:", "and silence > NEVER:"),),
        defect="N8",
    ),
    Mutant(
        "learner-stands-for-election",
        "Only a voter stands for election.",
        (
            Edit(
                MACHINE,
                "            and self.server_id in self.log.configuration.voters\n",
                "",
            ),
        ),
    ),
    Mutant(
        "timeouts-not-random",
        "Election timeouts are random, so that a split vote is not followed by another.",
        (
            Edit(
                MACHINE,
                "self.options.election_timeout * (1 + self._random())",
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
                MACHINE,
                "for peer in sorted(self.voters - {self.server_id})\n",
                "for peer in sorted(self.voters - {self.server_id})[: len(self.voters) // 2]\n",
            ),
        ),
        defect="N7",
    ),
)
