"""Makes ``import`` give a mutant's text in place of the shipped one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType

from typing_extensions import override

from proof.mutants.mutant import Mutant, mutated_sources, source_path


class _Loader(SourceFileLoader):
    """Compiles a given text as if it stood in the module's file; no bytecode is read or kept."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    @override
    def get_code(self, fullname: str) -> CodeType | None:
        code = self.source_to_code(self._text.encode(), self.path)
        assert isinstance(code, CodeType)
        return code

    @override
    def get_source(self, fullname: str) -> str | None:
        return self._text


class _Finder(MetaPathFinder):
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        text = self._texts.get(fullname)
        if text is None:
            return None
        file = str(source_path(fullname))
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, file, text))


def install(mutant: Mutant) -> None:
    """From now on this process is the mutant.

    Raises:
        StaleMutant: an edit does not apply to the source as it is.
        RuntimeError: a module is loaded already; it would stay as it was shipped.
    """
    texts = mutated_sources(mutant)
    if loaded := sorted(texts.keys() & sys.modules.keys()):
        raise RuntimeError(f"loaded before the mutant: {', '.join(loaded)}")
    sys.meta_path.insert(0, _Finder(texts))
