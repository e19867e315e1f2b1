"""``onegroup``: groups of users and who administers them."""

from __future__ import annotations

from collections.abc import Callable

import click
from lxml import etree

from oned.cli.command import ResourceGroup, argument, run
from oned.cli.resource import (
    GROUP,
    USER,
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

OWN_GROUP = -1


@click.group(cls=ResourceGroup, name="onegroup")
def onegroup() -> None:
    """Manage OpenNebula groups."""


@onegroup.command("create")
@argument("name")
@connected
def create(session: Session, name: str) -> None:
    """Create a group."""
    click.echo(f"ID: {session.call('one.group.allocate', name)}")


@onegroup.command("list")
@connected
@list_options
@document_options
def list_groups(session: Session, options: ListOptions, form: str | None) -> None:
    """List the groups."""
    if form:
        print_document(session.pool(GROUP), form, lists=("GROUP",))
        return
    _TABLE.show(lambda: pool_usage(session.pool(GROUP), "GROUP"), options)


@onegroup.command("show")
@argument("groupid", required=False)
@document_options
@connected
def show(session: Session, groupid: str | None, form: str | None) -> None:
    """Show a group, the caller's own without an argument."""
    number = session.identify(GROUP, groupid) if groupid else OWN_GROUP
    group = session.document("one.group.info", number)
    if form:
        print_document(group, form)
    else:
        _print_group(group)


add_update(onegroup, GROUP)
add_action(onegroup, GROUP, "delete", message="deleted", description="Delete groups.")


def _admin_command(name: str, method: str, message: str, description: str) -> None:
    @onegroup.command(name, help=description)
    @argument("groupid_list", metavar="range|groupid_list")
    @argument("userid")
    @connected
    def command(session: Session, groupid_list: str, userid: str) -> None:
        groups = session.identify_all(GROUP, groupid_list)
        user = session.identify(USER, userid)
        session.act(GROUP, groups, message, lambda group: session.call(method, group, user))


_admin_command(
    "addadmin", "one.group.addadmin", "admin added", "Make a member an administrator of groups."
)
_admin_command(
    "deladmin",
    "one.group.deladmin",
    "admin deleted",
    "Take the administration of groups from a member.",
)


def _text(path: str) -> Callable[[etree._Element], str]:
    return lambda element: element.findtext(path) or ""


_TABLE = Table(
    [
        Column("ID", "Group id", 4, _text("ID")),
        Column("NAME", "Name of the group", 29, _text("NAME"), left=True, expands=True),
        Column(
            "USERS",
            "Number of its users",
            5,
            lambda usage: str(len(usage.element.findall("USERS/ID"))),
        ),
        *usage_columns(),
    ]
)


def _print_group(group: etree._Element) -> None:
    number = group.findtext("ID")
    print_title(f"GROUP {number} INFORMATION")
    click.echo(f"{'ID':<15}: {number or '':<20}")
    click.echo(f"{'NAME':<15}: {group.findtext('NAME') or '':<20}")
    click.echo()
    print_title("GROUP TEMPLATE", underline=False)
    click.echo(template_of(group).to_text())
    click.echo()
    print_title("USERS", underline=False)
    click.echo(f"{'ID':<15}")
    admins = {item.text for item in group.iterfind("ADMINS/ID")}
    for item in group.iterfind("USERS/ID"):
        mark = " *" if item.text in admins else ""
        click.echo(f"{item.text or '':<15}{mark}".rstrip())


def main() -> None:
    """Run ``onegroup``."""
    run(onegroup, "onegroup")
