"""What the resource commands share: connection, names and ids, actions, templates, documents."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from lxml import etree

from oned.cli.client import Client, ClientError, client_from_environment
from oned.cli.credentials import find_endpoint, find_session
from oned.errors import OnedError
from oned.template import Template

RANGE = re.compile(r"(\d+)\.\.(\d+)")

MAXIMUM_IDS = 100_000
"""Ids in one list: a mistyped range must not run for hours."""


class CommandError(OnedError):
    """What the user asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object of the API.

    Attributes:
        word: its XML element, also used in messages.
        prefix: of its methods, ``one.zone``.
    """

    word: str
    prefix: str

    @property
    def pool_method(self) -> str:
        """The method that lists all of them."""
        return "one.acl.info" if self.word == "ACL" else f"{self.prefix}pool.info"


ZONE = Resource("ZONE", "one.zone")
USER = Resource("USER", "one.user")
GROUP = Resource("GROUP", "one.group")
ACL = Resource("ACL", "one.acl")


class Session:
    """One command's connection to the front-end.

    Credentials are looked up at the first call, so that what is mistyped is told first.
    """

    def __init__(self, connect: Callable[[], Client], *, verbose: bool = False) -> None:
        self._connect = connect
        self.verbose = verbose

    @functools.cached_property
    def client(self) -> Client:
        """The client, made when it is first asked for."""
        return self._connect()

    def call(self, method: str, *parameters: str | int | bool) -> Any:
        """Call the API as this user; errors carry the front-end's text."""
        return self.client.call(method, *parameters)

    def document(self, method: str, *parameters: str | int | bool) -> etree._Element:
        """Call a method that answers with XML."""
        answer = self.call(method, *parameters)
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, strip_cdata=False, huge_tree=True
        )
        try:
            return etree.fromstring(str(answer).encode(), parser)
        except etree.XMLSyntaxError:
            raise ClientError(f"{method} did not answer with XML") from None

    def pool(self, resource: Resource) -> etree._Element:
        """All objects of a kind that this user may see."""
        return self.document(resource.pool_method)

    def identify(self, resource: Resource, text: str) -> int:
        """Id of the object that ``text`` means: its id or its name.

        Raises:
            CommandError: no object, or more than one, has that name.
        """
        if re.fullmatch(r"\d{1,9}", text):
            return int(text)
        found = [item for item in self.pool(resource) if item.findtext("NAME") == text]
        found = [item for item in found if item.tag == resource.word]
        if not found:
            raise CommandError(f"{resource.word} named {text} not found.")
        if len(found) > 1:
            raise CommandError(f"There are multiple {resource.word}S with name {text}.")
        return int(found[0].findtext("ID") or -1)

    def identify_all(self, resource: Resource, text: str) -> list[int]:
        """Ids that a list means: ids, ranges and names, separated by commas."""
        ids: list[int] = []
        for item in filter(None, (part.strip() for part in text.split(","))):
            span = RANGE.fullmatch(item)
            if span:
                first, last = int(span[1]), int(span[2])
                if last - first >= MAXIMUM_IDS:
                    raise CommandError(f"The range {item} has more than {MAXIMUM_IDS} ids.")
                ids.extend(range(first, last + 1))
            else:
                ids.append(self.identify(resource, item))
        if not ids:
            raise CommandError(f'"{text}" names no {resource.word}.')
        return list(dict.fromkeys(ids))

    def act(
        self,
        resource: Resource,
        ids: int | Iterable[int],
        message: str,
        action: Callable[[int], object],
    ) -> None:
        """Do ``action`` to each object, stopping at the first that fails; ``-v`` reports each."""
        for number in [ids] if isinstance(ids, int) else ids:
            action(number)
            if self.verbose:
                click.echo(f"{resource.word} {number}: {message}")


def connected(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the connection options, and a ``Session`` as its first argument."""

    @click.option("-v", "--verbose", is_flag=True, help="Verbose mode")
    @click.option(
        "--user", "caller", metavar="name", help="User name used to connect to OpenNebula"
    )
    @click.option(
        "--password", "secret", metavar="password", help="Password to authenticate with OpenNebula"
    )
    @click.option("--endpoint", metavar="endpoint", help="URL of the OpenNebula XML-RPC front-end")
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        verbose: bool,
        caller: str | None,
        secret: str | None,
        endpoint: str | None,
        **kwargs: Any,
    ) -> Any:
        def connect() -> Client:
            password = secret
            if caller is not None and password is None:
                password = click.prompt("Password", hide_input=True, err=True)
            return client_from_environment(
                os.environ,
                find_endpoint(os.environ, endpoint=endpoint),
                find_session(os.environ, user=caller, password=password),
            )

        return function(Session(connect, verbose=verbose), *args, **kwargs)

    return wrapper


def document_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-x``, ``-j``, ``-y``: the command gets ``form``: ``xml``, ``json``, ``yaml`` or None."""

    @click.option("-x", "--xml", "as_xml", is_flag=True, help="Show the resource in XML format")
    @click.option("-j", "--json", "as_json", is_flag=True, help="Show the resource in JSON format")
    @click.option("-y", "--yaml", "as_yaml", is_flag=True, help="Show the resource in YAML format")
    @functools.wraps(function)
    def wrapper(*args: Any, as_xml: bool, as_json: bool, as_yaml: bool, **kwargs: Any) -> Any:
        form = "xml" if as_xml else "json" if as_json else "yaml" if as_yaml else None
        return function(*args, form=form, **kwargs)

    return wrapper


def print_document(element: etree._Element, form: str, *, lists: Iterable[str] = ()) -> None:
    """Print XML as it is (indented), or as JSON or YAML.

    Args:
        element: what the API answered.
        form: ``xml``, ``json`` or ``yaml``.
        lists: elements that become a list even when there is one only.
    """
    if form == "xml":
        etree.indent(element)
        click.echo(etree.tostring(element, encoding="unicode"))
        return
    content = {str(element.tag): as_data(element, lists=frozenset(lists))}
    if form == "json":
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


def as_data(element: etree._Element, *, lists: frozenset[str] = frozenset()) -> Any:
    """XML as nested dictionaries; repeated elements become lists, empty ones ``{}``."""
    if not len(element):
        return element.text or {}
    data: dict[str, Any] = {}
    for child in element:
        name, value = str(child.tag), as_data(child, lists=lists)
        if name not in data:
            data[name] = [value] if name in lists else value
        elif isinstance(data[name], list):
            data[name].append(value)
        else:
            data[name] = [data[name], value]
    return data


def template_of(element: etree._Element) -> Template:
    """The TEMPLATE inside an object."""
    template = element.find("TEMPLATE")
    if template is None:
        return Template()
    return Template.parse(etree.tostring(template, encoding="unicode", with_tail=False))


def print_title(text: str, *, underline: bool = True) -> None:
    """Print the title of a section: padded to 80 columns, bold on a terminal."""
    click.secho(f"{text:<80}", bold=True, underline=underline)


def read_template(path: str | None) -> str:
    """Text of a template from a file, or from standard input when there is no file.

    Raises:
        CommandError: the file cannot be read, or there is nothing to read.
    """
    if path is None:
        if sys.stdin.isatty():
            raise CommandError("A file is needed, or a template on standard input.")
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None


def new_template(path: str | None, current: Callable[[], Template], *, append: bool) -> str:
    """The template for an update: a file's, standard input's, or what the user edits.

    The editor ($EDITOR, else vi) starts with the current template, or with nothing when the
    result is to be appended.
    """
    if path is not None:
        return read_template(path)
    if not sys.stdin.isatty():
        text = sys.stdin.read()
        if text.strip():
            return text
        raise CommandError("A file is needed, or a template on standard input.")
    return _edit("" if append else current().to_text())


def _edit(text: str) -> str:
    editor = shlex.split(os.environ.get("EDITOR") or "/usr/bin/vi")
    with tempfile.TemporaryDirectory(prefix="one-") as directory:
        path = Path(directory) / "template"
        path.write_text(text, encoding="utf-8")
        try:
            finished = subprocess.run([*editor, str(path)], check=False)  # noqa: S603
        except OSError as error:
            raise CommandError(f"The editor {editor[0]} does not start: {error.strerror}") from None
        if finished.returncode != 0:
            raise CommandError(f"The editor ended with {finished.returncode}; nothing is changed.")
        return path.read_text(encoding="utf-8")
