"""Where the shipped source reaches for time, chance and disk, and what it finds there.

The modules of ``oned`` get simulated ``time``, ``random``, ``uuid`` and ``secrets`` in place of the
standard library's, and the database engine of ``disk``. They ask the world that is open which
process is running, and answer as its machine would. A process of the simulator opens the doors
once; worlds follow each other behind them.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
import time as real_time
import uuid as real_uuid
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import structlog

import oned
from oned import daemon
from oned.storage.store import Store
from proof.sim import disk

if TYPE_CHECKING:
    from proof.sim.loop import Loop
    from proof.sim.world import World

_SKIPPED = ("oned.cli", "oned.__main__", "oned.hooks", "oned.telemetry")
"""Rooms that the simulator does not run."""


class Doors:
    """The world behind the doors now."""

    world: World | None = None

    @property
    def loop(self) -> Loop:
        assert self.world is not None
        running = self.world.agenda.running
        return self.world.outside if running is None else running


DOORS = Doors()


class _Time:
    """What ``import time`` gives."""

    sleep = staticmethod(real_time.sleep)

    @staticmethod
    def monotonic() -> float:
        return DOORS.loop.time()

    perf_counter = monotonic

    @staticmethod
    def time() -> float:
        loop = DOORS.loop
        return loop.clock.wall(loop.agenda.now)


def _world() -> World:
    assert DOORS.world is not None
    return DOORS.world


class _Chance:
    """What ``import random``, ``import secrets`` and ``import uuid`` give."""

    @staticmethod
    def random() -> float:
        return _world().chance("process").random()

    @staticmethod
    def uuid4() -> real_uuid.UUID:
        return real_uuid.UUID(int=_world().chance("process").getrandbits(128), version=4)

    @staticmethod
    def token_hex(count: int) -> str:
        return _world().chance("process").randbytes(count).hex()

    @staticmethod
    def token_bytes(count: int) -> bytes:
        return _world().chance("process").randbytes(count)

    uniform = staticmethod(lambda low, high: low + (high - low) * _Chance.random())


def _stand_in(name: str, simulated: Any) -> SimpleNamespace:
    """A module's names, with the simulated ones in front."""
    real = vars(importlib.import_module(name))
    own = {key: getattr(simulated, key) for key in dir(simulated) if key in real}
    return SimpleNamespace(**{**real, **own})


def open_doors(store: type[Store], *, verbose: bool = False) -> None:
    """Put the stand-ins into all modules that servers are made of; once a process."""
    stand_ins = {
        "time": _stand_in("time", _Time),
        "random": _stand_in("random", _Chance),
        "uuid": _stand_in("uuid", _Chance),
        "secrets": _stand_in("secrets", _Chance),
    }
    for found in pkgutil.walk_packages(oned.__path__, "oned."):
        if not found.name.startswith(_SKIPPED):
            importlib.import_module(found.name)
    for name, module in list(sys.modules.items()):
        if not name.startswith("oned.") or name.startswith(_SKIPPED):
            continue
        for attribute, stand_in in stand_ins.items():
            if isinstance(getattr(module, attribute, None), ModuleType):
                setattr(module, attribute, stand_in)
        if hasattr(module, "SQLiteEngine"):
            vars(module)["SQLiteEngine"] = disk.Engine
    vars(daemon)["Store"] = store
    disk.Engine.disk_of = staticmethod(lambda: DOORS.loop.owner.disk)
    _quiet(verbose=verbose)


class _Silent(structlog.BoundLoggerBase):
    """A logger that says nothing, as cheaply as can be."""

    def _nothing(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    debug = info = warning = error = exception = critical = _nothing


def _quiet(*, verbose: bool) -> None:
    """The servers' logs: told with simulated time and the server's name, or not at all."""
    told = structlog.make_filtering_bound_logger(logging.DEBUG)
    structlog.configure(wrapper_class=told if verbose else _Silent, processors=[_tell])
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)


def _tell(_logger: Any, _method: str, event: Any) -> str:
    loop = DOORS.loop
    facts = " ".join(f"{key}={value}" for key, value in event.items() if key != "event")
    who = getattr(loop.owner, "name", "outside")
    return f"{loop.agenda.now:10.4f} {who}: {event['event']} {facts}"
