"""``onedb``: backups of the database, and databases made from them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from oned import pki
from oned.cli.command import ResourceGroup, argument, run
from oned.cli.main import config_option, settings
from oned.config import Config, Environment
from oned.errors import ConfigError, StorageError
from oned.raft.types import Configuration, Member, ServerId
from oned.state.bootstrap import refounded, server_id_for
from oned.storage import backup
from oned.storage.store import Store

F = TypeVar("F", bound=Callable[..., Any])

NOT_BOOTSTRAPPED = 1
"""Exit code of ``onedb version``, as OpenNebula has it."""


@click.group(cls=ResourceGroup, name="onedb")
def onedb() -> None:
    """Manage the OpenNebula database."""


_database_option = click.option(
    "-s",
    "--sqlite",
    "database",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The database; that of the server that oned.conf describes unless given",
)


def _force_option(what: str) -> Callable[[F], F]:
    return click.option("-f", "--force", is_flag=True, help=what)


def _database(given: Path | None, config_path: Path) -> Path:
    return given or settings(config_path)[1].var / "one.db"


@onedb.command("backup")
@argument("output", metavar="output_file", required=False)
@_database_option
@config_option
@_force_option("Replace the file if it exists")
def write_backup(
    output: str | None, database: Path | None, config_path: Path, *, force: bool
) -> None:
    """Write the content of the zone to a file.

    The server may run, and any server of the zone will do: a follower's backup holds what the
    follower has applied. The file holds password hashes, and only its owner can read it.
    """
    place = _database(database, config_path)
    now = datetime.now(UTC).astimezone()
    path = Path(output) if output else place.with_name(f"{place.name}_{now:%Y-%m-%d_%H:%M:%S}.bck")
    written = backup.write(place, path, replace=force)
    click.echo(
        f"Backup of {place} up to entry {written.header.index} stored in {path}"
        f" ({written.size} bytes)\n"
        f"Use 'onedb restore {path}' to make a database of it."
    )


@onedb.command("verify")
@argument("backup_file")
def verify_backup(backup_file: str) -> None:
    """Restore a backup into a database that is thrown away, to see that it is whole."""
    header = backup.verify(Path(backup_file))
    click.echo(f"{backup_file} is whole: zone {header.zone_uuid or 'solo'}, entry {header.index}")


@onedb.command("restore")
@argument("backup_file")
@_database_option
@config_option
@_force_option("Put a database that is there aside, as one.db.replaced-…")
@click.option(
    "--first-server",
    is_flag=True,
    help="Begin a zone anew with the content, and this server as its only one",
)
def restore_backup(
    backup_file: str, database: Path | None, config_path: Path, *, force: bool, first_server: bool
) -> None:
    """Make a database from a backup; the server must be stopped.

    Without --first-server it is a copy for a server that is to join the zone which the backup is
    of: start it, and add it on the leader with "onezone server-add". A member of a zone needs no
    backup, since the leader sends it what it lacks.

    With --first-server all other servers of the zone must be stopped for good, and begin with
    empty databases when they are added again. Users and passwords are those of the backup.
    """
    place = _database(database, config_path)

    def finish(store: Store) -> None:
        if first_server:
            _begin_anew(store, *settings(config_path))

    header = backup.restore(Path(backup_file), place, finish=finish, replace=force)
    click.echo(f"{place} restored up to entry {header.index}.")
    if first_server:
        click.echo("Start oned; add the other servers with 'onezone server-add'.")
    else:
        click.echo("Start oned, and add it on the leader with 'onezone server-add'.")


@onedb.command("version")
@_database_option
@config_option
def show_version(database: Path | None, config_path: Path) -> int:
    """Show the version of the database; exit code 1 when it holds no zone."""
    place = _database(database, config_path)
    if not place.exists():
        raise StorageError(f"there is no database {place}")
    connection = sqlite3.connect(f"file:{place}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT version, comment FROM db_versioning").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"{place} cannot be read: {error}") from error
    finally:
        connection.close()
    if found is None:
        click.echo(f"{place} holds no zone yet.", err=True)
        return NOT_BOOTSTRAPPED
    click.echo(f"Version: {found[0]}\nComment: {found[1]}")
    return 0


def _begin_anew(store: Store, config: Config, environment: Environment) -> None:
    """Make the restored content a zone whose only server is this one."""
    if config.federation.solo:
        store.refound(
            refounded(store, None),
            zone_uuid="",
            server_id=ServerId(-1),
            configuration=Configuration(()),
        )
        return
    certificate = config.peer.directory / f"{environment.server_name}.crt"
    wanted = config.federation.server_id
    server_id = (
        server_id_for(store, environment.server_name) if wanted == "AUTO" else ServerId(wanted)
    )
    if server_id < 0:
        raise ConfigError("SERVER_ID must be AUTO or a number from 0 on")
    server = Member(
        server_id,
        environment.server_name,
        environment.server_endpoint,
        environment.server_peer,
        disk=store.facts.disk,
        voter=True,
    )
    store.refound(
        refounded(store, server),
        zone_uuid=pki.identity(certificate).zone_uuid,
        server_id=server_id,
        configuration=Configuration((server,)),
    )


def main() -> None:
    """Run ``onedb``."""
    run(onedb, "onedb")
