"""The clients of ``proof.chaos`` over simulated connections: same calls, same judgement."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import aiohttp

from proof.chaos.clients import DEADLINE_SECONDS, HEADERS, Answer, Client, Keys, Records, understood
from proof.linearizability import Outcome
from proof.sim.transport import Session

if TYPE_CHECKING:
    from proof.sim.world import World

KEYS = 2
PAUSE_SECONDS = 0.5
"""The longest a client rests between two calls."""

_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class SimCaller:
    """Calls to the servers of a world, from outside."""

    def __init__(self, world: World, session: str) -> None:
        self._world = world
        self._credentials = session
        self._http = Session(world.clients, DEADLINE_SECONDS)

    @property
    def endpoints(self) -> list[str]:
        return [machine.endpoint for machine in self._world.machines.values()]

    async def call(self, endpoint: str, method: str, *arguments: Any) -> Answer:
        """One call, tried once."""
        body = xmlrpc.client.dumps((self._credentials, *arguments), method).encode()
        try:
            async with self._http.post(endpoint, data=body, headers=HEADERS) as response:
                return understood(await response.read())
        except _NO_CONNECTION:
            return Answer(Outcome.FAILED, None, "no connection")
        except TimeoutError:
            return Answer(Outcome.UNKNOWN, None, "no answer in time")
        except (aiohttp.ClientError, OSError):
            return Answer(Outcome.UNKNOWN, None, "connection lost")


class Crowd:
    """Some clients at work."""

    def __init__(self, world: World, session: str) -> None:
        self.records = Records()
        self.caller = SimCaller(world, session)
        self._world = world
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._keys: dict[str, Keys] = {}
        self._asked: list[asyncio.Task[Any]] = []
        self._count = self._begun = 0

    def client(self) -> Client:
        """One more client, which does nothing by itself."""
        self._count += 1
        world = self._world
        return Client(
            self._count,
            self.caller,
            self.records,
            world.seed,
            clock=lambda: world.agenda.now,
            pause_seconds=PAUSE_SECONDS,
        )

    def start(self, work: tuple[str, ...]) -> None:
        """Have one client at each of these works."""
        for kind in work:
            keys = self._keys.setdefault(kind, Keys(self.caller, kind, KEYS))
            self.begin(self.client().run(kind, keys, self._stopping))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done beside all else, that ``done`` waits for."""
        loop = self._world.outside
        loop.call_soon(lambda: self._tasks.append(loop.create_task(work)))
        self._begun += 1

    def beside(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have something done that nobody waits for."""
        loop = self._world.outside
        loop.call_soon(lambda: self._asked.append(loop.create_task(work())))

    def stop(self) -> None:
        """Let each client finish its call and stop."""
        self._stopping.set()

    @property
    def done(self) -> bool:
        """Whether nothing is left to wait for."""
        return len(self._tasks) == self._begun and all(task.done() for task in self._tasks)
