"""Clients over XML-RPC who write down what they asked and what they were told.

A call has failed only where the server says that it was not carried out, or where no
connection to the server was made; whatever else goes wrong leaves the outcome unknown.
"""

from __future__ import annotations

import asyncio
import random
import time
import xml.etree.ElementTree as ET
import xmlrpc.client
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from proof.linearizability import NEVER, Operation, Outcome

DEADLINE_SECONDS = 5.0
HEADERS = {"X-One-Consistency": "linearizable", "Content-Type": "text/xml"}
DOCUMENT_TYPE = 7
ALLOCATIONS = "allocations"
CALLS_PER_KEY = 120
"""Then a key is left for a new one, so that a set stays small and a search small."""

PAUSE_SECONDS = 0.03
"""The longest a client rests between two calls."""

_NOT_RUN = frozenset({400, 404, 405, 408, 413, 503})
_NOT_SAID = ("Outcome unknown", "Internal error")
_OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    outcome: Outcome
    value: Any
    text: str = ""


@dataclass(slots=True)
class Records:
    """What all clients saw.

    Attributes:
        texts: how often each kind of error was told.
    """

    registers: list[Operation] = field(default_factory=list)
    sets: list[Operation] = field(default_factory=list)
    allocations: list[Operation] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)

    def all(self) -> list[Operation]:
        return [*self.registers, *self.sets, *self.allocations]


class Calls(Protocol):
    """A way to the servers: these calls are all that a client makes."""

    @property
    def endpoints(self) -> list[str]:
        """The servers' XML-RPC URLs."""
        ...

    async def call(self, endpoint: str, method: str, *arguments: Any) -> Answer:
        """One call, tried once."""
        ...


class Caller:
    """One connection pool, and the calls made over it."""

    def __init__(self, endpoints: Mapping[str, str], session: str) -> None:
        self.endpoints = list(endpoints.values())
        self._credentials = session
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS))

    async def close(self) -> None:
        await self._http.close()

    async def call(self, endpoint: str, method: str, *arguments: Any) -> Answer:
        """One call, tried once."""
        body = xmlrpc.client.dumps((self._credentials, *arguments), method).encode()
        try:
            async with self._http.post(endpoint, data=body, headers=HEADERS) as response:
                if response.status != _OK:
                    outcome = Outcome.FAILED if response.status in _NOT_RUN else Outcome.UNKNOWN
                    return Answer(outcome, None, f"HTTP {response.status}")
                return understood(await response.read())
        except aiohttp.ClientConnectorError:
            return Answer(Outcome.FAILED, None, "no connection")
        except TimeoutError:
            return Answer(Outcome.UNKNOWN, None, "no answer in time")
        except (aiohttp.ClientError, OSError):
            return Answer(Outcome.UNKNOWN, None, "connection lost")


def understood(body: bytes) -> Answer:
    """What an XML-RPC answer tells its caller."""
    try:
        loaded: Any = xmlrpc.client.loads(body)
        ((answer,), _) = loaded
        success, value, *_ = answer  # an array, by OpenNebula's convention
    except (xmlrpc.client.Error, ValueError, TypeError) as error:
        return Answer(Outcome.UNKNOWN, None, f"not understood: {error}")
    if success:
        return Answer(Outcome.OK, value)
    text = str(value)
    unknown = any(word in text for word in _NOT_SAID)
    return Answer(Outcome.UNKNOWN if unknown else Outcome.FAILED, None, text)


class Keys:
    """The documents in use: each is left for a new one after so many calls."""

    def __init__(self, caller: Calls, kind: str, count: int) -> None:
        self._caller, self._kind = caller, kind
        self._calls = [CALLS_PER_KEY] * count
        self._documents: list[int] = [-1] * count
        self._locks = [asyncio.Lock() for _ in range(count)]
        self._made = 0

    async def take(self, random: random.Random) -> int | None:
        """A document to work on; None while a new one cannot be had."""
        slot = random.randrange(len(self._calls))
        async with self._locks[slot]:
            if self._calls[slot] >= CALLS_PER_KEY:
                self._made += 1
                template = f'NAME="{self._kind}-{slot}-{self._made}"'
                answer = await self._caller.call(
                    random.choice(self._caller.endpoints),
                    "one.document.allocate",
                    template,
                    DOCUMENT_TYPE,
                )
                if answer.outcome is not Outcome.OK:
                    return None
                self._documents[slot], self._calls[slot] = int(answer.value), 0
            self._calls[slot] += 1
            return self._documents[slot]


class Client:
    """Calls one server after another, and stays with one that answers."""

    def __init__(
        self,
        number: int,
        caller: Calls,
        records: Records,
        seed: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.number, self._caller, self._records = number, caller, records
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._random = random.Random(f"client {number} of {seed}")
        self._turn = number
        self._count = 0

    def stay_at(self, endpoint: str) -> None:
        """Call this server next, and go on with it as long as it answers."""
        self._turn = self._caller.endpoints.index(endpoint)

    async def run(self, work: str, keys: Keys, stopping: asyncio.Event) -> None:
        """Work until told to stop; ``work`` is register, set or allocation."""
        while not stopping.is_set():
            self._count += 1
            if work == "allocation":
                await self.allocate()
            elif (document := await keys.take(self._random)) is not None:
                await self._once(work, document)
            await asyncio.sleep(self._random.uniform(0, self._pause_seconds))

    async def _once(self, work: str, document: int) -> None:
        tag = f"{self.number}x{self._count}"
        match work, self._random.random() < 0.5:  # noqa: PLR2004 (as many reads as writes)
            case "register", True:
                await self.write(document, tag)
            case "register", _:
                await self.read(document)
            case _, True:
                await self.add(document, tag)
            case _:
                await self.read_set(document)

    async def write(self, document: int, value: str) -> None:
        template = f'VALUE="{value}"'
        await self._record(
            self._records.registers,
            (document, "write", value),
            ("one.document.update", document, template, 0),
        )

    async def read(self, document: int) -> None:
        await self._record(
            self._records.registers, (document, "read", None), ("one.document.info", document)
        )

    async def add(self, document: int, element: str) -> None:
        template = f'E{element.upper()}="1"'
        await self._record(
            self._records.sets,
            (document, "add", element),
            ("one.document.update", document, template, 1),
        )

    async def read_set(self, document: int) -> None:
        await self._record(
            self._records.sets, (document, "read", ()), ("one.document.info", document)
        )

    async def allocate(self) -> None:
        name = f"allocated-{self.number}-{self._count}"
        await self._record(
            self._records.allocations,
            (ALLOCATIONS, "allocate", name),
            ("one.document.allocate", f'NAME="{name}"', DOCUMENT_TYPE + 1),
        )

    async def _record(
        self, records: list[Operation], asked: tuple[Any, str, Any], call: tuple[Any, ...]
    ) -> None:
        key, action, argument = asked
        endpoint = self._caller.endpoints[self._turn % len(self._caller.endpoints)]
        called = self._clock()
        answer = await self._caller.call(endpoint, *call)
        returned = NEVER if answer.outcome is Outcome.UNKNOWN else self._clock()
        result = answer.value
        if answer.outcome is Outcome.OK and action == "read":
            result = read_value(answer.value) if argument is None else read_elements(answer.value)
        if answer.outcome is not Outcome.OK:
            self._turn += 1
            self._records.texts[answer.text] += 1
        records.append(
            Operation(self.number, key, action, argument, result, called, returned, answer.outcome)
        )


def read_value(document: str) -> str | None:
    """What the register in a document holds."""
    return ET.fromstring(document).findtext("TEMPLATE/VALUE")


def read_elements(document: str) -> frozenset[str]:
    """The set in a document: what was appended to it, which the server sorts by name."""
    template = ET.fromstring(document).find("TEMPLATE")
    elements = () if template is None else template
    return frozenset(element.tag[1:].lower() for element in elements)
