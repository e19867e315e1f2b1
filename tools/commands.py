"""Running other programs, for the tools beside this file. Standard library only: they run before
anything is installed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""


def say(text: str) -> None:
    """One line of progress, at once (output is often a pipe)."""
    print(text, flush=True)


def fail(problem: str, *, next_command: str | None = None) -> NoReturn:
    """End with the problem and, where one is known, the command to type next."""
    hint = f"\n  next: {next_command}" if next_command else ""
    sys.exit(f"error: {problem}{hint}")


def run(*command: object, quiet: bool = False, env: Mapping[str, str] | None = None) -> None:
    """Run a command in the repository, and end with its output when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        tail = "\n".join((done.stdout or "").splitlines()[-40:])
        fail(f"{' '.join(words)}: exit code {done.returncode}\n{tail}".rstrip())


def output(*command: object, stdin: str | None = None) -> str:
    """The standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, check=False, text=True, capture_output=True, input=stdin)
    if done.returncode:
        fail(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout.strip()


def answers(*command: object, seconds: float = 60) -> bool:
    """Whether a command succeeds within a time; a program that is not there does not."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            check=False,
            capture_output=True,
            timeout=seconds,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
