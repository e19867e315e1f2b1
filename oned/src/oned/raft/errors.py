"""Raft's own refusals, so that this room imports nothing above it."""


class RaftError(Exception):
    """Base of what the core refuses. A refused input has changed nothing."""


class NotLeading(RaftError):
    """Only a leader, and one that is not handing over, takes proposals and reads."""


class ChangePending(RaftError):
    """A configuration change waits for the one before it, and for the term's own no-op."""


class UnsafeChange(RaftError):
    """A configuration may differ from the one before it by one voter at most."""
