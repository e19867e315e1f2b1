"""Log set-up: JSON lines off a terminal, readable lines on one, always on standard error.

Every room logs through ``structlog.get_logger()``: a lower-case phrase, facts as fields. The
libraries' records (``logging``) come out in the same form. ``setup`` is the only place that knows
levels and forms.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["SECRET_FIELDS", "identify", "setup"]

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG, logging.DEBUG, logging.DEBUG)
"""OpenNebula's ``LOG/DEBUG_LEVEL`` 0 to 5. It has three degrees of debugging, we have one."""

LIBRARY_LEVELS = (
    logging.ERROR,
    logging.WARNING,
    logging.WARNING,
    logging.WARNING,
    logging.INFO,
    logging.DEBUG,
)
"""What the libraries below us may say at each level: their chatter is what 4 and 5 add."""

SECRET_FIELDS = frozenset(
    {"auth", "authorization", "password", "secret", "session", "token", "token_password"}
)
"""Fields that never come out, whoever passes them by mistake."""


class _Origin:
    """Adds to each record what ``identify`` was given, unless the record says it itself."""

    tell: Callable[[], Mapping[str, object]] = staticmethod(dict)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in self.tell().items():
            event.setdefault(key, value)
        return event


_origin = _Origin()


def identify(tell: Callable[[], Mapping[str, object]]) -> None:
    """Have every record from now on say whose it is.

    Args:
        tell: the fields, asked for at each record and from any thread: zone, server and term.
    """
    _origin.tell = tell


def setup(level: int, stream: TextIO | None = None) -> None:
    """Send logs to ``stream`` (standard error) from the given ``DEBUG_LEVEL`` on.

    May be called again, with another level or stream.

    Args:
        level: 0 errors, 1 warnings, 2 what happened, 3 traffic, 4 and 5 the libraries' too.
        stream: where to; a terminal gets readable lines, anything else JSON.

    Raises:
        ValueError: the level is none of these; configuration checks it before.
    """
    if not 0 <= level < len(LEVELS):
        raise ValueError(f"DEBUG_LEVEL is 0 to {len(LEVELS) - 1}, not {level}")
    stream = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _origin,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _redact,
    ]
    rendering = _rendering(terminal=stream.isatty())
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,  # so that a second setup reaches every module's logger
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if getattr(each, "_oned", False)]:
        root.removeHandler(old)
    handler._oned = True  # type: ignore[attr-defined]  # noqa: SLF001
    root.addHandler(handler)
    root.setLevel(LIBRARY_LEVELS[level])


def _rendering(*, terminal: bool) -> list[Processor]:
    if terminal:
        # The plain formatter: the rich one prints local variables, and with them secrets.
        return [
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in SECRET_FIELDS.intersection(event):
        event[key] = "***"
    return event
