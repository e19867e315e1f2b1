"""What all commands share: how to log in, how to end, and the options for both."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click
import yaml

from onezone_operator.errors import (
    Forbidden,
    Invalid,
    NotFound,
    OperatorError,
    Unavailable,
)
from onezone_operator.kube import KubeReader

__all__ = [
    "EXIT_UNREAD",
    "Login",
    "login_from",
    "login_options",
    "now",
    "output_option",
    "rendered",
    "run",
]

EXIT_UNREAD = 3

_HINTS: tuple[tuple[type[OperatorError], str], ...] = (
    (NotFound, "kubectl onezone status -A"),
    (Forbidden, "kubectl auth can-i --list"),
    (Invalid, "kubectl explain onezone.spec --recursive"),
    (Unavailable, "kubectl cluster-info"),
    (OperatorError, "kubectl config get-contexts"),
)
"""Kind of an error → what to type next."""


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach the cluster."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    seconds: float

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[KubeReader, str]]:
        """The API server, and the namespace that is meant."""
        reader = KubeReader(
            request_seconds=self.seconds, kubeconfig=self.kubeconfig, context=self.context
        )
        async with reader as kube:
            yield kube, self.namespace or kube.namespace


def now() -> datetime:
    return datetime.now(UTC)


def run(call: Callable[[], Awaitable[int]]) -> NoReturn:
    """Run to the exit code; expected trouble is told with the next command to type."""

    async def started() -> int:
        return await call()

    try:
        code = asyncio.run(started())
    except OperatorError as error:
        hint = next(text for kind, text in _HINTS if isinstance(error, kind))
        click.echo(f"error: {error}\ntry:   {hint}", err=True)
        code = EXIT_UNREAD
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def login_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--request-timeout",
            type=click.FloatRange(0.1, 600),
            default=10.0,
            show_default=True,
            help="Seconds that one call to the API server may take.",
        ),
        click.option("--context", help="Context of the kubeconfig."),
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="kubeconfig; else as kubectl finds it.",
        ),
        click.option("-n", "--namespace", help="Namespace; else the context's."),
    ):
        command = option(command)
    return command


def login_from(options: dict[str, Any]) -> Login:
    return Login(
        options["kubeconfig"], options["context"], options["namespace"], options["request_timeout"]
    )


def output_option(command: Callable[..., None]) -> Callable[..., None]:
    """``-o``: for people, or for programs."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="Form of the answer.",
    )(command)


def rendered(data: Any, output: str) -> str:
    """Plain data as JSON or YAML."""
    if output == "json":
        return json.dumps(data, indent=2)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000).rstrip()
