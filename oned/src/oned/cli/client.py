"""A small, synchronous client of OpenNebula's XML-RPC API.

Values go out with their Python type: ``int`` as i4, ``bool`` as boolean, ``str`` as string, and
answers come back the same way. One call, one connection: a command makes few of them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import socket
import ssl
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from oned.errors import OnedError

DEFAULT_TIMEOUT_SECONDS = 60.0
"""Longer than the longest wait inside the front-end, so that its own answer is what is seen."""

CERTIFICATES_MAX = 1000
"""Files of ONE_CERT_DIR that are looked at."""

CERTIFICATE_BYTES = 2**20

LISTINGS_MAX = 5
"""Looks at a directory whose files are changed while they are read."""

MAXIMUM_ANSWER = 2**30
"""Bytes of one answer."""

BACKUP_SECONDS = 1800.0
"""How long a server may take to write a backup before it sends the first byte."""

_REACH_TIMEOUT_SECONDS = 2.0
_REACH_PAUSE_SECONDS = 0.5
"""Nobody tells when a network has learnt of a pod."""

_BLOCK = 2**20
_SAID_BYTES = 1000


class ClientError(OnedError):
    """The call was not answered, or not in a way that can be understood."""


class ApiError(ClientError):
    """The front-end refused.

    Attributes:
        message: its text, ``[one.zone.info] Error getting zone [7].``
        code: OpenNebula's error code, 0x400 for example.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class FetchedBackup:
    """A backup that arrived whole.

    Attributes:
        index: the log entry up to which it holds everything.
        checksum: SHA-256 in hexadecimal.
        size: in bytes.
    """

    index: str
    checksum: str
    size: int


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one endpoint as one user.

    Attributes:
        endpoint: URL, with the path ``/RPC2`` as a rule.
        session: ``user:password``; never printed.
        timeout_seconds: bound on connecting, and on each wait for an answer.
        context: TLS settings for https, or None for the system's.
    """

    endpoint: str
    session: str
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Client({self.endpoint!r})"

    def at(self, endpoint: str, *, timeout_seconds: float) -> Client:
        """The same user at another endpoint."""
        return Client(endpoint, self.session, timeout_seconds, self.context)

    def call(self, method: str, *parameters: str | int | bool) -> Any:
        """Call ``method`` with the session before ``parameters``; returns the success value.

        Raises:
            ApiError: the front-end refused.
            ClientError: no answer in time, or one that is no OpenNebula answer.
        """
        request = xmlrpc.client.dumps((self.session, *parameters), method).encode()
        body = self._post(request)
        try:
            answer: Any = xmlrpc.client.loads(body)[0][0]
        except xmlrpc.client.Fault as fault:
            raise ClientError(f"[{method}] {fault.faultString}") from None
        except (ExpatError, ValueError, TypeError, KeyError, IndexError, xmlrpc.client.Error):
            raise ClientError(f"{self.endpoint} did not answer in XML-RPC") from None
        if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[0], bool):  # noqa: PLR2004
            raise ClientError(f"{self.endpoint} did not answer as OpenNebula does")
        if answer[0]:
            return answer[1]
        code = answer[2] if len(answer) > 2 and isinstance(answer[2], int) else 0  # noqa: PLR2004
        raise ApiError(str(answer[1]), code)

    def wait_until_reachable(self, seconds: float) -> None:
        """Wait until a connection is made, but no longer: the next call tells why there is none.

        A network that heeds policies takes a moment to let a new pod through.

        Raises:
            ClientError: the endpoint is no URL.
        """
        end = time.monotonic() + seconds
        connection, _ = self._connection()
        address = connection.host, connection.port
        while time.monotonic() < end:
            try:
                socket.create_connection(address, timeout=_REACH_TIMEOUT_SECONDS).close()
            except OSError:
                time.sleep(_REACH_PAUSE_SECONDS)
            else:
                return

    def fetch_backup(self, path: Path) -> FetchedBackup:
        """Have the server write a backup of what it holds, and bring it to the file ``path``.

        Raises:
            ClientError: it refused, or the file did not arrive whole.
        """
        token = base64.b64encode(self.session.encode()).decode()
        digest, size = hashlib.sha256(), 0
        patient = self.at(self.endpoint, timeout_seconds=max(BACKUP_SECONDS, self.timeout_seconds))
        with patient.answer(
            "GET", "/backup", None, {"Authorization": f"Basic {token}"}
        ) as response:
            if response.status != http.client.OK:
                said = response.read(_SAID_BYTES).decode(errors="replace").strip()
                raise ClientError(f"{self.endpoint} gives no backup: {said or response.reason}")
            with path.open("wb") as file:
                while block := response.read(_BLOCK):
                    try:
                        file.write(block)
                    except OSError as error:
                        raise ClientError(f"Cannot write {path}: {_reason(error)}") from error
                    digest.update(block)
                    size += len(block)
            headers = response.headers
        expected = (headers.get("Content-Length", ""), headers.get("X-One-Checksum", ""))
        if expected != (str(size), digest.hexdigest()):
            raise ClientError(f"The backup of {self.endpoint} did not arrive whole: try again")
        return FetchedBackup(headers.get("X-One-Index", ""), digest.hexdigest(), size)

    def _post(self, request: bytes) -> bytes:
        with self.answer("POST", None, request, {"Content-Type": "text/xml"}) as response:
            status, reason = response.status, response.reason
            body = response.read(MAXIMUM_ANSWER + 1)
        if status != http.client.OK:
            raise ClientError(f"{self.endpoint} answered {status} {reason}")
        if len(body) > MAXIMUM_ANSWER:
            raise ClientError(f"{self.endpoint} answered with more than {MAXIMUM_ANSWER} bytes")
        return body

    @contextmanager
    def answer(
        self, method: str, path: str | None, body: bytes | None, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request, whatever its status; ``path`` is the endpoint's if None."""
        connection, own_path = self._connection()
        try:
            connection.request(method, path or own_path, body, headers)
            yield connection.getresponse()
        except TimeoutError:
            raise ClientError(
                f"{self.endpoint} did not answer within {self.timeout_seconds:g} s"
            ) from None
        except OSError as error:
            raise ClientError(f"Cannot reach {self.endpoint}: {_reason(error)}") from error
        except http.client.HTTPException as error:
            raise ClientError(
                f"{self.endpoint} did not answer in HTTP: {type(error).__name__}"
            ) from error
        finally:
            connection.close()

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        try:
            url = urlsplit(self.endpoint)
            host, port = url.hostname, url.port
        except ValueError:
            host = None
        if not host or url.scheme not in {"http", "https"}:
            raise ClientError(
                f'The endpoint "{self.endpoint}" is no URL such as http://192.0.2.1:2633/RPC2'
            )
        path = url.path or "/RPC2"
        if url.scheme == "https":
            context = self.context or ssl.create_default_context()
            secure = http.client.HTTPSConnection(
                host, port, timeout=self.timeout_seconds, context=context
            )
            return secure, path
        return http.client.HTTPConnection(host, port, timeout=self.timeout_seconds), path


def client_from_environment(environ: Mapping[str, str], endpoint: str, session: str) -> Client:
    """A client with OpenNebula's variables for timeout and TLS taken into account.

    Raises:
        ClientError: ``ONE_XMLRPC_TIMEOUT`` is no number of seconds.
    """
    text = environ.get("ONE_XMLRPC_TIMEOUT") or str(DEFAULT_TIMEOUT_SECONDS)
    try:
        timeout = float(text)
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < 1e6:  # noqa: PLR2004
        raise ClientError(f'ONE_XMLRPC_TIMEOUT="{text}": must be a number of seconds')
    return Client(endpoint, session, timeout, _tls(environ))


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    directory = environ.get("ONE_CERT_DIR")
    unverified = environ.get("ONE_DISABLE_SSL_VERIFY", "").lower() in {"1", "yes", "true"}
    if not directory and not unverified:
        return None
    context = ssl.create_default_context(capath=directory or None)
    if directory:
        load_authorities(context, Path(directory))
    if unverified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def load_authorities(context: ssl.SSLContext, directory: Path) -> None:
    """Trust the certificates in a directory's files, whatever the files are called.

    Raises:
        ClientError: the directory cannot be read.
    """
    try:
        texts = _read_files(directory)
    except OSError as error:
        raise ClientError(f"{directory}: {_reason(error)}") from None
    for text in texts:
        # Beside certificates there may be anything: what is none is left out.
        with contextlib.suppress(ssl.SSLError, ValueError):
            context.load_verify_locations(cadata=text.decode("ascii"))


def _read_files(directory: Path) -> list[bytes]:
    """What the files hold; whoever changes them meanwhile is met by looking again.

    Files are replaced by renaming (ours) or by a link that changes (Kubernetes' volumes): in both
    cases a name that was listed may be gone when it is read, and another is there for it.

    Raises:
        OSError: the directory or a file cannot be read.
    """
    for _ in range(LISTINGS_MAX - 1):
        with contextlib.suppress(FileNotFoundError):
            return _read_listed(directory)
    return _read_listed(directory)


def _read_listed(directory: Path) -> list[bytes]:
    files = sorted(each for each in directory.iterdir() if each.is_file())[:CERTIFICATES_MAX]
    return [each.read_bytes() for each in files if each.stat().st_size <= CERTIFICATE_BYTES]


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
