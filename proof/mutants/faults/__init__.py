"""The mutants, a file for each room of the source.

An edit's words are chosen to be short and to stand in the source exactly once; the unit tests tell
which mutant has to follow when the source changes.
"""

MACHINE = "oned.raft.machine"
STATE = "oned.raft.state"
ELECTIONS = "oned.raft.elections"
FOLLOWING = "oned.raft.following"
LEADING = "oned.raft.leading"
WRITES = "oned.raft.writes"
LEADERSHIP = "oned.raft.leadership"
READS = "oned.raft.reads"
LOG = "oned.raft.log"
PROGRESS = "oned.raft.progress"
QUORUM = "oned.raft.quorum"
TYPES = "oned.raft.types"
DRIVER = "oned.node.driver"
WRITING = "oned.node.writing"
CALLERS = "oned.node.callers"
MEMBERSHIP = "oned.node.membership"
SNAPSHOTS = "oned.node.snapshots"
STORE = "oned.storage.store"
RECORDS = "oned.storage.records"
SNAPSHOT = "oned.storage.snapshot"
FORWARDING = "oned.api.forwarding"
FACTS = "oned.storage.facts"
