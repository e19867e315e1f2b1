"""Quotas of users and groups: limits are kept and shown; see ``oned.state.quotas``."""

from __future__ import annotations

from typing import TypeVar

from oned.api.calls import Call
from oned.api.registry import Registry, Where, integer, string
from oned.api.resource import Resource
from oned.api.responses import Code, Failure, action
from oned.errors import TemplateError
from oned.state.callers import ONEADMIN
from oned.state.entry import Row
from oned.state.objects import Kind, PoolObject
from oned.state.permissions import Right
from oned.state.quotas import Holder, QuotaError, Quotas
from oned.template import Template

T = TypeVar("T", bound=PoolObject)


def extended(call: Call, holder: Holder, oid: int, body: str, *, before_defaults: str = "") -> str:
    """An object's body with its quotas and the defaults before the closing tag."""
    quotas = holder.load(call.reader, oid) or Quotas()
    defaults = holder.defaults_xml(holder.load_defaults(call.reader))
    end = body.rindex("</")
    return "".join(
        (body[:end], quotas.sections_xml(usage=True), before_defaults, defaults, body[end:])
    )


def extended_pool(call: Call, holder: Holder, kind: Kind, found: list[Row]) -> str:
    """A list in which every object is followed by its quotas, and all by the defaults."""
    stored = holder.load_all(call.reader)
    parts = [f"<{kind.pool_root}>"]
    for oid, body in found:
        quotas = stored.get(int(oid or 0)) or Quotas()
        parts += [
            str(body),
            f"<QUOTAS><ID>{oid}</ID>{quotas.sections_xml(usage=True)}</QUOTAS>",
        ]
    parts += [holder.defaults_xml(holder.load_defaults(call.reader)), f"</{kind.pool_root}>"]
    return "".join(parts)


def register(registry: Registry, resource: Resource[T], holder: Holder) -> None:
    """Declare ``quota`` and the two methods of the defaults."""
    noun = resource.noun

    async def set_quota(call: Call, oid: int, text: str) -> int:
        async with call.hold((holder.table, oid)):
            call.obtain(resource.model, oid, Right.ADMIN)
            if oid == ONEADMIN:
                raise action(f"Cannot set quotas for oneadmin {noun}")
            stored = holder.load(call.reader, oid)
            quotas = stored or Quotas()
            _take_over(quotas, text, default=False)
            await call.change(holder.save(oid, quotas, exists=stored is not None))
        return oid

    async def defaults_info(call: Call) -> str:
        return holder.defaults_xml(holder.load_defaults(call.reader))

    async def update_defaults(call: Call, text: str) -> str:
        if call.caller.gid != ONEADMIN:
            raise Failure(
                Code.AUTHORIZATION,
                f"User [{call.caller.uid}] : The default quotas can only be updated by users in"
                " the oneadmin group.",
            )
        async with call.hold((holder.table, "defaults")):
            stored = holder.load_defaults(call.reader)
            quotas = stored or Quotas()
            _take_over(quotas, text, default=True)
            await call.change(holder.save_defaults(quotas, exists=stored is not None))
        return holder.defaults_xml(quotas)

    registry.write(
        f"one.{noun}.quota",
        set_quota,
        integer("id"),
        string("quota_template"),
        summary=f"Set limits of a {noun}",
    )
    registry.read(
        f"one.{noun}quota.info",
        defaults_info,
        where=Where.LEADER,
        summary=f"Limits of every {noun} that has none of its own, as XML",
    )
    registry.write(
        f"one.{noun}quota.update",
        update_defaults,
        string("quota_template"),
        summary=f"Set limits of every {noun} that has none of its own",
    )


def _take_over(quotas: Quotas, text: str, *, default: bool) -> None:
    """Put the limits of a quota template into ``quotas``, or fail with OpenNebula's text."""
    try:
        template = Template.parse(text)
        if default:
            vectors = template.vectors("VM")
            if len(vectors) > 1:
                raise action("Only one default VM quota can be defined")
            if vectors and vectors[0].get("CLUSTER_IDS"):
                raise action("CLUSTER_IDS attribute is not allowed for default VM quota")
        quotas.set(template, default=default)
    except (TemplateError, QuotaError) as error:
        raise action(str(error)) from None
