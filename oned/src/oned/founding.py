"""Founding: a server's database begins a zone anew, and those of the others make way for it.

One mechanism for a new zone from a backup, for going back to a backup, and for a zone that has
lost its majority. It is asked for by ``ONED_FOUNDING`` and carried out before the servers start,
once on each server: what was done is noted beside the database. Interrupted anywhere it is done
again, and nothing is lost by that: databases that make way are kept under another name.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import msgspec

from oned import pki
from oned.config import Config, Environment
from oned.errors import ConfigError, StorageError
from oned.raft.types import Configuration, Member, ServerId
from oned.state.bootstrap import refounded, server_id_for
from oned.storage import backup, locations
from oned.storage.store import Store

NOTE = "founding"
"""File in the state directory: the id of the founding that was carried out last."""

_ID_MAX = 128


class Founding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``ONED_FOUNDING`` asks for, as JSON.

    Attributes:
        id: tells this founding from all others.
        server: the name of the server that is to be the zone's only one.
        source: where the backup is that it begins with; None: with its own database.
        drop: reserved; databases are never dropped, they are put aside.
    """

    id: str
    server: str
    source: str | None = None
    drop: bool = False


class Task(Enum):
    """What a server has to do."""

    NOTHING = auto()
    BEGIN_WITH_OWN = auto()
    BEGIN_WITH_BACKUP = auto()
    MAKE_WAY = auto()


@dataclass(frozen=True, slots=True)
class Held:
    """What a database holds, read without opening it for writing.

    Attributes:
        term: of the last entry in its log; with ``index`` it orders the servers of a zone.
        index: of the last entry in its log.
        server_id: -1 when it belongs to no server.
    """

    zone_uuid: str
    server_id: int
    term: int
    index: int


def parse(text: str) -> Founding | None:
    """What the variable asks for; None when it is empty.

    Raises:
        ConfigError: it is no founding.
    """
    if not text.strip():
        return None
    try:
        founding = msgspec.json.decode(text, type=Founding)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"ONED_FOUNDING: {error}") from None
    if not (founding.id.replace("-", "").isalnum() and len(founding.id) <= _ID_MAX):
        raise ConfigError("ONED_FOUNDING: id must be letters, digits and -")
    if founding.drop:
        raise ConfigError("ONED_FOUNDING: drop must be false, databases are put aside")
    return founding


def decide(founding: Founding | None, *, done: str, server: str) -> Task:
    """What the server called ``server`` has to do, after the founding ``done``."""
    if founding is None or founding.id == done:
        return Task.NOTHING
    if founding.server != server:
        return Task.MAKE_WAY
    return Task.BEGIN_WITH_OWN if founding.source is None else Task.BEGIN_WITH_BACKUP


def prepare(founding: Founding | None, config: Config, environment: Environment) -> Task:
    """Carry it out; the server must not run.

    Raises:
        OnedError: it could not be done; it is as it was, or can be done again.
    """
    note = environment.var / NOTE
    task = decide(founding, done=_done(note), server=environment.server_name)
    if founding is None or task is Task.NOTHING:
        return Task.NOTHING
    database = environment.var / "one.db"
    _clear(environment.var)
    match task:
        case Task.BEGIN_WITH_OWN:
            _begin_with_own(database, config, environment)
        case Task.BEGIN_WITH_BACKUP:
            assert founding.source is not None
            _begin_with_backup(database, founding.source, founding.id, config, environment)
        case Task.MAKE_WAY:
            with backup.claimed(database):
                backup.make_way(database, founding.id)
    backup.write_whole(note, founding.id.encode())
    return task


def held(database: Path) -> Held | None:
    """What ``database`` holds; None when there is none, or no zone in it.

    Raises:
        StorageError: it cannot be read.
    """
    if not database.exists():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=rw", uri=True)
        ) as connection:
            rows = dict(connection.execute("SELECT name, value FROM raft_state").fetchall())
            last = connection.execute(
                "SELECT term, log_index FROM logdb ORDER BY log_index DESC LIMIT 1"
            ).fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"the database {database} cannot be read: {error}") from error
    if rows.get("initialised") != "1":
        return None
    term, index = last or (rows["base_term"], rows["base_index"])
    return Held(rows["zone_uuid"], int(rows["server_id"]), int(term), int(index))


def begin_anew(
    store: Store,
    config: Config,
    environment: Environment,
    *,
    oneadmin: tuple[str, str] | None = None,
) -> None:
    """Make the content of ``store`` a zone whose only server is this one.

    All of its log counts: what a majority may have acknowledged is in the longest log of any
    majority. So entries that are not known to be committed are applied first.

    Args:
        store: the database; nothing else uses it.
        config: oned.conf.
        environment: who this server is.
        oneadmin: name and password of the administrator from now on; as they are if None.
    """
    store.apply_all()
    if config.federation.solo:
        store.refound(
            refounded(store, None, oneadmin=oneadmin),
            zone_uuid="",
            server_id=ServerId(-1),
            configuration=Configuration(()),
        )
        return
    certificate = config.peer.directory / f"{environment.server_name}.crt"
    wanted = config.federation.server_id
    known = server_id_for(store, environment.server_name)
    server = member(store, environment, known if wanted == "AUTO" else ServerId(wanted))
    store.refound(
        refounded(store, server, oneadmin=oneadmin),
        zone_uuid=pki.identity(certificate).zone_uuid,
        server_id=server.server_id,
        configuration=Configuration((server,)),
    )


def member(store: Store, environment: Environment, server_id: ServerId) -> Member:
    """This server as the first member of a zone."""
    if server_id < 0:
        raise ConfigError("SERVER_ID must be AUTO or a number from 0 on")
    return Member(
        server_id,
        environment.server_name,
        environment.server_endpoint,
        environment.server_peer,
        disk=store.facts.disk,
        voter=True,
    )


def read_credentials(path: Path) -> tuple[str, str]:
    """Name and password of the administrator.

    Raises:
        ConfigError: the file is not there, or holds something else.
    """
    try:
        name, colon, password = path.read_text().strip().partition(":")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}. A new zone needs oneadmin's credentials there: "
            f"echo oneadmin:PASSWORD > {path}"
        ) from error
    if not (name and colon and password):
        raise ConfigError(f"{path} must hold one line, oneadmin:PASSWORD")
    return name, password


def _begin_with_own(database: Path, config: Config, environment: Environment) -> None:
    if held(database) is None:
        raise StorageError(
            f"there is no zone in {database} to begin with: name another server, or a backup"
        )
    oneadmin = read_credentials(environment.auth_file)
    store = Store(database)
    try:
        begin_anew(store, config, environment, oneadmin=oneadmin)
        store.sync()
    finally:
        store.close()


def _begin_with_backup(
    database: Path, source: str, name: str, config: Config, environment: Environment
) -> None:
    oneadmin = read_credentials(environment.auth_file)
    environment.var.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".founding-", dir=environment.var) as directory:
        path = Path(directory) / f"source{locations.SUFFIX}"
        locations.place(source).fetch(path)
        backup.restore(
            path,
            database,
            finish=lambda store: begin_anew(store, config, environment, oneadmin=oneadmin),
            replace=True,
            name=name,
        )


def is_founded(environment: Environment) -> bool:
    """Whether a zone was founded that this server is to be in: it must never make another."""
    return bool(_done(environment.var / NOTE))


def _clear(directory: Path) -> None:
    """Remove what an attempt left that was cut off: each holds a whole database or backup."""
    for left_over in (*directory.glob(".founding-*"), *directory.glob(f"{backup.SCRATCH}*")):
        shutil.rmtree(left_over, ignore_errors=True)
    for left_over in directory.glob(f".{NOTE}.*"):
        left_over.unlink(missing_ok=True)


def _done(note: Path) -> str:
    try:
        return note.read_text().strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StorageError(f"{note} cannot be read: {error.strerror}") from error
