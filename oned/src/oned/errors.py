"""The exception tree of the daemon.

OnedError
├── ConfigError             oned.conf or the environment is wrong (line, allowed values)
├── TemplateError           a template or configuration text does not parse
├── StorageError            the database cannot be opened, read or written
│   ├── ForeignDatabase     it belongs to another zone or another server
│   ├── DatabaseFailed      the disk below it did, or what holds it; it may work again later
│   │   └── DatabaseFull    there is no space left
│   ├── DatabaseDamaged     it does not hold what was written to it
│   └── Nondeterminism      a committed statement failed here: this copy has diverged
├── PeerError               certificates or peer settings are unusable
├── HookError               a hook failed; it is tried again, and leadership stays as it is
└── ProposalError           a change was not made
    ├── NotLeader           certainly not made: this server does not lead (any more)
    ├── Busy                certainly not made: too much is in flight, try again
    ├── MembershipPending   certainly not made: another membership change is under way, or too
    │                       few servers answer for this one
    ├── Rejected            certainly not made, though committed: its statements contradict
    │                       the tables in the same way on every server (duplicate key)
    └── OutcomeUnknown      it may have been made, or may be made later
"""


class OnedError(Exception):
    """Base of all expected trouble."""


class ConfigError(OnedError):
    """oned.conf or the environment is wrong; the text names line and allowed values."""


class TemplateError(OnedError):
    """A template text does not parse."""


class StorageError(OnedError):
    """The database cannot be opened, read or written."""


class ForeignDatabase(StorageError):
    """The database belongs to another zone or another server."""


class DatabaseFailed(StorageError):
    """The disk refused a read or a write, or lost it: what is durable must be found out anew."""


class DatabaseFull(DatabaseFailed):
    """There is no space left for the database."""


class DatabaseDamaged(StorageError):
    """The database does not hold what was written to it: it speaks for nothing any more."""


class Nondeterminism(StorageError):
    """A committed statement failed on this server only; going on would diverge."""


class PeerError(OnedError):
    """Certificates or peer settings are unusable."""


class HookError(OnedError):
    """A hook failed; it is tried again while its role lasts."""


class ProposalError(OnedError):
    """A change was not made, or may not have been made."""


class NotLeader(ProposalError):
    """Certainly not made: this server does not lead, or not in the term asked for."""


class Busy(ProposalError):
    """Certainly not made: the queue of proposals is full."""


class MembershipPending(ProposalError):
    """Certainly not made: one membership change at a time, and none that loses the majority."""


class Rejected(ProposalError):
    """Committed, and refused by the tables in the same way on every server."""


class OutcomeUnknown(ProposalError):
    """Leadership was lost after the proposal: it may have been made, or may be later."""
