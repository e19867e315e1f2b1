"""A client that writes all along, and remembers what it was told.

It uses pyone as it is, through the leader Service, and gives every document a name that was never
used before: a write whose outcome is unknown is not tried again under the same name, so that
nothing can be counted twice.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import Counter
from typing import Self

import lab
import onezones
import pyone
import timeouts

PACE_SECONDS = 0.02
"""Between two writes: enough writes to be hit by any fault, few enough to leave the machine to
the servers."""

REFUSED_SECONDS = 0.1
"""Before the next write after one that failed."""


class Writer:
    """Allocates documents until it is stopped."""

    def __init__(self, zone: onezones.Zone, url: str | None = None) -> None:
        """Get ready to write to a zone, by its leader Service or by another URL."""
        self.zone = zone
        self.acknowledged: dict[int, str] = {}
        self.attempted: set[str] = set()
        self.errors: Counter[str] = Counter()
        self.longest_gap = 0.0
        self._run = uuid.uuid4().hex[:8]
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._progress = threading.Condition()
        self._url, self._session = url or zone.url(), zone.session()
        self._thread = threading.Thread(target=self._write, daemon=True)

    # --- writing ---------------------------------------------------------------

    def _write(self) -> None:
        hand = _Hand(self._url, self._session)
        number = 0
        while not self._stopped.is_set():
            number += 1
            name = f"{self._run}-{number}"
            self.attempted.add(name)
            pause = PACE_SECONDS
            try:
                document = hand.allocate(name)
            except TimeoutError:
                self.errors["no answer"] += 1
                # pyone has no time limit of its own: the call may hang for minutes, so another
                # hand goes on. Should that call be answered in the end, it still counts.
                hand.abandon(self._acknowledge)
                hand = _Hand(self._url, self._session)
            except Exception as error:  # noqa: BLE001 - any failure is an outcome to be counted
                self.errors[f"{type(error).__name__}: {str(error)[:60]}"] += 1
                pause = REFUSED_SECONDS
            else:
                self._acknowledge(document, name)
            self._stopped.wait(pause)
        hand.close()

    def _acknowledge(self, document: int, name: str) -> None:
        with self._progress:
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now
            self.acknowledged[document] = name
            self._progress.notify_all()

    # --- being used --------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, and see the first write acknowledged."""
        self._last = time.monotonic()
        self._thread.start()
        self.wait_for_write(timeouts.NODE_LOSS)
        self.longest_gap = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Stop, and say how it went."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join(timeouts.WRITE + timeouts.CALL)
        lab.step(
            f"  writer: {len(self.acknowledged)} acknowledged of {len(self.attempted)}, "
            f"longest gap {self.longest_gap:.2f} s, errors {dict(self.errors)}"
        )

    def wait_for_write(self, seconds: float) -> float:
        """Wait for the next acknowledged write and return how long that took."""
        started = time.monotonic()
        with self._progress:
            count = len(self.acknowledged)
            done = self._progress.wait_for(lambda: len(self.acknowledged) > count, seconds)
        assert done, f"no write was acknowledged for {seconds} s: {dict(self.errors)}"
        return time.monotonic() - started

    def wait_for_writes(self, count: int, seconds: float) -> None:
        """Wait for so many more acknowledged writes."""
        with self._progress:
            goal = len(self.acknowledged) + count
            done = self._progress.wait_for(lambda: len(self.acknowledged) >= goal, seconds)
        assert done, f"no {count} writes in {seconds} s: {dict(self.errors)}"

    def assert_nothing_lost(self) -> None:
        """Every server has every acknowledged write, and nothing that nobody asked for."""
        self.stop()
        for server in self.zone.pods():
            self._assert_complete(server)

    def _assert_complete(self, server: str) -> None:
        held: dict[int, str] = {}

        def is_complete() -> bool:
            held.clear()
            held.update(self.zone.documents(server))
            return self.acknowledged.items() <= held.items()

        try:
            lab.wait_until(f"{server} has caught up", is_complete, timeouts.CATCH_UP)
        except AssertionError as error:
            lost = sorted(self.acknowledged.items() - held.items())
            raise AssertionError(f"{server} lacks {len(lost)} writes: {lost[:10]}") from error
        ours = {name for name in held.values() if name.startswith(self._run)}
        assert ours <= self.attempted, f"{server} has writes that nobody made"


class _Hand:
    """Makes one call at a time in a thread of its own, so that a call that hangs can be left."""

    def __init__(self, url: str, session: str) -> None:
        self._client = pyone.OneServer(url, session=session)
        self._names: queue.Queue[str | None] = queue.Queue(maxsize=1)
        self._answers: queue.Queue[tuple[str, int | Exception]] = queue.Queue(maxsize=1)
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (name := self._names.get()) is not None:
            try:
                answer: int | Exception = self._client.document.allocate(
                    f'NAME="{name}"', onezones.DOCUMENT_TYPE
                )
            except Exception as error:  # noqa: BLE001 - handed to the caller
                answer = error
            self._answers.put((name, answer))

    def allocate(self, name: str) -> int:
        """Make a document; TimeoutError when no answer came in time."""
        self._names.put(name)
        try:
            _, answer = self._answers.get(timeout=timeouts.WRITE)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def abandon(self, acknowledge: object) -> None:
        """Leave the call that hangs to itself; a late success is reported."""

        def wait() -> None:
            name, answer = self._answers.get()
            if isinstance(answer, int):
                acknowledge(answer, name)
            self.close()

        threading.Thread(target=wait, daemon=True).start()

    def close(self) -> None:
        """No more calls."""
        self._names.put(None)
