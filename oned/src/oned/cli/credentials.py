"""Who is calling and which front-end is called, looked up in OpenNebula's order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oned.constants import RPC_PORT
from oned.errors import OnedError

SYSTEM_DIRECTORY = Path("/var/lib/one/.one")
DEFAULT_ENDPOINT = f"http://localhost:{RPC_PORT}/RPC2"


class CredentialsError(OnedError):
    """No usable credentials were found; the text names the places, never their contents."""


def find_session(
    environ: Mapping[str, str], *, user: str | None = None, password: str | None = None
) -> str:
    """The ``user:password`` of a call.

    Args:
        environ: ``ONE_AUTH`` names a file; ``HOME`` has ``.one/one_auth``.
        user: given on the command line, with ``password``; nothing else is looked at then.
        password: see ``user``.

    Raises:
        CredentialsError: no file is there, or it holds no ``user:password``.
    """
    if user is not None:
        return f"{user}:{password or ''}"
    candidates = (
        [Path(environ["ONE_AUTH"])] if environ.get("ONE_AUTH") else _places(environ, "one_auth")
    )
    for path in candidates:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"{path} cannot be read: {_reason(error)}") from None
        if not lines or ":" not in lines[0]:
            raise CredentialsError(f"{path} does not hold user:password on its first line")
        return lines[0].strip()
    places = ", ".join(map(str, candidates))
    raise CredentialsError(f"No credentials: give --user, or put user:password into {places}")


def find_endpoint(environ: Mapping[str, str], *, endpoint: str | None = None) -> str:
    """The URL of the front-end: option, ``ONE_XMLRPC``, ``one_endpoint`` files, this host."""
    if endpoint:
        return endpoint
    if environ.get("ONE_XMLRPC"):
        return environ["ONE_XMLRPC"]
    for path in _places(environ, "one_endpoint"):
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return text.splitlines()[0]
    return DEFAULT_ENDPOINT


def _places(environ: Mapping[str, str], name: str) -> list[Path]:
    home = environ.get("HOME")
    own = [Path(home) / ".one" / name] if home else []
    return [*own, SYSTEM_DIRECTORY / name]


def _reason(error: Exception) -> str:
    return error.strerror or "" if isinstance(error, OSError) else "not UTF-8"
