"""How a follower's log becomes the leader's: checks, truncation, flow."""

from __future__ import annotations

from proof.mutants.faults import FOLLOWING, LEADERSHIP, LOG, MACHINE, PROGRESS
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "truncation-reaches-what-is-applied",
        "Nothing that is applied is ever removed from a log.",
        (
            Edit(FOLLOWING, "if state.log.term_at(entry.index) != entry.term:", "if entry.index:"),
            Edit(
                FOLLOWING,
                'assert first > state.commit, f"entry {first} is committed, {state.commit}"',
                "assert first",
            ),
        ),
        defect="N3",
    ),
    Mutant(
        "late-request-cuts-the-log",
        "A request that comes late or twice takes away nothing that was acknowledged since.",
        (
            Edit(
                FOLLOWING,
                "if state.log.term_at(entry.index) != entry.term:",
                "if entry.index > state.commit:",
            ),
        ),
    ),
    Mutant(
        "entry-before-not-checked",
        "New entries follow an entry that both logs have.",
        (
            Edit(
                FOLLOWING,
                "if state.log.term_at(request.prev_index) != request.prev_term:",
                "if state.log.term_at(request.prev_index) is None:",
            ),
        ),
    ),
    Mutant(
        "contradicting-entries-kept",
        "A follower's entries that contradict the leader's go.",
        (
            Edit(
                FOLLOWING,
                "if state.log.term_at(entry.index) != entry.term:",
                "if entry.index > state.log.last_index:",
            ),
        ),
    ),
    Mutant(
        "heartbeat-without-a-position",
        "A follower that restarts behind catches up while nobody writes.",
        (
            Edit(
                LEADERSHIP,
                "if progress.flow is Flow.SNAPSHOT or previous_term is None:",
                "if progress.flow is not None:",
            ),
        ),
        defect="N16",
    ),
    Mutant(
        "no-conflict-hint",
        "A long divergence is found in few refusals, not in one for each entry.",
        (
            Edit(
                LEADERSHIP,
                "            common, _ = self.log.hint(reply.index, reply.hint_term)\n",
                "            common = Index(reply.rejected - 1)\n",
            ),
        ),
        defect="N12",
    ),
    Mutant(
        "window-never-opens-again",
        "Acknowledged requests make room for new ones.",
        (
            Edit(
                PROGRESS,
                "        while self.inflight and self.inflight[0] <= match:\n"
                "            self.inflight.popleft()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "refusals-not-heard",
        "Requests that were lost on the way are noticed and sent again.",
        (
            Edit(
                PROGRESS,
                "if self.flow is Flow.SNAPSHOT or rejected <= self.match:",
                "if self.flow is not Flow.PROBE or rejected <= self.match:",
            ),
        ),
    ),
    Mutant(
        "acknowledgement-of-a-former-term-counts",
        "An acknowledgement speaks for the term that it was given in.",
        (
            Edit(
                MACHINE,
                "        if message.term < self.term:\n            if isinstance",
                "        if message.term < self.term and not isinstance(message, AppendReply):\n"
                "            if isinstance",
            ),
        ),
    ),
    Mutant(
        "truncated-members-stay-in-force",
        "A member set goes with the entry that made it.",
        (
            Edit(
                LOG,
                "        while len(self._configurations) > 1 and"
                " self._configurations[-1][0] >= first:\n"
                "            self._configurations.pop()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "compaction-shifts-the-log",
        "Compaction removes the entries that were purged, and no others.",
        (
            Edit(
                LOG,
                "del self._tail[:count]",
                "del self._tail[: count - 1]",
            ),
        ),
    ),
)
