"""Who counts, and with which disk."""

from __future__ import annotations

from proof.mutants.faults import (
    ELECTIONS,
    LEADING,
    MACHINE,
    MEMBERSHIP,
    POST,
    QUORUM,
    STATE,
    TYPES,
)
from proof.mutants.mutant import Edit, Mutant

_DEMOTES = 'self._propose(configuration.demoted(member.server_id), "lost disk", member)'

MUTANTS = (
    Mutant(
        "registered-twice",
        "A server that is registered is not taken for a new one, so that no quorum grows silently.",
        (
            Edit(
                "oned.state.zones",
                '                return f"{name} {attributes[name]} is already taken by server'
                " {server['ID']}\"\n",
                "                continue\n",
            ),
        ),
        defect="N17",
    ),
    Mutant(
        "two-changes-at-once",
        "A change of the members waits for the one before it.",
        (Edit(LEADING, "if len(changes) > 1 or state.change_pending:", "if len(changes) > 1:"),),
    ),
    Mutant(
        "change-before-the-no-op",
        "A new leader changes the members only after it has committed something in its term.",
        (
            Edit(
                LEADING,
                "if state.leadership is not None and state.commit < state.leadership.term_start:",
                "if state.leadership is not None and state.commit < 0:",
            ),
        ),
    ),
    Mutant(
        "members-in-force-once-committed",
        "A member set is in force as soon as it stands in the log.",
        (
            Edit(
                STATE,
                "            else self.log.configuration.voters\n",
                "            else self.log.configuration_at(self.commit).voters\n",
            ),
        ),
    ),
    Mutant(
        "several-voters-at-once",
        "One voter comes or goes at a time.",
        (
            Edit(QUORUM, "return len(before.symmetric_difference(after)) <= 1", "return True"),
            Edit(
                "oned.state.zones",
                "        peer_endpoint(attributes),\n        voter=voter,\n",
                "        peer_endpoint(attributes),\n        voter=True,\n",
            ),
        ),
    ),
    Mutant(
        "promoted-before-it-has-caught-up",
        "A server gets its vote when it has caught up: adding one never makes the zone wait.",
        (
            Edit(
                MEMBERSHIP,
                "elif hello.initialised and node.core.caught_up("
                "member.server_id, CAUGHT_UP_ENTRIES):",
                "else:",
            ),
        ),
    ),
    Mutant(
        "lost-disk-not-noticed",
        "A voter whose disk was lost is made a learner, and a voter again.",
        (Edit(MEMBERSHIP, "if member.disk and hello.disk != member.disk:", "if not member:"),),
    ),
    Mutant(
        "vote-bound-to-no-disk",
        "A vote belongs to a member and its disk.",
        (Edit(TYPES, "replace(member, voter=True, disk=disk)", "replace(member, voter=True)"),),
    ),
    Mutant(
        "lost-disk-keeps-its-vote",
        "A server that has forgotten its votes has no vote until it has copied the state.",
        (
            Edit(MEMBERSHIP, _DEMOTES, "self._adopt(link, member, now)"),
            Edit(
                MEMBERSHIP,
                "return not member.voter or not member.disk or hello.disk == member.disk",
                "return True",
            ),
            Edit(ELECTIONS, "        and state.initialised\n        and not", "        and not"),
        ),
    ),
    Mutant(
        "acknowledgements-of-a-lost-disk-count",
        "What a lost disk acknowledged is void, from the moment that another one is shown.",
        (Edit(POST, "        self._node.membership.greeted(link)\n", ""),),
    ),
    Mutant(
        "new-member-never-sent-to",
        "A server that was added is sent the log by the leader that added it.",
        (
            Edit(
                MACHINE,
                "                self.leadership.follow(self.log.configuration)\n",
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "removed-leader-goes-on",
        "A leader that was removed leads no more.",
        (
            Edit(
                LEADING,
                "if state.server_id not in state.voters and not state.change_pending:",
                "if state.server_id < NO_SERVER:",
            ),
        ),
    ),
    Mutant(
        "anybody-may-speak",
        "A peer speaks for itself alone, and with the disk that its membership is bound to.",
        (
            Edit(
                POST,
                "            and self._node.membership.may_speak(link, frame)\n",
                "",
            ),
        ),
        defect="N13",
    ),
)
