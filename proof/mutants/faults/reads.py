"""What a linearizable read waits for."""

from __future__ import annotations

from proof.mutants.faults import CALLERS, FORWARDING, LEADERSHIP, LEADING, MACHINE, READS, STATE
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "serves-before-its-no-op",
        "A new leader answers when all that was acknowledged before is applied.",
        (
            Edit(
                STATE,
                "return self.applied >= self.leadership.term_start",
                "return self.leader_id == self.server_id",
            ),
        ),
    ),
    Mutant(
        "reads-ask-nobody",
        "A leader answers a read when it knows that it still leads.",
        (
            Edit(
                MACHINE,
                "or self.leadership.holds_lease(now, self.options.election_timeout)",
                "or now > 0",
            ),
        ),
        defect="N8",
    ),
    Mutant(
        "lease-from-the-reply",
        "A lease counts from when the round was sent, not from when it was answered.",
        (
            Edit(
                MACHINE,
                "self.leadership.holds_lease(now, self.options.election_timeout)",
                "now < self.leadership.quorum_contact(now, self.voters)"
                " + self.options.election_timeout",
            ),
        ),
    ),
    Mutant(
        "lease-twice-as-long",
        "A lease ends before anybody else can have been elected.",
        (Edit(LEADERSHIP, "election_timeout * (1 - CLOCK_DRIFT)", "election_timeout * 2"),),
    ),
    Mutant(
        "lease-without-a-margin",
        "A lease ends early by as much as clocks may differ.",
        (Edit(LEADERSHIP, "election_timeout * (1 - CLOCK_DRIFT)", "election_timeout"),),
    ),
    Mutant(
        "lease-kept-while-handing-over",
        "A leader that has told its successor to start has no lease any more.",
        (
            Edit(
                LEADERSHIP,
                "if self.transfer is not None or self._lease_broken:",
                "if self.transfer is not None and self.transfer.deadline < 0:",
            ),
        ),
    ),
    Mutant(
        "read-round-not-waited-for",
        "Without a lease a read waits until a quorum has answered.",
        (
            Edit(
                CALLERS,
                "elif leadership.quorum_round >= read.round and applied >= read.index:",
                "elif applied >= read.index:",
            ),
        ),
    ),
    Mutant(
        "read-counts-on-an-older-round",
        "A read waits for a round that began after the read did.",
        (
            Edit(
                LEADING,
                "    leadership.round_wanted = leadership.round + 1\n"
                "    return leadership.round_wanted\n",
                "    return leadership.round\n",
            ),
        ),
    ),
    Mutant(
        "forwarded-read-is-a-local-one",
        "A read that must be true now is so, too, where it is sent on to.",
        (Edit(FORWARDING, "        if linearizable:\n", "        if not headers:\n"),),
    ),
    Mutant(
        "follower-reads-before-it-has-applied",
        "A follower reads when it has applied what the leader's answer names.",
        (
            Edit(
                READS,
                "while self._answers and self._answers[0][1] <= index:",
                "while self._answers:",
            ),
        ),
    ),
    Mutant(
        "follower-answered-without-proof",
        "A leader answers a follower's question when it knows that it still leads.",
        (
            Edit(
                LEADING,
                "        if leadership.quorum_round >= question.round:\n",
                "        if leadership.round >= 0:\n",
            ),
            Edit(
                LEADING,
                "if state.serving and leadership.holds_lease(now, state.options.election_timeout):",
                "if state.serving:",
            ),
        ),
    ),
    Mutant(
        "follower-takes-an-older-answer",
        "A follower's read waits for a question that was put after the read began.",
        (
            Edit(
                READS,
                "        return self._wanted\n",
                "        return self._wanted - 1\n",
            ),
        ),
    ),
)
