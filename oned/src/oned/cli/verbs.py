"""Commands that kinds of resources share: they differ in the resource's name, and in words."""

from __future__ import annotations

import click

from oned.cli.command import argument
from oned.cli.resource import Resource, Session, connected, new_template, template_of
from oned.template import Template


def add_update(program: click.Group, resource: Resource) -> None:
    """``update``: another template for one of them."""
    name = resource.word.lower()
    description = f"""Update the template of a {name}.

    Without a file an editor is opened, or the template is read from a pipe.
    """

    @program.command("update", help=description)
    @argument("identity", metavar=f"{name}id")
    @argument("file", required=False)
    @click.option(
        "-a", "--append", is_flag=True, help="Add to the template instead of replacing it"
    )
    @connected
    def update(session: Session, identity: str, file: str | None, append: bool) -> None:
        number = session.identify(resource, identity)

        def current() -> Template:
            return template_of(session.document(f"{resource.prefix}.info", number))

        text = new_template(file, current, append=append)
        session.act(
            resource,
            number,
            "modified",
            lambda each: session.call(f"{resource.prefix}.update", each, text, int(append)),
        )


def add_action(
    program: click.Group,
    resource: Resource,
    name: str,
    *parameters: str | int | bool,
    method: str = "",
    message: str,
    description: str,
) -> None:
    """A command that does the same to each of a list: ids, ranges and names.

    Args:
        program: gets the command.
        resource: what the list names.
        name: of the command.
        parameters: of the method, behind the id.
        method: of the API, without the resource's prefix; the command's name unless given.
        message: what ``-v`` reports of each.
        description: for ``--help``.
    """

    @program.command(name, help=description)
    @argument("identities", metavar=f"range|{resource.word.lower()}id_list")
    @connected
    def command(session: Session, identities: str) -> None:
        session.act(
            resource,
            session.identify_all(resource, identities),
            message,
            lambda each: session.call(f"{resource.prefix}.{method or name}", each, *parameters),
        )
