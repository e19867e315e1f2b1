"""All that one server's core holds; the other modules say what it does with it."""

from __future__ import annotations

from collections.abc import Callable

from oned.raft.leadership import Leadership
from oned.raft.log import Log
from oned.raft.messages import Message
from oned.raft.reads import Reads
from oned.raft.timing import NEVER, Options
from oned.raft.types import NO_SERVER, Configuration, HardState, Index, Role, ServerId
from oned.raft.writes import Writes


class State:
    """What a server knows and is, and what follows from that at once.

    Args:
        server_id: this server's id; ``NO_SERVER`` for a solo server.
        initialised: False for a database that holds no zone yet: it neither votes nor
            campaigns, and waits for a leader's snapshot.
        solo: OpenNebula's state before high availability: alone, without elections.
        random: numbers in [0, 1), for election timeouts.

    Attributes:
        leadership: what it holds only while it leads; None otherwise.
        writes: what is durable, and what is to become so.
        outbox: messages that claim nothing undurable.
        last_contact: when a leader was heard last.
        election_deadline: when it stands for election, unless it hears a leader before.
        granted: who would vote for it (``pre_campaign``), or has.
    """

    def __init__(
        self,
        *,
        server_id: ServerId,
        hard_state: HardState,
        log: Log,
        applied: Index,
        initialised: bool,
        solo: bool,
        options: Options,
        random: Callable[[], float],
        now: float,
    ) -> None:
        self.server_id = server_id
        self.term = hard_state.term
        self.voted_for = hard_state.voted_for
        self.log = log
        self.initialised = initialised
        self.options = options
        self.role = Role.SOLO if solo else Role.FOLLOWER
        self.leader_id = NO_SERVER
        self.commit = applied
        self.applied = applied
        self.leadership: Leadership | None = None
        self.reads = Reads(random)
        self.random = random
        self.writes = Writes(hard_state, log.last_index)
        # A restarted voter may have promised a leader not to vote; it keeps the promise.
        self.last_contact = now
        self.election_deadline = NEVER
        self.pre_campaign = False
        self.granted: set[ServerId] = set()
        self.outbox: list[Message] = []
        self.wait_for_leader(now)

    @property
    def configuration(self) -> Configuration:
        return self.log.configuration

    @property
    def voters(self) -> frozenset[ServerId]:
        return (
            frozenset((self.server_id,))
            if self.role is Role.SOLO
            else self.log.configuration.voters
        )

    @property
    def is_leading(self) -> bool:
        """Whether writes may be proposed here: as leader, or solo."""
        return self.role in (Role.LEADER, Role.SOLO)

    @property
    def serving(self) -> bool:
        """Whether an answer from here reflects everything that was acknowledged before.

        A leader's tables are complete once its own no-op is applied (paper, section 8).
        """
        if self.role is Role.LEADER:
            assert self.leadership is not None
            return self.applied >= self.leadership.term_start
        return self.role is Role.SOLO or (
            self.role is Role.FOLLOWER and self.leader_id != NO_SERVER and self.initialised
        )

    @property
    def change_pending(self) -> bool:
        """Whether the newest configuration is not committed yet."""
        return self.log.configuration_index > self.commit

    def wait_for_leader(self, now: float) -> None:
        """Draw a new election deadline; a server that may not campaign has none."""
        may_campaign = (
            self.initialised
            and self.role in (Role.FOLLOWER, Role.CANDIDATE)
            and self.server_id in self.log.configuration.voters
        )
        timeout = self.options.election_timeout * (1 + self.random())
        self.election_deadline = now + timeout if may_campaign else NEVER

    def commit_to(self, index: Index) -> None:
        """Everything up to ``index`` is committed."""
        self.commit = max(self.commit, index)
