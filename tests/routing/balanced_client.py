"""A client on one connection, that writes all along and never tries a call again."""

from __future__ import annotations

import http.client
import threading
import time
import xmlrpc.client
from typing import Self

DOCUMENT_TYPE = 7
ANSWER_SECONDS = 10.0
PAUSE_SECONDS = 0.005


class Client(threading.Thread):
    """Makes documents one after the other at one address."""

    def __init__(self, address: str, session: str) -> None:
        super().__init__(daemon=True)
        self._address, self._session = address, session
        self._stopping = threading.Event()
        self.answered = 0
        self.failures: list[str] = []
        self.longest = 0.0
        self._last = 0.0

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_SECONDS)
        number = 0
        while not self._stopping.is_set():
            number += 1
            started = time.monotonic()
            try:
                self._allocate(connection, f"document-{number}")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failures.append(repr(error))
                connection.close()
            else:
                self._last = time.monotonic()
                self.longest = max(self.longest, self._last - started)
                self.answered += 1
            self._stopping.wait(PAUSE_SECONDS)
        connection.close()

    def _allocate(self, connection: http.client.HTTPConnection, name: str) -> None:
        arguments = (self._session, f'NAME="{name}"', DOCUMENT_TYPE)
        body = xmlrpc.client.dumps(arguments, "one.document.allocate")
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        response = connection.getresponse()
        text = response.read()
        assert response.status == http.HTTPStatus.OK, f"{response.status} {text[:80]!r}"
        (answer,), _ = xmlrpc.client.loads(text.decode())
        assert answer[0], answer[1]

    def wait_for_answer_after(self, moment: float) -> None:
        """Until a call was answered after a moment."""
        end = moment + ANSWER_SECONDS
        while self._last <= moment:
            assert time.monotonic() < end, f"no call was answered: {self.failures[-3:]}"
            time.sleep(0.005)

    def __enter__(self) -> Self:
        self.start()
        self.wait_for_answer_after(time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(ANSWER_SECONDS)
