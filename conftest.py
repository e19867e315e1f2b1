"""Shared by every test of the repository.

With ``--import-mode=importlib`` pytest names a test module by its path from here, so that
``oned/tests/…`` would make a namespace package of the directory ``oned/`` and hide the
distribution of that name. Importing the real one first settles what the name means.
"""

import oned as _oned

assert _oned.__file__ is not None, "oned is not installed: run uv sync, or pip install -e oned"
