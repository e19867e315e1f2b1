"""One transaction, applied once, the same everywhere."""

from __future__ import annotations

from proof.mutants.faults import RECORDS, STORE
from proof.mutants.mutant import Edit, Mutant

MUTANTS = (
    Mutant(
        "applied-index-in-another-transaction",
        "An entry and the note that it is applied are one transaction.",
        (
            Edit(
                STORE,
                "            after = self._save(after)\n"
                "        self.facts, self._unapplied = after, pending\n",
                "            behind = self._save(replace(after, applied=before.applied))\n"
                "        with self._transaction(sync=False):\n"
                "            after = facts_room.save(self._writer, behind, after)\n"
                "        self.facts, self._unapplied = after, pending\n",
            ),
        ),
        defect="N4",
    ),
    Mutant(
        "failing-statement-skipped",
        "A statement that fails fails its call; it is not skipped and the rest called a success.",
        (
            Edit(
                STORE,
                "                execute(statement.sql, statement.parameters)\n",
                "                try:\n"
                "                    execute(statement.sql, statement.parameters)\n"
                "                except DriverError:\n"
                "                    continue\n",
            ),
        ),
        defect="N5",
    ),
    Mutant(
        "rejected-entry-half-applied",
        "An entry's statements are applied all or not at all.",
        (Edit(STORE, '            execute("ROLLBACK TO entry")\n', ""),),
    ),
    Mutant(
        "applied-again-after-a-restart",
        "Each entry is applied once.",
        (
            Edit(
                STORE,
                'ORDER BY log_index", (facts.applied,))\n'
                "        self._unapplied = deque(records.look_through(rows, facts.applied))\n",
                'ORDER BY log_index", (facts.applied - 1,))\n'
                "        self._unapplied = deque(records.look_through(rows, facts.applied - 1))\n",
            ),
        ),
    ),
    Mutant(
        "batch-applied-backwards",
        "Entries are applied in the order of the log.",
        (
            Edit(
                STORE,
                "                while pending and pending[0].index <= write.apply_to:\n"
                "                    self._apply(pending.popleft(), applied)\n",
                "                batch = []\n"
                "                while pending and pending[0].index <= write.apply_to:\n"
                "                    batch.append(pending.popleft())\n"
                "                while batch:\n"
                "                    self._apply(batch.pop(), applied)\n",
            ),
        ),
    ),
    Mutant(
        "removed-entry-is-applied",
        "An entry that was removed from the log is never applied.",
        (
            Edit(
                STORE,
                "                while pending and pending[-1].index >= write.truncate_from:\n"
                "                    pending.pop()\n",
                "",
            ),
        ),
    ),
    Mutant(
        "contradicting-entry-kept-on-disk",
        "The log on disk is the log in memory.",
        (
            Edit(
                STORE,
                'self._writer.execute("DELETE FROM logdb WHERE log_index>=?",'
                " (write.truncate_from,))",
                "pass",
            ),
            Edit(RECORDS, '"INSERT INTO logdb (', '"INSERT OR IGNORE INTO logdb ('),
        ),
    ),
    Mutant(
        "purge-takes-what-is-not-applied",
        "Only applied records are purged.",
        (
            Edit(
                STORE,
                "min(self.facts.applied - retention, self.facts.base_index + limit)",
                "min(self.last()[0], self.facts.base_index + limit)",
            ),
        ),
    ),
    Mutant(
        "purge-forgets-the-members",
        "The member set survives the purge of the record that made it.",
        (Edit(STORE, "base_term=term, base_configuration=configuration", "base_term=term"),),
    ),
)
