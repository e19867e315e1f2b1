"""A zone's content as one file: what it must hold, and what it may replace."""

from __future__ import annotations

from proof.mutants.faults import LEADERSHIP, MACHINE, SNAPSHOT, SNAPSHOTS, STORE
from proof.mutants.mutant import Edit, Mutant

_AGREES_IN_CORE = "agrees = self.log.term_at(index) == term"
_AGREES_ON_DISK = '"SELECT 1 FROM logdb WHERE log_index=? AND term=?"'

MUTANTS = (
    Mutant(
        "compacted-entry-never-sent",
        "A server that needs what is compacted gets a snapshot by itself.",
        (Edit(LEADERSHIP, "                progress.needs_snapshot()\n", ""),),
        defect="N11",
    ),
    Mutant(
        "older-snapshot-accepted",
        "A snapshot never replaces what is newer.",
        (
            Edit(
                SNAPSHOTS,
                "        if offer.index < core.commit:\n            return core.commit\n",
                "",
            ),
            Edit(STORE, "if header.index < before.applied:", "if header.index < 0:"),
        ),
    ),
    Mutant(
        "snapshot-drops-the-tail-behind-it",
        "Entries behind a snapshot that the log agrees with were acknowledged, and stay.",
        (
            Edit(MACHINE, _AGREES_IN_CORE, "agrees = index < 0"),
            Edit(
                STORE,
                _AGREES_ON_DISK,
                '"SELECT 1 FROM logdb WHERE log_index=? AND term=? AND log_index<0"',
            ),
        ),
    ),
    Mutant(
        "snapshot-keeps-a-contradicting-tail",
        "Entries behind a snapshot go when the log does not agree with its end.",
        (
            Edit(MACHINE, _AGREES_IN_CORE, "agrees = index <= self.log.last_index"),
            Edit(STORE, _AGREES_ON_DISK, '"SELECT 1 FROM logdb WHERE log_index=? AND term<>-1-?"'),
        ),
    ),
    Mutant(
        "snapshot-without-its-term",
        "A snapshot says in which term its last entry was made.",
        (Edit(SNAPSHOT, "        term = Term(row[0])\n", ""),),
    ),
    Mutant(
        "snapshot-without-its-members",
        "A snapshot says who the members were at its end.",
        (
            Edit(
                SNAPSHOT,
                "            configuration = facts_room.decode_configuration(row[1])\n",
                "            pass\n",
            ),
        ),
    ),
    Mutant(
        "snapshot-lacks-a-table",
        "A snapshot holds all replicated tables.",
        (
            Edit(
                SNAPSHOT,
                "file) for table in tables.REPLICATED)",
                "file) for table in tables.REPLICATED if table != 'pool_control')",
            ),
        ),
    ),
    Mutant(
        "snapshot-and-entries-both-applied",
        "An entry that a snapshot contains is not applied on top of it.",
        (
            Edit(
                STORE,
                "[e for e in self._unapplied if e.index > header.index] if agrees else []",
                "list(self._unapplied)",
            ),
        ),
    ),
    Mutant(
        "snapshot-acknowledged-before-it-is-durable",
        "A snapshot is acknowledged once it is synced.",
        (
            Edit(
                STORE,
                "self._transaction():\n            header = snapshot.restore",
                "self._transaction(sync=False):\n            header = snapshot.restore",
            ),
        ),
    ),
    Mutant(
        "broken-stream-counts-as-installed",
        "A snapshot stream that broke has given the server nothing.",
        (
            Edit(
                MACHINE,
                "            progress.probe_from(Index((progress.match if index is None else index)"
                " + 1))\n",
                "            progress.probe_from(Index(self.commit + 1))\n"
                "            progress.succeeded(self.commit)\n",
            ),
        ),
    ),
)
