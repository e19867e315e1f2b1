"""Where backups are kept: files of a directory (``file:``) or objects of a bucket (``s3:``).

Credentials of S3 come from the environment, under the names that its other clients use, and
appear in no text that leaves this module.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from oned.errors import StorageError
from oned.storage.engine import sync_path, translated

if TYPE_CHECKING:
    from obstore.store import S3Store

SUFFIX = ".bck"
PART_BYTES = 8 * 2**20
"""Size of a part of an upload; a few of them are in memory at a time."""

PARTS_AT_ONCE = 2
LISTED_MAX = 10_000
"""Backups that a listing shows at most."""

LEFT_OVER_SECONDS = 86400
"""Half a file that is so old is nobody's: whoever wrote it was killed."""

_PRIVATE = 0o600
_RETRIES = 4
_REQUEST_SECONDS = 60
_RETRY_SECONDS = 120
_DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup in a listing.

    Attributes:
        location: its URL.
        size: in bytes.
        modified: when it was stored.
    """

    location: str
    size: int
    modified: datetime


class Place(Protocol):
    """One file, or a folder of them, somewhere."""

    def put(self, path: Path, *, replace: bool) -> None:
        """Store the file ``path`` here: all of it, or nothing that could be taken for it."""
        ...

    def fetch(self, path: Path) -> None:
        """Bring the file to ``path``."""
        ...

    def delete(self) -> None:
        """Take it away; that it is gone already is as good."""
        ...

    def listed(self) -> list[Stored]:
        """The backups in this folder, the oldest first."""
        ...


def place(location: str, environ: Mapping[str, str] | None = None) -> Place:
    """What a URL, or a plain path, stands for.

    Raises:
        StorageError: it is none that is known, or S3's settings are missing.
    """
    scheme, separator, _ = location.partition("://")
    if not separator:
        return Directory(Path(location))
    url = urlsplit(location)
    if scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
            raise StorageError(f"{location}: a file is given as file:///directory/name{SUFFIX}")
        return Directory(Path(unquote(url.path)))
    if scheme == "s3":
        if not url.netloc or url.query or url.fragment:
            raise StorageError(f"{location}: an object is given as s3://bucket/folder/name{SUFFIX}")
        given = dict(os.environ if environ is None else environ)
        return Bucket(url.netloc, unquote(url.path).strip("/"), given)
    raise StorageError(f"{location}: give a path, file:///… or s3://bucket/…")


@dataclass(frozen=True, slots=True)
class Directory:
    """A path on this machine."""

    path: Path

    def put(self, path: Path, *, replace: bool) -> None:
        target = self.path
        if target.exists() and not replace:
            raise StorageError(f"{target} exists: choose another name, or -f replaces it")
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent)
            # It holds the users' password hashes.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
            with os.fdopen(descriptor, "wb") as out, path.open("rb") as file:
                shutil.copyfileobj(file, out, PART_BYTES)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(target)
            sync_path(target.parent)
        except OSError as error:
            raise translated(error, f"write the backup {target}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def fetch(self, path: Path) -> None:
        if not self.path.is_file():
            raise StorageError(f"there is no backup {self.path}")
        try:
            shutil.copyfile(self.path, path)
        except OSError as error:
            raise translated(error, f"read the backup {self.path}") from error

    def delete(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
            if self.path.parent.is_dir():
                sync_path(self.path.parent)
        except OSError as error:
            raise translated(error, f"delete the backup {self.path}") from error

    def listed(self) -> list[Stored]:
        try:
            found = [
                Stored(each.as_uri(), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
                for each in self.path.absolute().glob(f"*{SUFFIX}")
                if not each.name.startswith(".") and each.is_file() and (stat := each.stat())
            ]
        except OSError as error:
            raise translated(error, f"list {self.path}") from error
        return _bounded(found)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A key of an S3-compatible store, addressed by path as all of them understand it."""

    bucket: str
    key: str
    environ: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Bucket({self._url(self.key)!r})"

    def put(self, path: Path, *, replace: bool) -> None:
        import obstore  # noqa: PLC0415 - 10 MB that no other command needs

        store = self._store()
        if not replace and self._size(store) is not None:
            raise StorageError(f"{self._url(self.key)} exists: choose another name, or -f")
        size = path.stat().st_size
        with self._told("store"):
            obstore.put(store, self.key, path, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        stored = self._size(store)
        if stored != size:
            self.delete()
            raise StorageError(
                f"{self._url(self.key)} has {stored or 0} bytes after {size} were stored"
            )

    def fetch(self, path: Path) -> None:
        import obstore  # noqa: PLC0415

        store, written = self._store(), 0
        with self._told("read"):
            before = obstore.head(store, self.key)
            # In parts: a request that lasts as long as a large file does is cut by its time limit.
            with path.open("wb") as out:
                while written < before["size"]:
                    length = min(PART_BYTES, before["size"] - written)
                    block = obstore.get_range(store, self.key, start=written, length=length)
                    written += out.write(block)
                    if len(block) != length:
                        break
            after = obstore.head(store, self.key)
        if (written, before["e_tag"]) != (after["size"], after["e_tag"]):
            raise StorageError(f"{self._url(self.key)} did not arrive whole: try again")

    def delete(self) -> None:
        import obstore  # noqa: PLC0415

        # A key that is gone is no error to S3: what it misses then is the bucket, or the user.
        with self._told("delete"):
            obstore.delete(self._store(), self.key)

    def listed(self) -> list[Stored]:
        import obstore  # noqa: PLC0415

        with self._told("list"):
            found = [
                Stored(self._url(each["path"]), each["size"], each["last_modified"])
                for part in obstore.list(self._store(), prefix=self.key or None)
                for each in part
                if str(PurePosixPath(each["path"]).parent) in (self.key, self.key or ".")
                and each["path"].endswith(SUFFIX)
            ]
        return _bounded(found)

    def _size(self, store: S3Store) -> int | None:
        import obstore  # noqa: PLC0415

        try:
            with self._told("look at"):
                return int(obstore.head(store, self.key)["size"])
        except FileNotFoundError:
            return None

    def _store(self) -> S3Store:
        from obstore.store import S3Store  # noqa: PLC0415

        given = self.environ
        missing = [
            name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not given.get(name)
        ]
        if missing:
            raise StorageError(f"s3://{self.bucket} needs {' and '.join(missing)} set")
        endpoint = given.get("AWS_ENDPOINT_URL", "")
        client: Any = {
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
        }
        if given.get("AWS_CA_BUNDLE"):
            try:
                client["root_certificate"] = Path(given["AWS_CA_BUNDLE"]).read_bytes()
            except OSError as error:
                raise StorageError(f"AWS_CA_BUNDLE cannot be read: {error.strerror}") from None
        settings: dict[str, Any] = {
            "access_key_id": given["AWS_ACCESS_KEY_ID"],
            "secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
            "region": given.get("AWS_REGION") or _DEFAULT_REGION,
            "virtual_hosted_style_request": False,
        }
        if given.get("AWS_SESSION_TOKEN"):
            settings["session_token"] = given["AWS_SESSION_TOKEN"]
        if endpoint:
            settings["endpoint"] = endpoint
        retries: Any = {
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        }
        with self._told("reach"):
            return S3Store(self.bucket, client_options=client, retry_config=retries, **settings)

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def _told(self, doing: str) -> _Told:
        return _Told(f"cannot {doing} {self._url(self.key)}")


class _Told:
    """Turns what the store's client raises into one short line without its request."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, StorageError):
            return
        if isinstance(error, FileNotFoundError) and self._what.startswith("cannot look at"):
            return
        reasons = {
            FileNotFoundError: "there is no such backup, bucket or user",
            PermissionError: "the store refuses: see keys and rights",
        }
        text = next((text for each, text in reasons.items() if isinstance(error, each)), None)
        raise StorageError(f"{self._what}: {text or _reason(error)}") from None


_REASON_CHARACTERS = 300


def _reason(error: Exception) -> str:
    """The first line of an error, which has no headers and so no keys in it."""
    line = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {(line or [''])[0][:_REASON_CHARACTERS]}"


def _bounded(found: list[Stored]) -> list[Stored]:
    return sorted(found, key=lambda each: each.modified)[-LISTED_MAX:]


def _sweep(folder: Path) -> None:
    """Remove what commands left that were killed: it would fill the disk."""
    for each in folder.glob(f".*{SUFFIX}.????????"):
        with suppress(FileNotFoundError):
            if time.time() - each.stat().st_mtime > LEFT_OVER_SECONDS:
                each.unlink()
