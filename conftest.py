"""Shared by every test of the repository.

With ``--import-mode=importlib`` pytest names a test module by its path from here, so that a test
in ``oned/tests/`` makes a namespace package of the directory ``oned/`` and hides the
distribution of that name, and one in ``operator/tests/`` hides the standard library's module.
pytest leaves a parent alone that is imported already and looks like a package, so both names are
settled here.
"""

import operator

import oned

assert oned.__file__ is not None, "oned is not installed: run uv sync, or pip install -e oned"

if not hasattr(operator, "__path__"):
    operator.__path__ = []
