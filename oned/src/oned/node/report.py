"""What a node says of itself, in the words of the API and of ``/status``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from oned import __version__
from oned.raft.types import Follower, RaftStatus, ServerId

if TYPE_CHECKING:
    from oned.node.driver import Node


def status(node: Node) -> RaftStatus:
    """See ``oned.api.ports.Front.status``."""
    core = node.core
    return RaftStatus(
        server_id=core.server_id,
        role=core.role,
        term=core.term,
        voted_for=core.voted_for,
        leader_id=core.leader_id,
        commit_index=core.commit,
        applied_index=core.applied,
        last_index=core.log.last_index,
        last_term=core.log.last_term,
        serving=core.serving and node.database == "ok",
        configuration=core.configuration,
    )


def follower(node: Node, server_id: ServerId) -> Follower | None:
    """See ``oned.api.ports.Front.follower``."""
    core = node.core
    progress = core.leadership.progress.get(server_id) if core.leadership else None
    if progress is None:
        return None
    heard = progress.last_reply
    silence = None if heard is None else time.monotonic() - heard
    return Follower(core.log.last_index - progress.match, silence)


def report(node: Node) -> dict[str, Any]:
    """What ``/status`` shows: see ARCHITECTURE.md."""
    core, facts = node.core, node.store.facts
    staleness = core.staleness(time.monotonic())
    return {
        "version": __version__,
        "zone_uuid": facts.zone_uuid,
        "server_id": core.server_id,
        "name": node.settings.name,
        "disk": facts.disk,
        "state": core.role.name.lower(),
        "term": core.term,
        "voted_for": core.voted_for,
        "leader_id": core.leader_id,
        "commit": core.commit,
        "applied": core.applied,
        "log_index": core.log.last_index,
        "log_term": core.log.last_term,
        "log_base": core.log.base_index,
        "serving": core.serving and node.database == "ok",
        "database": node.database,
        "initialised": core.initialised,
        "configuration_committed": not core.change_pending,
        "staleness_seconds": None if staleness is None else round(staleness, 3),
        "snapshots": node.snapshots.report(time.monotonic()),
        "members": node.membership.report(time.monotonic()),
    }
