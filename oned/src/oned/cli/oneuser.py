"""``oneuser``: users, their groups, passwords and login tokens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from lxml import etree

from oned.cli.command import ResourceGroup, argument, run
from oned.cli.credentials import find_session
from oned.cli.resource import (
    GROUP,
    USER,
    CommandError,
    Session,
    connected,
    document_options,
    print_document,
    print_title,
    template_of,
)
from oned.cli.tables import Column, ListOptions, Table, list_options
from oned.cli.usage import pool_usage, usage_columns
from oned.cli.verbs import add_action, add_update

SELF = -1
TOKEN_SECONDS = 36_000


@click.group(cls=ResourceGroup, name="oneuser")
def oneuser() -> None:
    """Manage OpenNebula users."""


def _password_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--sha256", is_flag=True, help="Hash the password with SHA-256 first"),
        click.option("--driver", metavar="driver", help="Driver that authenticates this user"),
        click.option("-r", "--read-file", is_flag=True, help="Read the password from a file"),
    ):
        function = option(function)
    return function


@oneuser.command("create")
@argument("username")
@argument("password", required=False)
@_password_options
@click.option("--group", metavar="id,…", help="Groups, the first of which is the primary one")
@connected
def create(
    session: Session,
    *,
    username: str,
    password: str | None,
    read_file: bool,
    driver: str | None,
    sha256: bool,
    group: str | None,
) -> None:
    """Create a user.

    Without a password it is asked for, or read from a pipe:
        oneuser create my_user my_password
        oneuser create my_user -r /tmp/my_password
    """
    secret = _password(password, read_file=read_file, sha256=sha256)
    parameters: list[Any] = [username, secret, driver or "core"]
    if group:
        parameters.append(session.identify_all(GROUP, group))
    click.echo(f"ID: {session.call('one.user.allocate', *parameters)}")


@oneuser.command("list")
@click.option("-n", "--numeric", is_flag=True, help="Show ids of groups, not names")
@connected
@list_options
@document_options
def list_users(session: Session, options: ListOptions, form: str | None, numeric: bool) -> None:
    """List the users."""
    if form:
        print_document(session.pool(USER), form, lists=("USER",))
        return
    _user_table(numeric=numeric).show(lambda: pool_usage(session.pool(USER), "USER"), options)


@oneuser.command("show")
@argument("userid", required=False)
@document_options
@connected
def show(session: Session, userid: str | None, form: str | None) -> None:
    """Show a user, the caller without an argument."""
    number = session.identify(USER, userid) if userid else SELF
    user = session.document("one.user.info", number)
    if form:
        print_document(user, form)
    else:
        _print_user(user)


add_update(oneuser, USER)


@oneuser.command("passwd")
@argument("userid")
@argument("password", required=False)
@_password_options
@connected
def passwd(
    session: Session,
    *,
    userid: str,
    password: str | None,
    read_file: bool,
    driver: str | None,
    sha256: bool,
) -> None:
    """Change a user's password; without one it is asked for."""
    del driver  # taken, as OpenNebula's command does, and of no meaning here
    number = session.identify(USER, userid)
    secret = _password(password, read_file=read_file, sha256=sha256)
    session.act(
        USER, number, "Password changed", lambda user: session.call("one.user.passwd", user, secret)
    )


@oneuser.command("chauth")
@argument("userid")
@argument("auth", required=False)
@argument("password", required=False)
@_password_options
@connected
def chauth(
    session: Session,
    *,
    userid: str,
    auth: str | None,
    password: str | None,
    read_file: bool,
    driver: str | None,
    sha256: bool,
) -> None:
    """Change the driver that authenticates a user, and the password if one is given."""
    name = driver or auth
    if not name:
        raise CommandError("An Auth driver should be specified")
    given = password is not None
    secret = _password(password, read_file=read_file, sha256=sha256) if given else ""
    session.act(
        USER,
        session.identify(USER, userid),
        "Auth driver and password changed",
        lambda user: session.call("one.user.chauth", user, name, secret),
    )


add_action(oneuser, USER, "delete", message="deleted", description="Delete users.")


def _group_command(name: str, method: str, message: str, description: str) -> None:
    """One of the commands that put users and a group into a relation."""

    @oneuser.command(name, help=description)
    @argument("userid_list", metavar="range|userid_list")
    @argument("groupid")
    @connected
    def command(session: Session, userid_list: str, groupid: str) -> None:
        users = session.identify_all(USER, userid_list)
        group = session.identify(GROUP, groupid)
        session.act(USER, users, message, lambda user: session.call(method, user, group))


_group_command("chgrp", "one.user.chgrp", "Group changed", "Change the primary group of users.")
_group_command("addgroup", "one.user.addgroup", "group added", "Add users to a secondary group.")
_group_command(
    "delgroup", "one.user.delgroup", "group deleted", "Remove users from a secondary group."
)


add_action(oneuser, USER, "enable", True, message="enabled", description="Let users in again.")
add_action(
    oneuser,
    USER,
    "disable",
    False,
    method="enable",
    message="disabled",
    description="Refuse users until they are enabled again.",
)


@oneuser.command("token-create")
@argument("username", required=False)
@click.option(
    "--time",
    "seconds",
    type=click.IntRange(min=-1),
    default=TOKEN_SECONDS,
    metavar="x",
    help="Seconds for which the token is good; -1 for ever, 0 deletes tokens",
)
@click.option("--group", metavar="id|name", help="Group that the token is restricted to")
@connected
def token_create(session: Session, username: str | None, seconds: int, group: str | None) -> None:
    """Make a login token and print it; it is a password, so mind who sees it."""
    name = username or session.client.session.partition(":")[0]
    egid = session.identify(GROUP, group) if group else -1
    token = session.call("one.user.login", name, "", seconds, egid)
    click.echo("Tokens deleted" if seconds == 0 else token)


@oneuser.command("token-set")
@argument("username", required=False)
@click.option("--token", metavar="token", required=True, help="The token, or how it begins")
@connected
def token_set(session: Session, username: str | None, token: str) -> None:
    """Write a file with ``user:token``, and print the line that makes the commands use it."""
    name = username or session.client.session.partition(":")[0]
    number = session.identify(USER, username) if username else SELF
    user = session.document("one.user.info", number)
    found = [text for text in map(_text("TOKEN"), user.iterfind("LOGIN_TOKEN")) if text]
    matches = [text for text in found if text.startswith(token)]
    if len(matches) != 1:
        raise CommandError(
            "No token begins so." if not matches else "More than one token begins so."
        )
    directory = Path(os.environ.get("HOME", "/")) / ".one"
    path = directory / f"{matches[0][:8]}.token"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{name}:{matches[0]}\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    find_session({"ONE_AUTH": str(path)})
    click.echo(f"export ONE_AUTH={path}; export ONE_EGID=-1")


def _password(given: str | None, *, read_file: bool, sha256: bool) -> str:
    """The password from the argument, from the file that it names, or from the user."""
    if given is None:
        secret = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    elif read_file:
        try:
            lines = Path(given).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise CommandError(f"Cannot read file: {given}") from None
        if not lines:
            raise CommandError(f"Cannot read file: {given} is empty")
        secret = lines[0]
    else:
        secret = given
    return hashlib.sha256(secret.encode()).hexdigest() if sha256 else str(secret)


def _text(path: str) -> Callable[[etree._Element], str]:
    return lambda element: element.findtext(path) or ""


def _yes_no(user: etree._Element) -> str:
    return "yes" if user.findtext("ENABLED") == "1" else "no"


def _user_table(*, numeric: bool) -> Table:
    group = _text("GID" if numeric else "GNAME")
    return Table(
        [
            Column("ID", "User id", 4, _text("ID")),
            Column("NAME", "Name of the user", 20, _text("NAME"), left=True, expands=True),
            Column(
                "ENABLED",
                "Whether the user may log in",
                4,
                _yes_no,
                left=True,
                title="ENAB",
                coloured=True,
            ),
            Column("GROUP", "Primary group", 10, group, left=True),
            Column("AUTH", "Authentication driver", 8, _text("AUTH_DRIVER"), left=True),
            *usage_columns(),
            Column("PASSWORD", "Hash of the password", 50, _text("PASSWORD")),
        ],
        default=("ID", "NAME", "ENABLED", "GROUP", "AUTH", "VMS", "MEMORY", "CPU"),
    )


def _print_user(user: etree._Element) -> None:
    number, group = user.findtext("ID"), user.findtext("GID")
    secondary = [item.text for item in user.iterfind("GROUPS/ID") if item.text != group]
    print_title(f"USER {number} INFORMATION")
    for key, value in (
        ("ID", number),
        ("NAME", user.findtext("NAME")),
        ("GROUP", user.findtext("GNAME")),
        *([("SECONDARY GROUPS", ",".join(filter(None, secondary)))] if secondary else []),
        ("PASSWORD", user.findtext("PASSWORD")),
        ("AUTH_DRIVER", user.findtext("AUTH_DRIVER")),
        ("ENABLED", "Yes" if user.findtext("ENABLED") == "1" else "No"),
    ):
        click.echo(f"{key:<16}: {value or '':<20}")
    click.echo()
    print_title("TOKENS", underline=False)
    tokens = user.findall("LOGIN_TOKEN")
    if tokens:
        click.echo(_TOKENS.render(tokens))
    click.echo()
    print_title("USER TEMPLATE", underline=False)
    click.echo(template_of(user).to_text())


def _expires(token: etree._Element) -> str:
    seconds = int(token.findtext("EXPIRATION_TIME") or 0)
    if seconds < 0:
        return "forever"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


_TOKENS = Table(
    [
        Column("ID", "Beginning of the token", 7, lambda token: _text("TOKEN")(token)[:7]),
        Column("EGID", "Group it is restricted to", 5, _text("EGID"), left=True),
        Column("EXPIRATION", "When it expires (UTC)", 20, _expires, left=True),
    ]
)


def main() -> None:
    """Run ``oneuser``."""
    run(oneuser, "oneuser")
