"""``python -m oned``: the same as the command ``oned``."""

from oned.cli.main import main

main()
