"""Command line: ``onezone-operator run`` and ``onezone-operator crds``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
import structlog
from pydantic import ValidationError

from onezone_operator.config import Settings
from onezone_operator.models.crd import DEFINITIONS, render_crd

__all__ = ["main"]


@click.group()
@click.version_option(package_name="onezone-operator")
def main() -> None:
    """Runs OpenNebula front-end zones on Kubernetes."""


@main.command()
def run() -> None:
    """Look after the OneZones of this cluster; settings come from ONEZONE_… variables."""
    try:
        settings = Settings()
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            variable = "ONEZONE_" + "_".join(str(part) for part in each["loc"]).upper()
            click.echo(f"{variable}: {each['msg']}", err=True)
        sys.exit(2)
    configure_logging(settings.log_level)
    from onezone_operator.handlers import application  # noqa: PLC0415 - slow, and only needed here

    application.run(settings)


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file differs.")
@click.option(
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("crds"),
    show_default=True,
    help="Directory of the CRDs.",
)
def crds(directory: Path, *, check: bool) -> None:
    """Write the CustomResourceDefinitions, made from the operator's models."""
    for definition in DEFINITIONS:
        path = directory / definition.file_name
        text = render_crd(definition)
        current = path.read_text(encoding="utf-8") if path.exists() else None
        if current == text:
            continue
        if check:
            click.echo(f"{path} is not what the models say: run onezone-operator crds", err=True)
            sys.exit(1)
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        click.echo(f"wrote {path}")


def configure_logging(level: str) -> None:
    """JSON lines off a terminal, for structlog's and for the framework's records alike."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The framework tells at INFO of every event it hands on.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
