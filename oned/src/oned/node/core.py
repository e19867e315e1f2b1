"""The core of a server, as it begins from what its database says."""

from __future__ import annotations

import random
import time

from oned.node.settings import Settings
from oned.raft.log import Log
from oned.raft.machine import Raft
from oned.raft.types import NO_SERVER
from oned.storage.store import Store


def build_core(store: Store, settings: Settings) -> Raft:
    """A core that knows what the disk does, and nothing else."""
    facts = store.facts
    last_index, last_term = store.last()
    log = Log(
        store,
        base_index=facts.base_index,
        base_term=facts.base_term,
        last_index=last_index,
        last_term=last_term,
        configurations=store.configurations(),
    )
    return Raft(
        server_id=NO_SERVER if settings.solo else facts.server_id,
        hard_state=facts.hard_state,
        log=log,
        applied=facts.applied,
        initialised=facts.initialised,
        solo=settings.solo,
        options=settings.options,
        random=random.random,
        now=time.monotonic(),
    )
