"""One step → calls on ``kube`` and ``zone``. Decides nothing, and may be cut off anywhere: every
step is found half done, or done, by the next pass.
"""

from onezone_operator.execute.executor import Executor

__all__ = ["Executor"]
