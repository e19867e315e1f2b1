"""Where the leader's time goes while 64 clients write: which room, according to py-spy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.measure import Generator
from benchmarks.plan import Plan, Results
from benchmarks.processes import BenchmarkError
from benchmarks.systems.oned import Oned
from benchmarks.tables import Table

CLIENTS = 64
SAMPLES_A_SECOND = 500
ROWS = 12
GRACE_SECONDS = 30.0
_FRAME = re.compile(r"oned/(\w+)(?:\.py|/)")


PROFILER = Path(sys.executable).with_name("py-spy")


def missing() -> str:
    """The command that installs the profiler; empty when it is here."""
    return "" if PROFILER.exists() else "make deps"


def run(system: Oned, plan: Plan, directory: Path) -> Results:
    """Samples of the leader's stack, by the room whose function is innermost."""
    table = Table(
        f"Where the leader's time goes, {CLIENTS} clients that write",
        ("room of oned", "% of its samples", "of these in libraries"),
        "A sample counts for the innermost function of ours on the stack.",
    )
    if hint := missing():
        table.add(f"not installed: {hint}")
        return Results([table])
    leader = system.leader()
    load = system.writes(leader, CLIENTS)
    generator = Generator(load, seconds=plan.warm_up + 2 * plan.seconds)
    output = directory / "leader.stacks"
    command = [str(PROFILER), "record", "--format", "raw", "--nonblocking", "--output", str(output)]
    command += ["--rate", str(SAMPLES_A_SECOND), "--duration", str(max(1, int(plan.seconds)))]
    command += ["--pid", str(system.pids()[leader])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=plan.seconds + GRACE_SECONDS, check=False
    )
    generator.end()
    generator.outcome()
    if done.returncode:
        raise BenchmarkError(f"py-spy failed: {done.stderr.strip()[-500:]}")
    rooms, libraries = _count(output.read_text())
    total = sum(rooms.values())
    for room, samples in rooms.most_common(ROWS):
        table.add(room, f"{100 * samples / total:.0f}", f"{100 * libraries[room] / samples:.0f} %")
    return Results([table])


def _count(stacks: str) -> tuple[Counter[str], Counter[str]]:
    """Samples of each room, and those of them that were in a library called from it."""
    rooms: Counter[str] = Counter()
    libraries: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        for depth, frame in enumerate(reversed(frames)):
            found = _FRAME.search(frame)
            if found is not None and found[1] not in ("cli", "daemon", "__main__"):
                room = found[1]
                libraries[room] += int(count) if depth else 0
                break
        else:
            room = "none: HTTP server and event loop"
            libraries[room] += int(count)
        rooms[room] += int(count)
    return rooms, libraries
