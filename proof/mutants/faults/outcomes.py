"""What a caller is told of its change."""

from __future__ import annotations

from proof.mutants.faults import CALLERS, DRIVER
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "unknown-told-as-failed",
        "An outcome that is not known is never told as a failure.",
        (
            Edit(
                DRIVER,
                'OutcomeUnknown("leadership was lost: the change may have been made, or not")',
                'NotLeader("leadership was lost")',
            ),
        ),
        defect="N10",
    ),
    Mutant(
        "forwarding-told-as-failed",
        "A call that was forwarded and not answered is not told as a failure.",
        (
            Edit(
                "oned.api.forwarding",
                "    if writes:\n        return internal(UNKNOWN",
                "    if not reason:\n        return internal(UNKNOWN",
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
                "            if not proposal.done.done():\n"
                "                proposal.done.set_result(None)\n",
            ),
        ),
        defect="N15",
    ),
    Mutant(
        "success-by-position",
        "A caller is told of its own entry, not of another leader's at the same position.",
        (
            Edit(
                DRIVER,
                "            self._callers.fail(\n"
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
                "            if refusal is not None:\n",
                "            if refusal is not None and proposal.done.done():\n",
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
        "changes-built-from-one-row-at-a-time-not-locked",
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
