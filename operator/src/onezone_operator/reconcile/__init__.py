"""Decides, in pure code: facts in, exactly one step and a status out.

No I/O, no clock, no randomness. ``execute`` carries a step out; the next pass starts from facts
again, so that a pass may be interrupted anywhere.
"""

from onezone_operator.reconcile.plan import plan
from onezone_operator.reconcile.quorum import Diagnosis, Health, diagnose
from onezone_operator.reconcile.status import build_status
from onezone_operator.reconcile.steps import Step

__all__ = ["Diagnosis", "Health", "Step", "build_status", "diagnose", "plan"]
