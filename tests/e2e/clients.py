"""A client as an application should be: each attempt is short, and a call is tried again until it
is answered.

Times are the machine's clock, which nodes that are containers share: a moment that a node tells can
be compared with a moment here.
"""

from __future__ import annotations

import dataclasses
import http.client
import itertools
import math
import threading
import time
import urllib.parse
import uuid
import xmlrpc.client
from collections import Counter
from typing import Any, Self

import lab
import onezones
import timeouts

CONNECT_SECONDS = 0.5
"""Shorter than TCP's own second before it repeats a lost first packet."""

ANSWER_SECONDS = 1.0
PAUSE_SECONDS = 0.02
"""Between calls, and before a call is tried again."""


class Refused(Exception):
    """The server answered that it did not do it."""


class Connection:
    """XML-RPC over one connection, which stays open between calls as long as it works."""

    def __init__(self, url: str, session: str) -> None:
        """Get ready; the connection is made by the first call."""
        parts = urllib.parse.urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, parts.path
        self._session = session
        self._http: http.client.HTTPConnection | None = None

    def call(self, method: str, *arguments: Any) -> Any:
        """One attempt; OSError or HTTPException when its outcome is not known."""
        body = xmlrpc.client.dumps((self._session, *arguments), method).encode()
        try:
            if self._http is None:
                self._http = http.client.HTTPConnection(
                    self._host, self._port, timeout=CONNECT_SECONDS
                )
                self._http.connect()
                self._http.sock.settimeout(ANSWER_SECONDS)
            self._http.request("POST", self._path, body, {"Content-Type": "text/xml"})
            response = self._http.getresponse()
            text = response.read()
            if response.will_close:
                self.close()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.status != http.HTTPStatus.OK:
            self.close()
            raise Refused(f"HTTP {response.status}")
        try:
            (answer,), _ = xmlrpc.client.loads(text)
        except xmlrpc.client.Fault as fault:
            raise Refused(fault.faultString) from None
        if not answer[0]:
            raise Refused(answer[1])
        return answer[1]

    def allocate(self, name: str) -> int:
        """One attempt to make a document."""
        found: int = self.call("one.document.allocate", f'NAME="{name}"', onezones.DOCUMENT_TYPE)
        return found

    def close(self) -> None:
        """The next call makes a new connection."""
        if self._http is not None:
            self._http.close()
            self._http = None


@dataclasses.dataclass(frozen=True)
class Done:
    """A call that was answered."""

    document: int
    name: str
    asked: float
    """When the attempt began that was answered."""
    answered: float
    attempts: int


class RetryingClient:
    """Allocates documents one after the other until it is stopped.

    A call that is not answered is tried again under the same name, so that a name may be held
    twice; what counts is that every acknowledged document is there.
    """

    def __init__(self, url: str, session: str, *, keeps_connection: bool = True) -> None:
        """Get ready to write to a URL."""
        self._connection = Connection(url, session)
        self._keeps_connection = keeps_connection
        self.done: list[Done] = []
        self.failed: list[str] = []
        self.errors: Counter[str] = Counter()
        self._run = uuid.uuid4().hex[:8]
        self._stopped = threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def _write(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            self._call(f"{self._run}-{number}")
            self._stopped.wait(PAUSE_SECONDS)
        self._connection.close()

    def _call(self, name: str) -> None:
        gives_up = time.monotonic() + timeouts.CLIENT_PATIENCE
        attempts, error = 0, ""
        while time.monotonic() < gives_up and not self._stopped.is_set():
            attempts += 1
            asked = time.time()
            try:
                document = self._connection.allocate(name)
            except (OSError, http.client.HTTPException, Refused) as failure:
                error = f"{type(failure).__name__}: {str(failure)[:60]}"
                self.errors[error] += 1
                self._stopped.wait(PAUSE_SECONDS)
                continue
            finally:
                if not self._keeps_connection:
                    self._connection.close()
            with self._progress:
                self.done.append(Done(document, name, asked, time.time(), attempts))
                self._progress.notify_all()
            return
        if not self._stopped.is_set():
            self.failed.append(f"{name}: {error}")

    def __enter__(self) -> Self:
        """Start, and see the first write acknowledged."""
        self._thread.start()
        self.first_after(0.0, timeouts.NODE_LOSS)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and say how it went."""
        self._stopped.set()
        self._thread.join(timeouts.CALL)
        lab.step(
            f"  client: {len(self.done)} calls, {len(self.failed)} failed, "
            f"longest gap {self.longest_gap():.2f} s, tried again after {dict(self.errors)}"
        )

    def first_after(self, moment: float, seconds: float) -> Done:
        """The first write that was asked for after a moment and acknowledged."""

        def found() -> Done | None:
            return next((each for each in self.done if each.asked >= moment), None)

        with self._progress:
            done = self._progress.wait_for(found, seconds)
        assert done, f"no write was acknowledged for {seconds} s: {dict(self.errors)}"
        return done

    def longest_gap(self, since: float = 0.0) -> float:
        """The longest time between two acknowledged writes, of which the later is after a
        moment.
        """
        ends = [each.answered for each in self.done]
        gaps = [b - a for a, b in itertools.pairwise(ends) if b >= since]
        return max(gaps, default=math.inf)

    def assert_nothing_lost(self, zone: onezones.Zone) -> None:
        """Every server has every acknowledged write."""
        acknowledged = {each.document: each.name for each in self.done}
        for server in zone.pods():
            lab.wait_until(
                f"{server} has every acknowledged write",
                lambda server=server: acknowledged.items() <= zone.documents(server).items(),
                timeouts.CATCH_UP,
            )


def percentile(values: list[float], share: float) -> float:
    """By nearest rank."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
