"""What a caller is told of its change."""

from __future__ import annotations

from proof.mutants.faults import CALLERS, DRIVER, FORWARDING, OFFICE
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "unknown-told-as-failed",
        "An outcome that is not known is never told as a failure.",
        (
            Edit(
                CALLERS,
                "            self._undecided.setdefault(index, []).append(proposal)\n",
                '            proposal.refuse(NotLeader("leadership was lost"))\n',
            ),
        ),
        defect="N10",
    ),
    Mutant(
        "undecided-told-as-failed-in-the-end",
        "A change whose fate is not seen in time is told as unknown.",
        (
            Edit(
                CALLERS,
                "            proposal.refuse(in_flight)\n",
                '            proposal.refuse(NotLeader("leadership was lost"))\n',
            ),
        ),
        defect="N10",
    ),
    Mutant(
        "forwarding-told-as-failed",
        "A call that was forwarded and not answered is not told as a failure.",
        (
            Edit(
                FORWARDING,
                'lost("the leader did not answer in time", writes=writes)',
                'lost("the leader did not answer in time", writes=False)',
            ),
            Edit(
                FORWARDING,
                'lost("the connection to the leader was lost", writes=writes)',
                'lost("the connection to the leader was lost", writes=False)',
            ),
        ),
        defect="N10",
    ),
    Mutant(
        "success-for-a-lost-write",
        "A leader that loses office tells nobody of a success that it did not see.",
        (
            Edit(
                CALLERS,
                "            proposal.refuse(in_flight)\n",
                "            proposal.tell(None)\n",
            ),
        ),
        defect="N15",
    ),
    Mutant(
        "success-by-position",
        "A caller is told of its own entry, not of another leader's at the same position.",
        (
            Edit(
                CALLERS,
                "                if term == proposal.term:\n",
                "                if term is not None:\n",
            ),
        ),
        defect="N15",
    ),
    Mutant(
        "office-ends-unnoticed",
        "When an office ends, what its callers wait for is looked at anew.",
        (
            Edit(
                OFFICE,
                "            node.callers.fail(\n"
                '                OutcomeUnknown("leadership was lost',
                '            str(\n                OutcomeUnknown("leadership was lost',
            ),
        ),
        defect="N15",
    ),
    Mutant(
        "success-on-append",
        "Success is told when a majority has the entry, not when the leader has.",
        (
            Edit(
                CALLERS,
                "            self._in_flight[Index(first + offset)] = proposal\n",
                "            self._in_flight[Index(first + offset)] = proposal\n"
                "            proposal.done.done() or proposal.done.set_result(None)\n",
            ),
        ),
    ),
    Mutant(
        "outcome-of-the-entry-before",
        "A caller is told of its own entry, not of the one before it.",
        (
            Edit(
                CALLERS,
                "            self._in_flight[Index(first + offset)] = proposal\n",
                "            self._in_flight[Index(first + offset - 1)] = proposal\n",
            ),
        ),
    ),
    Mutant(
        "refusal-told-as-success",
        "A change that the tables refused is not told as a success.",
        (
            Edit(
                CALLERS,
                "        if refusal is not None:\n",
                "        if refusal is not None and self.done.done():\n",
            ),
        ),
    ),
    Mutant(
        "change-of-a-former-term-taken",
        "A change that was built on what was read in one term is not made in another.",
        (
            Edit(CALLERS, "            if proposal.term != term:\n", "            if term < 0:\n"),
            Edit(
                DRIVER,
                "if not self.core.is_leading or self.core.term != term:",
                "if not self.core.is_leading:",
            ),
        ),
    ),
    Mutant(
        "rows-not-locked",
        "Two calls never build their changes from the same row at a time.",
        (
            Edit(
                "oned.api.locks",
                "        waiting = self._waiting.get(key)\n        if waiting is None:\n",
                "        waiting = None\n        if waiting is None:\n",
            ),
            Edit(
                "oned.api.locks",
                "        waiting = self._waiting[key]\n        while waiting:\n",
                "        waiting = self._waiting.get(key, deque())\n        while waiting:\n",
            ),
            Edit(
                "oned.api.locks",
                "        del self._waiting[key]\n",
                "        self._waiting.pop(key, None)\n",
            ),
        ),
    ),
)
