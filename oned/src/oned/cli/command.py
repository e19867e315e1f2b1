"""What OpenNebula's command lines have in common: usage texts, messages and exit codes.

Success is 0. Everything that went wrong is 255 (-1): what the front-end refused, what could not
be reached and what was mistyped. Errors go to standard error.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from oned import __version__
from oned.constants import OPENNEBULA_VERSION
from oned.errors import OnedError

EXIT_ERROR = 255


def version_text(program: str) -> str:
    """What ``-V`` prints."""
    return f"{program} {__version__} (API of OpenNebula {OPENNEBULA_VERSION})"


def _print_version(context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    if given and not context.resilient_parsing:
        click.echo(version_text(context.find_root().info_name or "oned"))
        context.exit()


def _version_option() -> click.Option:
    return click.Option(
        ["-V", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Show version and copyright information",
    )


class ArityError(click.UsageError):
    """Too few or too many arguments; shown with the usage of the command."""

    def text(self) -> str:
        """The message, and the command's help below it."""
        return f"{self.message}\n\n{self.ctx.get_help()}" if self.ctx else self.message


class ResourceCommand(click.Command):
    """One subcommand, with OpenNebula's usage text and complaint about missing arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_version_option())
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    @property
    def arguments(self) -> list[click.Argument]:
        """The positional parameters."""
        return [param for param in self.params if isinstance(param, click.Argument)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a missing or superfluous argument is told in OpenNebula's words."""
        try:
            rest = super().parse_args(ctx, args)
        except click.MissingParameter as error:
            if not isinstance(error.param, click.Argument):
                raise
            needed = sum(argument.required for argument in self.arguments)
            count = "one parameter to run" if needed == 1 else f"{needed} parameters to run."
            raise ArityError(f"Command {self.name} requires {count}", ctx) from None
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            if not error.message.startswith("Got unexpected extra argument"):
                raise
            expected = " ".join(map(_metavar, self.arguments)) or "none"
            raise ArityError(
                f"Wrong number of arguments\nThe arguments should be: {expected}", ctx
            ) from None
        return rest

    def get_help(self, ctx: click.Context) -> str:
        """Usage, description and options."""
        usage = " ".join([self.name or "", *map(_metavar, self.arguments)])
        described = inspect.cleandoc(self.help or "").splitlines()
        lines = ["## USAGE", usage, *(f"        {line}".rstrip() for line in described)]
        lines += ["", "## OPTIONS"]
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record:
                lines.append(f"     {record[0]:<27} {record[1]}".rstrip())
        return "\n".join(lines)


class ResourceGroup(click.Group):
    """A program whose subcommands act on one kind of resource."""

    command_class = ResourceCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_version_option())
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])


def _metavar(argument: click.Argument) -> str:
    name = (argument.metavar or argument.name or "").strip("<>[]")
    return f"<{name}>" if argument.required else f"[<{name}>]"


def argument(name: str, *, required: bool = True, metavar: str | None = None) -> Callable[..., Any]:
    """A positional parameter, shown as ``<name>`` or ``[<name>]``."""
    shown = metavar or name
    return click.argument(name, required=required, metavar=f"<{shown}>")


def run(command: click.Command, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a program and end the process with its exit code."""
    sys.exit(exit_code(command, program, arguments))


def exit_code(
    command: click.Command,
    program: str,
    arguments: Sequence[str] | None = None,
    *,
    failure: int = EXIT_ERROR,
) -> int:
    """Run a program; whatever is expected to go wrong is printed, and becomes ``failure``."""
    try:
        result = command.main(arguments, prog_name=program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return failure
    except ArityError as error:
        click.echo(error.text(), err=True)
        return failure
    except click.ClickException as error:
        click.echo(error.format_message(), err=True)
        return failure
    except click.Abort:
        click.echo("", err=True)
        return failure
    except BrokenPipeError:
        # The reader of the output went away (a pager, head): nobody is left to be told. What
        # is still buffered must not be flushed into the closed pipe when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure
    except OnedError as error:
        click.echo(str(error), err=True)
        return failure
    return result if isinstance(result, int) else 0
