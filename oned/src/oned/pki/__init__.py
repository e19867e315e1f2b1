"""A zone's certificate authority, and the certificates of its servers.

``oned.tls`` reads certificates here, ``oned.transport`` asks here who is at the other end, and
``oned pki`` and a local zone issue certificates here. The operator issues the same certificates
with its own code: the contract is the URI in the certificate and the file names
(ARCHITECTURE.md).

Why no host names are checked: a server is reached at addresses that change (a pod's, a
forwarded port's) while it stays the same server. Its identity is
``URI:onezone://<zone uuid>/<server name>``, which only the zone's own authority can grant, and
which ``verify`` compares after the handshake. DNS names and addresses in the certificate are for
people and for tools that insist on them.

files       their names and how they are read and written
peer        who a certificate speaks for
authority   a zone's certificate authority
issuing     certificates of its servers and of the API's port
possession  a server's own files, checked before they are shown to anybody
"""

from oned.pki.authority import Authority, create_authority, load_authority
from oned.pki.files import API_CERTIFICATE, API_KEY, AUTHORITY_CERTIFICATE, AUTHORITY_KEY
from oned.pki.issuing import issue_api, issue_server
from oned.pki.peer import PeerIdentity, identity, verify
from oned.pki.possession import fingerprint, read_authorities, read_server

__all__ = [
    "API_CERTIFICATE",
    "API_KEY",
    "AUTHORITY_CERTIFICATE",
    "AUTHORITY_KEY",
    "Authority",
    "PeerIdentity",
    "create_authority",
    "fingerprint",
    "identity",
    "issue_api",
    "issue_server",
    "load_authority",
    "read_authorities",
    "read_server",
    "verify",
]
