"""``oned``: run a server, prepare one, or have a whole zone on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from oned import pki
from oned.cli.command import exit_code, version_text
from oned.config import (
    DEFAULT_PATH,
    Config,
    Environment,
    default_text,
    load_config,
    load_environment,
)

EXIT_FAILURE = 1

_HELP = {"help_option_names": ["-h", "--help"]}


def _default_path() -> Path:
    location = os.environ.get("ONE_LOCATION")
    return Path(location) / "etc" / "oned.conf" if location else DEFAULT_PATH


config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=_default_path,
    show_default="/etc/one/oned.conf",
    help="The server's oned.conf",
)


def settings(path: Path) -> tuple[Config, Environment]:
    """oned.conf and the environment."""
    config = load_config(path.absolute(), os.environ)
    return config, load_environment(config)


@click.group(context_settings=_HELP)
@click.version_option(None, "-V", "--version", message=version_text("oned"), package_name="oned")
def oned() -> None:
    """OpenNebula front-end daemon, kept available by Raft."""


@oned.command()
@config_option
def serve(config_path: Path) -> int:
    """Run a server until it is told to stop (SIGTERM or SIGINT)."""
    config, environment = settings(config_path)
    # structlog loads rich where it is installed, for tracebacks that we never print: 5 MB.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    # Imported late: the other commands need no server, and a wrong file is told at once.
    from oned import daemon  # noqa: PLC0415

    return daemon.run(config, environment)


@oned.command()
@config_option
def init(config_path: Path) -> None:
    """Make the database of a new zone, and end.

    "serve" does so by itself, on a server alone or on the one named by ONED_BOOTSTRAP.
    """
    config, environment = settings(config_path)
    from oned import daemon  # noqa: PLC0415

    daemon.init(config, environment)
    click.echo(f"Database made: {environment.var / 'one.db'}")


@oned.command()
@config_option
def check(config_path: Path) -> None:
    """Check oned.conf and the environment, and name what has no effect."""
    config, environment = settings(config_path)
    for warning in config.warnings:
        click.echo(warning, err=True)
    click.echo(f"{config.path}: right, for server {environment.server_name}")


@oned.command("config")
def print_config() -> None:
    """Print an oned.conf with the defaults, each explained."""
    click.echo(default_text(), nl=False)


@oned.group("pki")
def certificates() -> None:
    """Certificates with which the servers of a zone know each other."""


@certificates.command("ca")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where ca.crt and ca.key are put; keep ca.key off the servers",
)
@click.option("--zone-uuid", metavar="UUID", help="The zone's uuid; a new one unless given")
def create_authority(directory: Path, zone_uuid: str | None) -> None:
    """Make the authority of a new zone."""
    authority = pki.create_authority(directory, zone_uuid)
    click.echo(f"Authority of zone {authority.zone_uuid} in {directory}")


@certificates.command("server")
@click.argument("name")
@click.option(
    "--ca",
    "ca_directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory of the authority",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="A DNS name or address of the server; may be repeated",
)
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where NAME.crt, NAME.key and ca.crt are put: the server's PEER/DIRECTORY",
)
def issue_server(name: str, ca_directory: Path, hosts: tuple[str, ...], directory: Path) -> None:
    """Issue or renew the certificate of server NAME."""
    authority = pki.load_authority(ca_directory)
    path = pki.issue_server(authority, name, hosts=hosts or (name,), directory=directory)
    click.echo(f"Certificate of {name} in zone {authority.zone_uuid}: {path}")


@certificates.command("api")
@click.option(
    "--ca",
    "ca_directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory of the authority",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    metavar="HOST",
    help="A DNS name or address in the URLs that clients use; may be repeated",
)
@click.option(
    "--out",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where tls.crt, tls.key and ca.crt are put, for API_TLS in oned.conf",
)
def issue_api(ca_directory: Path, hosts: tuple[str, ...], directory: Path) -> None:
    """Issue or renew a certificate for the API's port.

    A running server takes the new one by itself.
    """
    authority = pki.load_authority(ca_directory)
    path = pki.issue_api(authority, hosts=hosts, directory=directory)
    click.echo(f"Certificate for {', '.join(hosts)}: {path}")


@oned.group("zone")
def zone() -> None:
    """A whole zone of real servers on this machine, to try and to test."""


_directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory of the zone",
)


@zone.command("up")
@_directory_option
@click.option(
    "--servers",
    type=click.IntRange(1, 9),
    metavar="N",
    help="How many servers (3 in a new zone)",
)
@click.option(
    "--base-port",
    type=click.IntRange(1024, 65000),
    metavar="PORT",
    help="Server i listens at PORT+10i (XML-RPC), +2 (peers), +3 (admin); free ports unless given",
)
@click.option(
    "--election-timeout-ms",
    type=click.IntRange(10, 60000),
    metavar="MS",
    help="Raft timer of new servers, instead of the default",
)
@click.option("--tls", is_flag=True, help="New servers speak https to clients")
def zone_up(
    *,
    directory: Path,
    servers: int | None,
    base_port: int | None,
    election_timeout_ms: int | None,
    tls: bool,
) -> None:
    """Make a zone, or start those of its servers that are down."""
    from oned.cli import local_commands  # noqa: PLC0415

    local_commands.up(
        directory,
        servers=servers,
        base_port=base_port,
        election_timeout_ms=election_timeout_ms,
        tls=tls,
    )


@zone.command("down")
@_directory_option
def zone_down(directory: Path) -> None:
    """Stop the servers of a zone; "up" starts them again."""
    from oned.cli import local_commands  # noqa: PLC0415

    local_commands.down(directory)


@zone.command("status")
@_directory_option
def zone_status(directory: Path) -> int:
    """Show the servers of a zone; fails unless all run and one leads."""
    from oned.cli import local_commands  # noqa: PLC0415

    return 0 if local_commands.show(directory) else EXIT_FAILURE


def main() -> None:
    """Run ``oned``."""
    sys.exit(exit_code(oned, "oned", failure=EXIT_FAILURE))
