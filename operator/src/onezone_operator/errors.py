"""The exception tree of the operator.

    OperatorError
    ├── KubeError           the API server refused or did not answer
    │   ├── NotFound        no such object
    │   │   └── KindUnknown …nor can there be one: its kind is not installed
    │   ├── Conflict        someone else wrote first: observe again
    │   ├── Gone            a version is too old to watch from: list again
    │   ├── Invalid         the object is refused as it is; its text says which field
    │   ├── Forbidden       the operator's role lacks a verb
    │   └── Unavailable     no answer in time, or the server is overloaded
    ├── ZoneError           a server of the zone refused or did not answer
    │   ├── ZoneUnreachable no answer in time; a change may have been made
    │   └── ZoneRefused     certainly not made, the text is the server's own
    ├── VolumeRefused       Kubernetes does not let a volume grow
    ├── NotLeading          another replica of the operator is, or may be, at work
    └── FactsChanged        what a step was planned on no longer holds: observe again

Every one of them ends a pass, never the operator; the next pass starts from facts.
"""


class OperatorError(Exception):
    """Base of all expected trouble."""


class KubeError(OperatorError):
    """The API server refused a call or did not answer it.

    Attributes:
        said: the API server's own words, which name the object; the whole text when it said none.
    """

    def __init__(self, text: str, said: str = "") -> None:
        super().__init__(text)
        self.said = said or text


class NotFound(KubeError):
    """The object does not exist."""


class KindUnknown(NotFound):
    """The object does not exist, and cannot: the cluster does not know its kind."""


class Conflict(KubeError):
    """Another writer was first, or the object exists already."""


class Gone(KubeError):
    """The API server remembers nothing so old."""


class Invalid(KubeError):
    """The API server refuses the object; the text names the field."""


class Forbidden(KubeError):
    """The operator's role lacks a verb, or an admission rule denied the call."""


class Unavailable(KubeError):
    """No usable answer from the API server."""


class ZoneError(OperatorError):
    """A server of the zone refused a call or did not answer it."""


class ZoneUnreachable(ZoneError):
    """No answer in time. A change may have been made: only the next pass can tell."""


class ZoneRefused(ZoneError):
    """The server answered with an error: nothing was changed."""


class VolumeRefused(OperatorError):
    """Kubernetes does not let a volume grow; the text is its own. Asking again hardly helps."""


class FactsChanged(OperatorError):
    """The facts that a step was planned on changed before it could be carried out."""


class NotLeading(OperatorError):
    """This process may not write: it does not hold the Lease, or may not hold it any more."""
