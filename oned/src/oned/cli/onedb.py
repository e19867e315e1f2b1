"""``onedb``: backups of the database, and databases made from them."""

from __future__ import annotations

import copy
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from oned import founding
from oned.cli.client import client_from_environment
from oned.cli.command import ResourceGroup, argument, run
from oned.cli.credentials import find_session
from oned.cli.main import config_option, settings
from oned.cli.scratch import ends_in_order, examine
from oned.errors import OnedError, StorageError
from oned.storage import backup, locations
from oned.storage.snapshot import read_header
from oned.storage.store import Store

F = TypeVar("F", bound=Callable[..., Any])

FAILED = 1
"""Exit code of ``onedb backup`` with a report that tells why."""

REACH_SECONDS_MAX = 600.0

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


_scratch_option = click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=lambda: Path(tempfile.gettempdir()),
    show_default="TMPDIR",
    metavar="DIR",
    help="Where there is space for copies that are thrown away",
)


@onedb.command("backup")
@argument("location", required=False)
@_database_option
@config_option
@_force_option("Replace the backup if it exists")
@click.option(
    "--server",
    metavar="URL",
    help="Ask a running server for it, by its XML-RPC endpoint, with the credentials of ONE_AUTH",
)
@click.option(
    "--to",
    "destination",
    metavar="LOCATION",
    help="Where the backup is stored, instead of the argument",
)
@click.option(
    "--verify",
    "--start",
    "verify",
    is_flag=True,
    help="Start a server on the backup, and ask it, before it is stored",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what was done to a file, as JSON",
)
@_scratch_option
def write_backup(  # noqa: PLR0917 - an option each
    location: str | None,
    database: Path | None,
    config_path: Path,
    server: str | None,
    destination: str | None,
    report: Path | None,
    scratch: Path,
    *,
    force: bool,
    verify: bool,
) -> int:
    """Write the content of the zone to a file.

    LOCATION is a path, file:///folder/name.bck or s3://bucket/folder/name.bck. S3 takes
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and AWS_CA_BUNDLE
    from the environment. With --report the exit code is 1 when there is no backup. A --server that
    takes no connection is tried for ONE_REACH_SECONDS, which are none unless given.

    The server may run, and any server of the zone will do: a follower's backup holds what the
    follower has applied. The file holds password hashes, and only its owner can read it.
    """
    started = time.monotonic()
    try:
        location = _once(location, destination)
        with ends_in_order(), tempfile.TemporaryDirectory(prefix="backup-", dir=scratch) as made:
            path = Path(made) / f"zone{locations.SUFFIX}"
            if server is None:
                source = str(_database(database, config_path))
                if location is None:
                    stamp = f"{datetime.now(UTC).astimezone():%Y-%m-%d_%H:%M:%S}"
                    location = f"{source}_{stamp}{locations.SUFFIX}"
                place = locations.place(location)
                written = backup.write(Path(source), path)
                checksum, size = written.checksum, written.size
            else:
                source, location = server, location or _asked_for_a_location()
                place = locations.place(location)
                client = client_from_environment(os.environ, server, find_session(os.environ))
                client.wait_until_reachable(_reach_seconds(os.environ))
                fetched = client.fetch_backup(path)
                checksum, size = fetched.checksum, fetched.size
            header = examine(path, Path(made)).header if verify else read_header(path)
            place.put(path, replace=force)
    except (OnedError, OSError, click.ClickException) as error:
        if report is None:
            raise
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        _report(report, {"error": said.encode()[:_ERROR_BYTES].decode(errors="ignore")})
        click.echo(said, err=True)
        return FAILED
    _report(
        report,
        {
            "location": location,
            "zone_uuid": header.zone_uuid,
            "index": header.index,
            "size": size,
            "sha256": checksum,
            "server": source,
            "seconds": round(time.monotonic() - started, 3),
            "verified": verify,
            "completed": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    click.echo(
        f"Backup of {source} up to entry {header.index} stored in {location} ({size} bytes)\n"
        f"Use 'onedb restore {location}' to make a database of it."
    )
    return 0


def _reach_seconds(environ: Mapping[str, str]) -> float:
    """ONE_REACH_SECONDS: how long a server that takes no connection is tried; 0 by default."""
    text = environ.get("ONE_REACH_SECONDS", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= REACH_SECONDS_MAX:
        raise click.ClickException(
            f"ONE_REACH_SECONDS is {text!r}, not a number from 0 to {REACH_SECONDS_MAX:g}"
        )
    return seconds


def _once(location: str | None, destination: str | None) -> str | None:
    if destination is not None and location is not None:
        raise click.UsageError("Give the location once: as the argument, or with --to")
    return destination or location


def _asked_for_a_location() -> str:
    raise click.UsageError("With --server, say where the backup is to be stored")


_ERROR_BYTES = 2000


def _report(path: Path | None, content: dict[str, Any]) -> None:
    if path is not None:
        # Not by renaming: Kubernetes gives one file to write into.
        path.write_text(f"{json.dumps(content, ensure_ascii=False)}\n", encoding="utf-8")


@onedb.command("verify")
@argument("location")
@click.option("--start", is_flag=True, help="Start a server on it, too, and ask it")
@_scratch_option
def verify_backup(location: str, scratch: Path, *, start: bool) -> None:
    """Restore a backup into a database that is thrown away, to see that it is whole."""
    with ends_in_order(), tempfile.TemporaryDirectory(prefix="verify-", dir=scratch) as made:
        path = Path(made) / f"zone{locations.SUFFIX}"
        locations.place(location).fetch(path)
        header = examine(path, Path(made)).header if start else backup.verify(path)
    click.echo(
        f"{location} is whole{', and a server works with it' if start else ''}:"
        f" zone {header.zone_uuid or 'solo'}, entry {header.index}"
    )


@onedb.command("backup-list")
@argument("folder")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON")
def list_backups(folder: str, *, as_json: bool) -> None:
    """List the backups in a folder, the oldest first."""
    found = locations.place(folder).listed()
    if as_json:
        rows = [asdict(each) | {"modified": each.modified.isoformat()} for each in found]
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(f"{'SIZE':>14}  {'STORED':<20}  LOCATION")
    for each in found:
        click.echo(f"{each.size:>14}  {each.modified:%Y-%m-%d %H:%M:%SZ}  {each.location}")


@onedb.command("backup-delete")
@argument("location")
def delete_backup(location: str) -> None:
    """Delete a backup; that it is gone already is no error."""
    if not location.endswith(locations.SUFFIX):
        raise StorageError(f"{location} is no backup: its name does not end in {locations.SUFFIX}")
    locations.place(location).delete()
    click.echo(f"{location} deleted.")


for _name, _command in (("list", list_backups), ("delete", delete_backup)):
    # What a client wrote for one release is understood by the next.
    _second = copy.copy(_command)
    _second.hidden = True
    onedb.add_command(_second, _name)


@onedb.command("prepare")
@config_option
@click.option("--preview", is_flag=True, help="Only say, as JSON, what the database holds")
def prepare(config_path: Path, *, preview: bool) -> None:
    """Carry out what ONED_FOUNDING asks for, before the server is started.

    ONED_FOUNDING is JSON: {"id": "…", "server": "<name>", "source": "<location>"}. The server
    of that name begins the zone anew, with the backup, or without a source with its own
    database and all of its log. On any other server the database makes way, under the name
    one.db.replaced-<id>. Each id is carried out once, and again if that was interrupted.
    """
    config, environment = settings(config_path)
    asked = founding.parse(os.environ.get("ONED_FOUNDING", ""))
    if preview:
        found = founding.held(environment.var / "one.db")
        click.echo(json.dumps(asdict(found) if found else None))
        return
    done = founding.prepare(asked, config, environment)
    said = {
        founding.Task.NOTHING: "Nothing to prepare.",
        founding.Task.BEGIN_WITH_OWN: "The zone begins anew with the database of this server.",
        founding.Task.BEGIN_WITH_BACKUP: "The zone begins anew with the backup.",
        founding.Task.MAKE_WAY: "This server begins with an empty database.",
    }
    click.echo(said[done])


@onedb.command("restore")
@argument("location")
@_database_option
@config_option
@_force_option("Put a database that is there aside, as one.db.replaced-…")
@click.option(
    "--first-server",
    is_flag=True,
    help="Begin a zone anew with the content, and this server as its only one",
)
def restore_backup(
    location: str, database: Path | None, config_path: Path, *, force: bool, first_server: bool
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
            founding.begin_anew(store, *settings(config_path))

    with tempfile.TemporaryDirectory(prefix=".restore-", dir=_parent(place)) as made:
        path = Path(made) / f"zone{locations.SUFFIX}"
        locations.place(location).fetch(path)
        header = backup.restore(path, place, finish=finish, replace=force)
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


def _parent(database: Path) -> Path:
    """The directory of a database, which has the space for a backup of it."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{database.parent} cannot be made: {error.strerror}") from None
    return database.parent


def main() -> None:
    """Run ``onedb``."""
    run(onedb, "onedb")
