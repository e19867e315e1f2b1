"""The database of one server: log, tables and what it must not forget, kept in step.

A write is one transaction: hard state, log, application of what is committed, and the
applied index. So a crash leaves all of it or none, and replay is exactly once.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from oned.errors import (
    DatabaseDamaged,
    DatabaseFailed,
    Nondeterminism,
    Rejected,
    StorageError,
)
from oned.raft.types import Configuration, Entry, HardState, Index, ServerId
from oned.raft.writes import Write
from oned.state.entry import Change, decode
from oned.storage import facts as facts_room
from oned.storage import mark, records, snapshot, tables
from oned.storage.engine import (
    CHECKPOINT_BYTES,
    DriverError,
    RejectedByTables,
    SQLiteEngine,
    is_by_statement,
    translated,
)
from oned.storage.facts import Facts
from oned.storage.mark import Mark, Note
from oned.storage.reading import Reading

BOOTSTRAP_INDEX = Index(1)
"""A new zone counts as a snapshot that ends here: it is in no log, so others must be sent it."""

PAGE = 4096
"""About what an entry adds to the write-ahead log beside its data."""

_REPLICATED = frozenset(tables.REPLICATED)
_TARGET = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def written_table(sql: str) -> str:
    """The table that a statement writes; empty when it writes none that is replicated."""
    found = _TARGET.match(sql)
    name = found.group(1).lower() if found else ""
    return name if name in _REPLICATED else ""


@dataclass(slots=True)
class Applied:
    """What a write applied: refusals by log index, and the tables that it touched."""

    rejected: dict[Index, Rejected] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)


def _failure(error: BaseException) -> StorageError:
    """A write that was not made, or a sync of which nobody knows how far it got.

    Whatever SQLite finds wrong with a statement of ours here is wrong with the file.
    """
    found = translated(error, "write the database")
    return found if type(found) is not StorageError else DatabaseFailed(str(found))


class Store(Reading):
    """The only writer of one database.

    What writes is called by one thread at a time; ``rows``, ``entries`` and ``term_at`` read
    through a connection of their own.

    Raises:
        StorageError: another daemon uses it.
        DatabaseFailed: the disk refuses it; it may do later.
        DatabaseDamaged: it does not hold what was written to it.

    Attributes:
        replaces: a database was here before that held a zone, or part of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table_versions: Counter[str] = Counter()
        self.trouble = lambda _error: None
        self._open()

    def _open(self) -> None:
        self._ahead = 0
        self._engine = SQLiteEngine(self.path)
        self._mark = Mark(self.path)
        try:
            self._writer = self._engine.open()
            self._reader = self._engine.connect()
            self.facts = facts_room.load(self._writer)
            self._look_through(self._mark.left)
            # What cannot be written is not open. And what was read is on the disk from here on.
            with self._transaction():
                self.facts = self._save(self.facts)
            self.checkpoint()  # nor is what can be written ahead, but has no place to go
        except BaseException as error:
            self.abandon()
            if isinstance(error, DriverError | OSError):
                raise translated(error, f"open the database {self.path}") from error
            raise
        self._note()
        self._mark.sync()

    def _look_through(self, left: Note | None) -> None:
        """Make sure that the log is whole, and that nothing is missing at its end."""
        facts = self.facts
        self.replaces = left is not None and left.disk != facts.disk
        if left is not None and left.disk == facts.disk and left.writes > facts.writes:
            raise DatabaseDamaged(
                f"the database {self.path} has lost what was written to it: it ends at write"
                f" {facts.writes}, and {left.writes} was on the disk. If it is an older copy that"
                f" was put here on purpose, remove {self.path}.synced"
            )
        execute, select = self._writer.execute, f"SELECT {records.COLUMNS} FROM logdb"  # noqa: S608
        last = records.check(execute(f"{select} ORDER BY log_index"), facts.base_index)
        rows = execute(f"{select} WHERE log_index>? ORDER BY log_index", (facts.applied,))
        self._unapplied = deque(records.look_through(rows, facts.applied))
        if last < facts.applied:
            raise DatabaseDamaged(f"log entry {facts.applied} is applied, and is missing")
        self._others = self._others_vote()

    def _others_vote(self) -> bool:
        configuration = self.configurations()[-1][1]
        return bool(configuration.voters - {self.facts.server_id})

    def close(self) -> None:
        """Close it; harmless when it was done before."""
        self._engine.close()
        self._mark.close()

    def abandon(self) -> None:
        """Close a database that has failed: it is left as it is."""
        self._engine.doubtful = True
        self.close()

    def reopen(self, *, put_aside: bool = False) -> None:
        """Begin again from what the disk holds, after ``abandon``.

        Args:
            put_aside: not from this database, but from a new, empty one with a new identity.

        Raises:
            StorageError: as the constructor does; it can be tried again.
        """
        if put_aside:
            self.put_aside(self.path)
        self._open()
        self.table_versions.update(_REPLICATED)

    @staticmethod
    def put_aside(path: Path) -> Path:
        """Give a closed database that is not to be used any more another name, and tell it."""
        return SQLiteEngine.put_aside(path)

    @staticmethod
    def others_vote(path: Path) -> bool:
        """Whether other servers vote in the zone of a database that may be unreadable.

        They have what it held then, so that it can be replaced. When nobody knows: no.
        """
        note = mark.read(path)
        return note is not None and note.others

    # --- writing -------------------------------------------------------------------

    @contextmanager
    def _transaction(self, *, sync: bool = True) -> Iterator[None]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            self._writer.execute("COMMIT")
            if sync:
                self._engine.sync()
        except BaseException as error:
            with suppress(DriverError):
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            if isinstance(error, DriverError | OSError):
                raise _failure(error) from error
            raise

    def write(self, write: Write) -> Applied:
        """Carry out one write of the core; all of it or, when it raises, nothing.

        It is visible at once, and durable after the next ``sync``.

        Raises:
            DatabaseFailed: the database cannot be written.
            DatabaseDamaged: it is not what was written to it.
            Nondeterminism: a committed statement fails here, by no fault of its tables.
        """
        applied = Applied()
        before = self.facts
        after = before if write.hard_state is None else before.with_hard_state(write.hard_state)
        pending = deque(self._unapplied)
        with self._transaction(sync=False):
            if write.truncate_from is not None:
                self._writer.execute("DELETE FROM logdb WHERE log_index>=?", (write.truncate_from,))
                while pending and pending[-1].index >= write.truncate_from:
                    pending.pop()
            if write.entries:
                self._writer.executemany(records.INSERT, map(records.row, write.entries))
                pending.extend(write.entries)
            if write.apply_to > before.applied:
                while pending and pending[0].index <= write.apply_to:
                    self._apply(pending.popleft(), applied)
                self._writer.execute(
                    "UPDATE logdb SET applied=1, timestamp=? WHERE log_index>? AND log_index<=?",
                    (int(time.time()), before.applied, write.apply_to),
                )
                after = after._replace(applied=write.apply_to)
            after = self._save(after)
        self.facts, self._unapplied = after, pending
        if write.truncate_from is not None or any(e.configuration for e in write.entries):
            self._others = self._others_vote()
        self.table_versions.update(applied.tables)
        self._ahead += sum(len(entry.data) + PAGE for entry in write.entries)
        return applied

    def sync(self) -> None:
        """Return once everything that was written is durable.

        Raises:
            DatabaseFailed: it is not known what is.
        """
        try:
            self._engine.sync()
        except OSError as error:
            raise _failure(error) from error
        self._note()

    def _note(self) -> None:
        facts = self.facts
        if facts.initialised:
            # Before that, the note of a former database is what tells that there was one.
            self._mark.note(Note(facts.disk, facts.writes, self._others))

    def _save(self, after: Facts) -> Facts:
        """Write the facts that differ, inside the transaction that this counts."""
        after = after._replace(writes=self.facts.writes + 1)
        return facts_room.save(self._writer, self.facts, after)

    @property
    def wants_checkpoint(self) -> bool:
        """Whether so much is written ahead that ``checkpoint`` should be called."""
        return self._ahead > CHECKPOINT_BYTES

    def checkpoint(self) -> bool:
        """Copy what was written ahead to its place; False while there is a rest.

        Raises:
            DatabaseFailed: the database cannot be written.
        """
        self._ahead = 0
        try:
            whole = self._engine.checkpoint()
        except DriverError as error:
            raise _failure(error) from error
        self._mark.sync()
        return whole

    def _apply(self, entry: Entry, applied: Applied) -> None:
        """Run one entry's statements, or none of them when the tables refuse one."""
        if not entry.data:
            return
        execute = self._writer.execute
        tables = set()
        execute("SAVEPOINT entry")
        try:
            for statement in decode(entry.data).statements:
                table = written_table(statement.sql)
                if not table:
                    raise Nondeterminism(f"log entry {entry.index} writes no replicated table")
                execute(statement.sql, statement.parameters)
                tables.add(table)
        except RejectedByTables as error:
            execute("ROLLBACK TO entry")
            applied.rejected[entry.index] = Rejected(str(error))
        except (DriverError, ValueError) as error:
            if not is_by_statement(error):
                raise
            raise Nondeterminism(
                f"log entry {entry.index} cannot be applied here: {error}"
            ) from error
        else:
            applied.tables |= tables
        execute("RELEASE entry")

    def bootstrap(
        self, change: Change, *, zone_uuid: str, server_id: ServerId, configuration: Configuration
    ) -> None:
        """Make a new zone in an empty database.

        Raises:
            StorageError: the database holds a zone already.
        """
        if self.facts.initialised:
            raise StorageError(f"the database {self._engine.path} holds a zone already")
        after = self.facts._replace(
            zone_uuid=zone_uuid,
            server_id=server_id,
            initialised=True,
            applied=BOOTSTRAP_INDEX,
            base_index=BOOTSTRAP_INDEX,
            base_configuration=configuration,
        )
        with self._transaction():
            for statement in change.statements:
                self._writer.execute(statement.sql, statement.parameters)
            after = self._save(after)
        self.facts = after
        self._others = self._others_vote()
        self.table_versions.update(_REPLICATED)

    def apply_all(self) -> None:
        """Apply every entry of the log, committed or not: nothing but this server is left."""
        last, _ = self.last()
        if last > self.facts.applied:
            self.write(Write(None, None, (), last, ()))

    def refound(
        self, change: Change, *, zone_uuid: str, server_id: ServerId, configuration: Configuration
    ) -> None:
        """Make a zone of its own of the content that is here, with these servers alone.

        The log ends: it holds who the servers were. All of it must be applied. The term is no lower
        than that of the last entry, which a backup brings along: logs are compared by their last
        terms, so that entries of a lower one would count for less than their absence.
        """
        last, term = self.last()
        assert last == self.facts.applied, f"entry {last} is not applied, {self.facts.applied}"
        before = self.facts
        if term > before.term:
            before = before.with_hard_state(HardState(term, server_id))
        after = before._replace(
            zone_uuid=zone_uuid,
            server_id=server_id,
            base_index=last,
            base_term=term,
            base_configuration=configuration,
        )
        with self._transaction():
            self._writer.execute("DELETE FROM logdb")
            for statement in change.statements:
                self._writer.execute(statement.sql, statement.parameters)
            after = self._save(after)
        self.facts = after
        self._others = self._others_vote()
        self.table_versions.update(_REPLICATED)

    def adopt(self, *, zone_uuid: str, server_id: ServerId, hard_state: HardState) -> None:
        """Become the server that the zone's leader says this is.

        The leader's term is kept as one in which this server has voted for it: whatever
        this server promised under its former identity, it will not promise again.
        """
        newer = hard_state.term >= self.facts.term
        after = (self.facts.with_hard_state(hard_state) if newer else self.facts)._replace(
            zone_uuid=zone_uuid,
            server_id=server_id,
        )
        with self._transaction():
            after = self._save(after)
        self.facts = after

    def purge(self, *, retention: int, limit: int) -> Index | None:
        """Delete up to ``limit`` of the oldest applied records beyond ``retention`` of them.

        Returns:
            The new base index, or None when there was nothing to delete.
        """
        target = Index(min(self.facts.applied - retention, self.facts.base_index + limit))
        if target <= self.facts.base_index:
            return None
        term = self.term_at(target)
        configuration = [c for index, c in self.configurations() if index <= target][-1]
        after = self.facts._replace(
            base_index=target, base_term=term, base_configuration=configuration
        )
        with self._transaction(sync=False):
            self._writer.execute("DELETE FROM logdb WHERE log_index<=?", (target,))
            after = self._save(after)
        self.facts = after
        return target

    # --- snapshots -----------------------------------------------------------------

    def install(self, path: Path) -> snapshot.Header:
        """Replace log and tables by the snapshot in ``path``, in one transaction.

        Raises:
            StorageError: it is damaged, or of another zone; nothing has changed.
        """
        before = self.facts
        with self._transaction():
            header = snapshot.restore(self._writer, path)
            if before.zone_uuid and header.zone_uuid != before.zone_uuid:
                raise StorageError(f"the snapshot is of zone {header.zone_uuid}")
            if header.index < before.applied:
                raise StorageError(f"entry {before.applied} is applied here already")
            # Entries behind the snapshot may have been acknowledged: they stay if the logs agree
            # at its end (paper, figure 13).
            end = (header.index, header.term)
            agrees = (
                end == (before.base_index, before.base_term)
                or self._writer.execute(
                    "SELECT 1 FROM logdb WHERE log_index=? AND term=?", end
                ).fetchone()
            )
            self._writer.execute(
                "DELETE FROM logdb WHERE log_index<=?" if agrees else "DELETE FROM logdb",
                (header.index,) if agrees else (),
            )
            after = before._replace(
                zone_uuid=header.zone_uuid,
                initialised=True,
                applied=header.index,
                base_index=header.index,
                base_term=header.term,
                base_configuration=header.configuration,
            )
            after = self._save(after)
        self.facts = after
        self._others = self._others_vote()
        kept = [e for e in self._unapplied if e.index > header.index] if agrees else []
        self._unapplied = deque(kept)
        self.table_versions.update(_REPLICATED)
        return header
