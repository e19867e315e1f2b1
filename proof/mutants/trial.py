"""One process: one mutant (or the shipped source), seed after seed, a line of JSON for each.

It imports nothing of the servers before the mutant is in place.
"""

from __future__ import annotations

import argparse
import json
import sys

from proof.mutants import catalogue, hook

CONTROL = "control"
"""In place of a mutant's name: the source as it is shipped."""


def _judged(seed: int) -> tuple[str, str]:
    """The rule that this seed breaks, and what was seen; both empty when it breaks none."""
    from proof.sim.run import simulate  # noqa: PLC0415 (loads the servers)

    try:
        violation = simulate(seed).violation
    except AssertionError as error:
        return "assertion", repr(error)
    except Exception as error:  # noqa: BLE001 (whatever a mutant does, it is told)
        return "exception", repr(error)
    return ("", "") if violation is None else (violation.rule, violation.text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proof.mutants.trial", description=__doc__)
    parser.add_argument("name", help=f"a mutant, or {CONTROL}")
    parser.add_argument("first", type=int)
    parser.add_argument("end", type=int, help="the seed after the last one")
    given = parser.parse_args()
    if given.name != CONTROL:
        hook.install(catalogue.named(given.name))
    for seed in range(given.first, given.end):
        rule, text = _judged(seed)
        print(json.dumps({"seed": seed, "rule": rule, "text": text}), flush=True)
        if rule:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
