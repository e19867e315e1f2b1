"""``oneacl``: access rules."""

from __future__ import annotations

import re

import click
from lxml import etree

from oned.cli.command import ResourceGroup, argument, run
from oned.cli.resource import (
    ACL,
    CommandError,
    Session,
    connected,
    document_options,
    print_document,
)
from oned.cli.tables import Column, ListOptions, Table, list_options
from oned.state.acl import ALL, CLUSTER, GROUP, INDIVIDUAL, ObjectType
from oned.state.permissions import Right

RESOURCE_LETTERS = {
    "VM": "V",
    "HOST": "H",
    "NET": "N",
    "IMAGE": "I",
    "USER": "U",
    "TEMPLATE": "T",
    "GROUP": "G",
    "DATASTORE": "D",
    "CLUSTER": "C",
    "DOCUMENT": "O",
    "ZONE": "Z",
    "SECGROUP": "S",
    "VDC": "v",
    "VROUTER": "R",
    "MARKETPLACE": "M",
    "MARKETPLACEAPP": "A",
    "VMGROUP": "P",
    "VNTEMPLATE": "t",
    "BACKUPJOB": "B",
}
RIGHT_LETTERS = {"USE": "u", "MANAGE": "m", "ADMIN": "a", "CREATE": "c"}
RIGHTS = {name: Right[name] for name in RIGHT_LETTERS}

_SCOPE = re.compile(r"([#@%])(\d{1,9})|\*")
_KINDS = {"#": INDIVIDUAL, "@": GROUP, "%": CLUSTER}


@click.group(cls=ResourceGroup, name="oneacl")
def oneacl() -> None:
    """Manage OpenNebula access rules."""


@oneacl.command("create")
@argument("user_or_rule", metavar="user|rulestr")
@argument("resource", required=False)
@argument("rights", required=False)
@argument("zone", required=False)
@connected
def create(
    session: Session,
    user_or_rule: str,
    resource: str | None,
    rights: str | None,
    zone: str | None,
) -> None:
    """Add a rule: who, on what, may do what, in which zone (this one unless given).

    It may be one text or several arguments:
        oneacl create "@103 VM+IMAGE/* USE+MANAGE #0"
        oneacl create #5 HOST/%100 MANAGE
    """
    words = " ".join(filter(None, (user_or_rule, resource, rights, zone)))
    rule = encode_rule(words)
    click.echo(f"ID: {session.call('one.acl.addrule', *rule)}")


@oneacl.command("delete")
@argument("aclid_list", metavar="range|aclid_list")
@connected
def delete(session: Session, aclid_list: str) -> None:
    """Delete rules."""
    if not re.fullmatch(r"[\d., ]+", aclid_list):
        raise CommandError(f'"{aclid_list}" is no list of rule ids, such as 1,8..15.')
    session.act(
        ACL,
        session.identify_all(ACL, aclid_list),
        "deleted",
        lambda rule: session.call("one.acl.delrule", rule),
    )


@oneacl.command("list")
@connected
@list_options
@document_options
def list_rules(session: Session, options: ListOptions, form: str | None) -> None:
    """List the rules."""
    if form:
        print_document(session.pool(ACL), form, lists=("ACL",))
        return
    _TABLE.show(lambda: session.pool(ACL).findall("ACL"), options)


def encode_rule(text: str) -> tuple[str, ...]:
    """The hexadecimal numbers of a rule: user, resource, rights, and zone when it is given.

    Raises:
        CommandError: with the part that is wrong and what it must be.
    """
    words = text.split()
    if len(words) not in {3, 4}:
        raise CommandError(
            f'The rule "{text}" must be <user> <resource> <rights> [<zone>], for example '
            '"#5 HOST/%100 MANAGE"'
        )
    user = _scope("user", words[0], "#@")
    kinds, slash, scope = words[1].partition("/")
    if not slash:
        raise CommandError(f'The resource "{words[1]}" must be TYPE[+TYPE]/<#id|@id|%id|*>')
    types = 0
    for kind in kinds.split("+"):
        if kind.upper() not in RESOURCE_LETTERS:
            raise CommandError(
                f'The resource type "{kind}" is not one of {", ".join(RESOURCE_LETTERS)}'
            )
        types |= ObjectType[kind.upper()]
    rights = 0
    for right in words[2].split("+"):
        if right.upper() not in RIGHTS:
            raise CommandError(f'The right "{right}" is not one of {", ".join(RIGHTS)}')
        rights |= RIGHTS[right.upper()]
    numbers = [user, types | _scope("resource", scope, "#@%"), rights]
    numbers += [_scope("zone", word, "#") for word in words[3:]]
    return tuple(f"{int(number):x}" for number in numbers)


def _scope(part: str, text: str, signs: str) -> int:
    match = _SCOPE.fullmatch(text)
    if not match or (match[1] and match[1] not in signs):
        allowed = ", ".join(f"{sign}<id>" for sign in signs)
        raise CommandError(f'The {part} "{text}" must be {allowed} or *')
    return _KINDS[match[1]] | int(match[2]) if match[1] else ALL


def _words(rule: etree._Element) -> list[str]:
    """Words of the rule's text form, four in any case."""
    return [*(rule.findtext("STRING") or "").split(), "", "", "", ""][:4]


def _mask(text: str, letters: dict[str, str]) -> str:
    given = text.split("+")
    return "".join(letter if name in given else "-" for name, letter in letters.items())


def _resource_mask(rule: etree._Element) -> str:
    return _mask(_words(rule)[1].partition("/")[0], RESOURCE_LETTERS)


_TABLE = Table(
    [
        Column("ID", "Rule id", 5, lambda rule: rule.findtext("ID") or ""),
        Column("USER", "Whom the rule is for", 8, lambda rule: _words(rule)[0]),
        Column(
            f"RES_{''.join(RESOURCE_LETTERS.values())}".upper(),
            "Types of resources",
            23,
            _resource_mask,
            title=f"RES_{''.join(RESOURCE_LETTERS.values())}",
        ),
        Column("RID", "Resource", 5, lambda rule: _words(rule)[1].partition("/")[2]),
        Column("OPE_UMAC", "Rights", 8, lambda rule: _mask(_words(rule)[2], RIGHT_LETTERS)),
        Column("ZONE", "Zone", 5, lambda rule: _words(rule)[3]),
    ]
)


def main() -> None:
    """Run ``oneacl``."""
    run(oneacl, "oneacl")
