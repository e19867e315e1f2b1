"""``one.zone.*`` and ``one.zonepool.info``: zones, and the servers of this one.

A server is added as a learner and becomes a voter by itself once it has caught up: the zone's
row and the member set change in one log entry. Peers replicate on a port of their own; the
methods that do so in OpenNebula are answered with an error that says this.
"""

from __future__ import annotations

from oned.api import verbs
from oned.api.calls import Call, PassToNewLeader, create
from oned.api.registry import Registry, boolean, integer, long, string
from oned.api.resource import Resource
from oned.api.responses import Code, Failure, action, internal, unauthorized
from oned.errors import TemplateError
from oned.raft.types import Configuration, RaftStatus, Role, ServerId
from oned.state import acl, counters, zones
from oned.state.entry import Statement
from oned.state.permissions import Right
from oned.state.zones import SYSTEM_ZONES, Zone
from oned.template import Template


def _objection(_call: Call, zone: Zone) -> str | None:
    if zone.oid < SYSTEM_ZONES:
        return f"System Zones (ID < {SYSTEM_ZONES}) cannot be deleted."
    return None


def _and_remove(call: Call, zone: Zone) -> tuple[Statement, ...]:
    rules = [rule for rule in call.services.rules.rules if rule.names_zone(zone.oid)]
    return acl.delete(rules)


RESOURCE: Resource[Zone] = Resource(
    noun="zone",
    model=Zone,
    delete_right=Right.ADMIN,
    objection=_objection,
    and_remove=_and_remove,
    settle=Zone.settle_template,
)


def register(registry: Registry) -> None:
    """Declare the methods of zones."""
    registry.write("one.zone.allocate", _allocate, string("template"), summary="Create a zone")
    registry.write(
        "one.zone.enable",
        _enable,
        integer("id"),
        boolean("enable"),
        when_disabled=True,
        summary="Let this zone take changes, or no longer",
    )
    registry.write(
        "one.zone.addserver",
        _add_server,
        integer("id"),
        string("template"),
        summary="Add a server to this zone",
    )
    registry.write(
        "one.zone.delserver",
        _delete_server,
        integer("id"),
        integer("server_id"),
        summary="Remove a server from this zone",
    )
    registry.write(
        "one.zone.resetserver",
        _reset_server,
        integer("id"),
        integer("server_id"),
        summary="Send a server of this zone a fresh snapshot",
    )
    registry.read(
        "one.zone.raftstatus",
        _raft_status,
        linearizable=False,
        summary="This server's view of the zone's Raft, as XML",
    )
    verbs.register_info(registry, RESOURCE)
    verbs.register_pool_info(registry, RESOURCE)
    verbs.register_update(registry, RESOURCE)
    verbs.register_rename(registry, RESOURCE)
    verbs.register_delete(registry, RESOURCE)
    _register_refused(registry)


def _register_refused(registry: Registry) -> None:
    numbers = (integer("term"), integer("server_id"), long("log_index"), integer("log_term"))
    for name, parameters in (
        (
            "replicate",
            (
                integer("leader_id"),
                long("leader_commit"),
                integer("leader_term"),
                long("index"),
                integer("term"),
                long("prev_index"),
                integer("prev_term"),
                long("fed_index"),
                string("sql", secret=True),
            ),
        ),
        ("voterequest", numbers),
        ("fedreplicate", (long("index"), long("prev"), string("sql", secret=True))),
        ("updatedb", (integer("id"), string("xml", secret=True))),
    ):
        registry.read(
            f"one.zone.{name}",
            _refuse,
            *parameters,
            linearizable=False,
            summary="Refused: servers replicate on a port of their own",
        )


async def _refuse(call: Call, *_parameters: object) -> int:
    raise action(
        f"{call.method} is not taken on this port: servers replicate over their own, mutually"
        " authenticated one"
    )


async def _allocate(call: Call, text: str) -> int:
    if call.config.federation.mode != "MASTER":
        raise Failure(
            Code.ALLOCATE,
            "Error allocating a new zone. New zones can only be created at federation master",
        )
    template = verbs.parse_template(text)
    call.authorize(create(Zone.KIND))
    name = template.get("NAME")
    async with call.hold(RESOURCE.name_key(name)):
        verbs.check_free_name(call, RESOURCE, name)
        if not template.get("ENDPOINT"):
            raise internal("ENDPOINT not present in template.")
        template.remove("NAME")
        oid, counter = call.new_id(Zone.KIND.table)
        zone = Zone(oid=oid, name=name, template=template)
        zone.settle_template()
        await call.change(zone.insert(), counter)
    return oid


def _require_own(call: Call, oid: int, text: str) -> None:
    if oid != call.services.zone_id:
        raise action(text)


def _obtain(call: Call, oid: int) -> Zone:
    return call.obtain(Zone, oid, Right.ADMIN)


async def _enable(call: Call, oid: int, enable: bool) -> int:
    _require_own(call, oid, "Enable/disable mode have to be set through the target zone endpoints")
    async with call.hold(RESOURCE.key(oid)):
        zone = _obtain(call, oid)
        state = zones.ENABLED if enable else zones.DISABLED
        if zone.state != state:
            zone.state = state
            await call.change(zone.update())
    return oid


async def _add_server(call: Call, oid: int, text: str) -> int:
    _require_own(call, oid, "Servers have to be added through the target zone endpoints")
    async with call.hold(RESOURCE.key(oid)):
        zone = _obtain(call, oid)
        try:
            vector = Template.parse(text).vector("SERVER")
        except TemplateError as error:
            raise action(str(error)) from None
        if vector is None:
            raise action("SERVER not found in template")
        # The command line sends every attribute, those that were not given as empty ones.
        attributes = {name: value for name, value in vector.items() if value and name != "ID"}
        fault = zones.server_fault(attributes, zone)
        if fault:
            raise action(fault)
        configuration = call.front.configuration()
        server_id, counter = call.new_id(counters.ZONE_SERVER)
        first = call.front.status().role is Role.SOLO and not configuration.members
        zone.add_server(server_id, attributes)
        member = zones.member(server_id, attributes, voter=first)
        await call.change(zone.update(), counter, configuration=configuration.with_member(member))
    return oid


async def _delete_server(call: Call, oid: int, number: int) -> int:
    _require_own(call, oid, "Servers have to be deleted through the target zone endpoints")
    server_id = ServerId(number)
    async with call.hold(RESOURCE.key(oid)):
        zone = _obtain(call, oid)
        if server_id not in zone.servers:
            raise action("SERVER not found in zone")
        status = call.front.status()
        configuration = call.front.configuration()
        if not (status.role is Role.LEADER and status.server_id == server_id):
            del zone.servers[server_id]
            await call.change(zone.update(), configuration=_without(configuration, server_id))
            return oid
    if not configuration.voters - {server_id}:
        raise action("The last server of a zone that votes cannot be deleted")
    # A leader that removed itself would stop in the middle of its own change.
    if not await call.front.transfer_leadership():
        raise internal(
            "Server was not deleted: it leads the zone, and no other server could take over"
        )
    raise PassToNewLeader


def _without(configuration: Configuration, server_id: ServerId) -> Configuration | None:
    """The member set after a deletion; None when it does not change."""
    return configuration.without(server_id) if configuration.get(server_id) else None


async def _reset_server(call: Call, oid: int, number: int) -> int:
    _require_own(call, oid, "Servers have to be deleted through the target zone endpoints")
    _obtain(call, oid)
    server_id = ServerId(number)
    if call.front.configuration().get(server_id):
        await call.front.reset_server(server_id)
    return oid


async def _raft_status(call: Call) -> str:
    zone = Zone.load(call.reader, call.services.zone_id)
    if zone is None:
        if not call.caller.is_admin:
            raise unauthorized(call.caller.uid, word=Zone.KIND.word)
    else:
        _obtain(call, zone.oid)
    return raft_xml(call.front.status())


def raft_xml(status: RaftStatus) -> str:
    """The answer of ``raftstatus``; a solo server has no id, and no log to speak of."""
    solo = status.role is Role.SOLO
    values = {
        "SERVER_ID": -1 if solo else status.server_id,
        "STATE": int(status.role),
        "TERM": status.term,
        "VOTEDFOR": -1 if solo else status.voted_for,
        "COMMIT": status.commit_index,
        "LOG_INDEX": -1 if solo else status.last_index,
        "LOG_TERM": -1 if solo else status.last_term,
        "FEDLOG_INDEX": -1,
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return f"<RAFT>{inner}</RAFT>"
