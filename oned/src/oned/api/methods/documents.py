"""``one.document.*`` and ``one.documentpool.info``."""

from __future__ import annotations

from oned.api import pools, verbs
from oned.api.calls import Call, create, wants
from oned.api.registry import Registry, integer, string
from oned.api.resource import Resource
from oned.state.documents import Document
from oned.state.permissions import Permissions, Right
from oned.template import Template

RESOURCE: Resource[Document] = Resource(noun="document", model=Document)


def register(registry: Registry) -> None:
    """Declare the eleven methods."""
    registry.write(
        "one.document.allocate",
        _allocate,
        string("template"),
        integer("type"),
        summary="Create a document of a type",
    )
    registry.write(
        "one.document.clone",
        _clone,
        integer("id"),
        string("name"),
        summary="Create a document with the template of another",
    )
    registry.read(
        "one.documentpool.info",
        _pool_info,
        integer("filter"),
        integer("start"),
        integer("end"),
        integer("type"),
        summary="Documents of a type that the caller may see, as XML",
    )
    verbs.register_info(registry, RESOURCE)
    verbs.register_update(registry, RESOURCE)
    verbs.register_rename(registry, RESOURCE)
    verbs.register_delete(registry, RESOURCE)
    verbs.register_chmod(registry, RESOURCE)
    verbs.register_chown(registry, RESOURCE)
    verbs.register_lock(registry, RESOURCE)


async def _allocate(call: Call, text: str, kind: int) -> int:
    template = verbs.parse_template(text)
    call.authorize(create(Document.KIND))
    name = template.get("NAME")
    template.remove("NAME")
    return await _insert(call, name, kind, template)


async def _clone(call: Call, oid: int, name: str) -> int:
    source = call.load(Document, oid)
    call.authorize(wants(Right.USE, source, Document.KIND), create(Document.KIND))
    return await _insert(call, name, source.type, source.template)


async def _insert(call: Call, name: str, kind: int, template: Template) -> int:
    caller = call.caller
    verbs.check_free_name(call, RESOURCE, name)
    oid, counter = call.new_id(Document.KIND.table)
    document = Document(
        oid=oid,
        name=name,
        uid=caller.uid,
        gid=caller.gid,
        uname=caller.uname,
        gname=caller.gname,
        permissions=Permissions.from_umask(
            caller.umask,
            privileged=caller.uid == 0 or caller.gid == 0,
            other_enabled=call.config.enable_other_permissions,
        ),
        type=kind,
        template=template,
    )
    await call.change(document.insert(), counter)
    return oid


async def _pool_info(call: Call, flag: int, start: int, end: int, kind: int) -> str:
    found = pools.rows(
        call, Document.KIND, filter_flag=flag, start=start, end=end, where=("type = ?", (kind,))
    )
    return pools.to_xml(Document.KIND, found)
