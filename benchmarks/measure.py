"""One load on one server, with what it costs every process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.generator import Load, Outcome
from benchmarks.machine import ROOT
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkError, cpu_seconds, resident_bytes
from benchmarks.systems.system import System

_GRACE_SECONDS = 60.0


class Generator:
    """The load generator's process, which may run beside something else."""

    def __init__(self, load: Load, *, seconds: float, warm_up: float = 0.0, most: int = 0) -> None:
        asked = {
            "port": load.port,
            "calls": [call.hex() for call in load.calls],
            "success": load.success.hex(),
            "grpc_path": load.grpc_path,
            "serial": load.serial.hex(),
            "seconds": seconds,
            "warm_up": warm_up,
            "most": most,
        }
        self._timeout = seconds + warm_up + _GRACE_SECONDS
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked))
        self._process.stdin.close()
        self._process.stdin = None

    def end(self) -> None:
        """Let it end sooner."""
        self._process.terminate()

    def outcome(self) -> Outcome:
        """Wait for its end.

        Raises:
            BenchmarkError: the server went away, or nothing succeeded.
        """
        try:
            output, errors = self._process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise BenchmarkError("the load generator does not end") from None
        if self._process.returncode:
            raise BenchmarkError(f"the load generator failed: {errors.strip()[-500:]}")
        found = json.loads(output)
        outcome = Outcome(**found | {"errors": tuple(found["errors"])})
        if not outcome.total:
            raise BenchmarkError(f"no call succeeded: {outcome.errors}")
        return outcome


@dataclass(frozen=True, slots=True)
class Cost:
    """What one load came to.

    Attributes:
        leader_cpu: CPU seconds of the leader for 1,000 calls that succeeded.
        others_cpu: of all other servers together, likewise.
        generator_cpu: the load generator's, likewise.
        resident: the largest server's memory afterwards, in bytes.
    """

    outcome: Outcome
    leader_cpu: float
    others_cpu: float
    generator_cpu: float
    resident: int


def measure(system: System, leader: str, load: Load, plan: Plan) -> Cost:
    """Load one server and see what it costs the whole zone.

    Raises:
        BenchmarkError: no call succeeded.
    """
    pids = system.pids()
    others = [pid for name, pid in pids.items() if name != leader]
    before = cpu_seconds([pids[leader]]), cpu_seconds(others)
    outcome = Generator(load, seconds=plan.seconds, warm_up=plan.warm_up).outcome()
    after = cpu_seconds([pids[leader]]), cpu_seconds(others)
    thousands = outcome.total / 1000
    return Cost(
        outcome,
        leader_cpu=(after[0] - before[0]) / thousands,
        others_cpu=(after[1] - before[1]) / thousands,
        generator_cpu=outcome.cpu / thousands,
        resident=max(map(resident_bytes, pids.values())),
    )
