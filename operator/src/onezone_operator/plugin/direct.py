"""Calls on a zone's servers by a user, through the API server's pod proxy: no operator is needed.

The call carries oneadmin's credentials, which the user must be allowed to read.
"""

from __future__ import annotations

from onezone_operator import naming
from onezone_operator.errors import Forbidden, NotFound, ZoneUnreachable
from onezone_operator.kube import KubeReader
from onezone_operator.kube.observe import secret_data
from onezone_operator.plugin.view import Facts
from onezone_operator.reconcile import diagnose
from onezone_operator.reconcile.seed import zone_uuid
from onezone_operator.reconcile.steps import BEST_SERVER
from onezone_operator.zone.codec import decode_answer, encode_call

__all__ = ["hand_over"]

_ZONE_ID = 0


async def hand_over(kube: KubeReader, facts: Facts, server: str | None) -> str:
    """Let a server lead, or the best; the name of the one that leads then.

    Raises:
        OperatorError: it was not done, or nobody can tell; the text says which.
    """
    zone, observed = facts.zone, facts.observed
    diagnosis = diagnose(observed, zone_uuid=zone_uuid(zone, observed))
    if diagnosis.leader is None:
        raise ZoneUnreachable(f"the zone is {diagnosis.health}: nobody can hand over")
    ids = {member.name: member.id for member in diagnosis.members}
    if server is not None and server not in ids:
        raise NotFound(f"{server} is no member of the zone; it has: {', '.join(sorted(ids))}")
    body = encode_call(
        "one.zone.transferleader",
        await _session(kube, facts),
        _ZONE_ID,
        BEST_SERVER if server is None else ids[server],
    )
    answer = await kube.call_server(
        zone.namespace, diagnosis.leader.name, body, scheme=zone.spec.tls.scheme
    )
    names = {number: name for name, number in ids.items()}
    return names.get(decode_answer(answer), "another server")


async def _session(kube: KubeReader, facts: Facts) -> str:
    reference = facts.zone.spec.credentials_secret_ref
    name = naming.auth_secret_name(facts.zone.name) if reference is None else reference.name
    try:
        secret = await kube.get("Secret", facts.zone.namespace, name)
    except NotFound as error:
        raise Forbidden(f"Secret {name} cannot be read: --direct needs its credentials") from error
    return secret_data(secret).get(naming.AUTH_KEY, b"").decode(errors="replace").strip()
