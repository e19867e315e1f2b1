"""Unary gRPC calls on one HTTP/2 connection, one at a time: just enough of RFC 9113 to load etcd.

Headers are sent without Huffman coding and without the dynamic table; answers' headers are not
decoded. A call succeeded when it has a message: an error has trailers only.
"""

from __future__ import annotations

import struct

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_HEAD_BYTES = 9
_WINDOW_STEP = 1 << 14
"""Received bytes after which the server may send as many again."""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(index: bytes, value: str) -> bytes:
    """A header field that is not to be remembered; ``value`` is shorter than 127 bytes."""
    return index + bytes([len(value)]) + value.encode()


class Http2Calls:
    """One connection's calls of one method, with one message."""

    def __init__(self, path: str, port: int, message: bytes) -> None:
        self._headers = b"".join(
            (
                b"\x83\x86",  # :method POST, :scheme http
                _literal(b"\x04", path),
                _literal(b"\x01", f"127.0.0.1:{port}"),
                _literal(b"\x0f\x10", "application/grpc"),  # content-type
                _literal(b"\x00" + bytes([2]) + b"te", "trailers"),
            )
        )
        self._body = struct.pack(">BI", 0, len(message)) + message
        self._stream = -1
        self._buffer = b""
        self._answer = b""
        self._received = 0
        self._has_message = False

    def preface(self) -> bytes:
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0)

    def call(self) -> bytes:
        self._stream += 2
        self._has_message = False
        return _frame(_HEADERS, _END_HEADERS, self._stream, self._headers) + _frame(
            _DATA, _END_STREAM, self._stream, self._body
        )

    def answer(self) -> bytes:
        answer, self._answer = self._answer, b""
        return answer

    def feed(self, data: bytes) -> tuple[bool, str] | None:
        buffer = self._buffer + data
        offset, outcome = 0, None
        while len(buffer) - offset >= _HEAD_BYTES:
            length = int.from_bytes(buffer[offset : offset + 3])
            kind, flags = buffer[offset + 3], buffer[offset + 4]
            end = offset + _HEAD_BYTES + length
            if end > len(buffer):
                break
            payload = buffer[offset + _HEAD_BYTES : end]
            offset = end
            if self._take(kind, flags, payload):
                outcome = self._has_message, "" if self._has_message else "an error, no message"
        self._buffer = buffer[offset:]
        return outcome

    def _take(self, kind: int, flags: int, payload: bytes) -> bool:
        """Handle one frame; whether it ends the call."""
        if kind == _DATA:
            self._has_message = self._has_message or bool(payload)
            self._received += len(payload)
            if self._received >= _WINDOW_STEP:
                self._answer += _frame(_WINDOW, 0, 0, struct.pack(">I", self._received))
                self._received = 0
        elif kind in (_SETTINGS, _PING) and not flags & _ACK:
            self._answer += _frame(kind, _ACK, 0, payload if kind == _PING else b"")
        elif kind == _GOAWAY:
            raise ConnectionResetError(f"the server ends the connection: {payload[8:]!r}")
        elif kind == _RESET:
            self._has_message = False
            return True
        return kind in (_DATA, _HEADERS) and bool(flags & _END_STREAM)
