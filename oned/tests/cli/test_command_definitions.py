"""Every command can be described: no clashing names, each with help, completion for shells."""

import subprocess
import sys

import click
import pytest

from oned.cli.main import oned
from oned.cli.oneacl import oneacl
from oned.cli.onegroup import onegroup
from oned.cli.oneuser import oneuser
from oned.cli.onezone import onezone

PROGRAMS = [oned, onezone, oneuser, onegroup, oneacl]


def commands(command, path):
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, [*path, name])


ALL = [item for program in PROGRAMS for item in commands(program, [program.name])]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_help_describes_command_and_options(path, command):
    # click warns here about clashing parameters, and warnings are errors.
    context = click.Context(command, info_name=path[-1])
    text = command.get_help(context)
    assert command.help
    assert "--help" in text
    for param in command.get_params(context):
        if isinstance(param, click.Option):
            assert param.help, param.name


@pytest.mark.integration
@pytest.mark.parametrize("program", ["onezone", "oned"])
def test_shell_completion_script(program):
    module = "main" if program == "oned" else program
    completed = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.argv[0] = '{program}'; from oned.cli.{module} import main; main()",
        ],
        env={f"_{program.upper()}_COMPLETE": "zsh_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"#compdef {program}" in completed.stdout
