"""What a mutant is: a name, the promise it breaks, and words of source to replace."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


class StaleMutant(Exception):
    """The source has changed, and what a mutant replaces is not in it exactly once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``old``, which stands in the module's source exactly once, becomes ``new``."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    Attributes:
        name: words joined by dashes.
        breaks: the promise that does not hold any more, as a sentence.
        edits: all are made together.
        defect: the defect of OpenNebula's Raft that it is, ``N1`` to ``N17``; or empty.
    """

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    defect: str = ""


@lru_cache(maxsize=1)
def _root() -> Path:
    spec = importlib.util.find_spec("oned")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def source_path(module: str) -> Path:
    """Where a module's source is, found without importing it."""
    return _root().joinpath(*module.split(".")).with_suffix(".py")


def mutated(text: str, edits: Sequence[Edit]) -> str:
    """A source with all edits made.

    Raises:
        StaleMutant: one of them does not apply.
    """
    for edit in edits:
        count = text.count(edit.old)
        if count != 1:
            raise StaleMutant(f"{edit.module} holds {count} times, not once: {edit.old!r}")
        text = text.replace(edit.old, edit.new)
    return text


def mutated_sources(mutant: Mutant) -> dict[str, str]:
    """The changed source of each module that a mutant touches.

    Raises:
        StaleMutant: an edit does not apply.
    """
    sources = {}
    for module in dict.fromkeys(edit.module for edit in mutant.edits):
        edits = [edit for edit in mutant.edits if edit.module == module]
        sources[module] = mutated(source_path(module).read_text(encoding="utf-8"), edits)
    return sources
