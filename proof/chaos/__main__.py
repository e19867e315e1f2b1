"""``python -m proof.chaos``: real servers, real faults, a verdict."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oned.errors import OnedError
from proof.chaos import judgement
from proof.chaos.clients import Caller, Client, Keys, Records
from proof.chaos.nemesis import DEFAULT_FAULTS, FAULTS, Nemesis
from proof.chaos.table import write_table
from proof.chaos.zone import NotConverged, Zone
from proof.linearizability import Outcome, told
from proof.table import current_commit

WORK = ("register", "set", "allocation", "register", "set", "register")
KEYS = 3
ACKNOWLEDGED_PER_SECOND_MIN = 5.0
"""Below that a run has shown too little to be called a pass."""

FINAL_READ_TRIES = 20


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    seed: int
    servers: int
    seconds: float
    outcomes: Counter[Outcome]
    faults: Counter[str]
    texts: Counter[str]
    healed_seconds: float
    wrong: list[str]

    def line(self) -> str:
        told = ", ".join(f"{self.outcomes[o]} {o.value}" for o in Outcome)
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        verdict = "pass" if not self.wrong else f"FAIL ({len(self.wrong)})"
        return (
            f"chaos: {self.servers} servers, seed {self.seed}, {self.seconds:.0f} s, calls: {told};"
            f" {sum(self.faults.values())} faults ({faults});"
            f" healed in {self.healed_seconds:.1f} s: {verdict}"
        )

    def row(self) -> list[str]:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return [
            str(self.servers),
            str(self.seed),
            f"{self.seconds:.0f}",
            *(str(self.outcomes[outcome]) for outcome in Outcome),
            faults,
            f"{self.healed_seconds:.1f} s",
            "pass" if not self.wrong else f"FAIL ({len(self.wrong)})",
        ]


def summary(reports: Sequence[Report]) -> str:
    """All zones in one line."""
    outcomes = sum((report.outcomes for report in reports), Counter[Outcome]())
    calls = ", ".join(f"{outcomes[outcome]} {outcome.value}" for outcome in Outcome)
    wrong = sum(len(report.wrong) for report in reports)
    return (
        f"chaos: zones of {' and '.join(str(report.servers) for report in reports)} servers,"
        f" {sum(report.seconds for report in reports):.0f} s, calls: {calls};"
        f" {sum(report.faults.total() for report in reports)} faults:"
        f" {f'FAIL ({wrong})' if wrong else 'pass'}"
    )


def say(text: str) -> None:
    print(text, flush=True)


async def run(
    directory: Path, *, servers: int, seconds: float, seed: int, faults: list[str]
) -> Report:
    """One run on a new zone in ``directory``; histories are kept beside it.

    Raises:
        ServerFailed: the zone did not come up.
    """
    zone, records = Zone(directory / "zone"), Records()
    wrong: list[str] = []
    healed = 0.0
    try:
        await zone.found(servers)
        nemesis = Nemesis(zone, faults, seed, say)
        caller = Caller(zone.endpoints(), zone.session)
        try:
            await _under_fire(caller, records, nemesis, seconds=seconds, seed=seed)
            await zone.heal()
            healed = await zone.converged()
            wrong += await _read_all(caller, records, seed)
        except NotConverged as error:
            wrong.append(f"not converged {error}")
        finally:
            await caller.close()
    finally:
        await zone.close()
        (directory / "history").write_text(told(records.all()) + "\n", encoding="utf-8")
    tables = {name: zone.tables(name) for name in zone.names}
    wrong += judgement.compare(tables)
    documents = {row[1]: row[0] for row in tables[zone.names[0]]["document_pool"]}
    wrong += judgement.allocated(records.allocations, documents)
    wrong += judgement.judge(records)
    outcomes = Counter(operation.outcome for operation in records.all())
    if outcomes[Outcome.OK] < seconds * ACKNOWLEDGED_PER_SECOND_MIN:
        wrong.append(f"only {outcomes[Outcome.OK]} calls were acknowledged")
    return Report(seed, servers, seconds, outcomes, nemesis.counts, records.texts, healed, wrong)


async def _under_fire(
    caller: Caller, records: Records, nemesis: Nemesis, *, seconds: float, seed: int
) -> None:
    stopping = asyncio.Event()
    keys = {work: Keys(caller, work, KEYS) for work in set(WORK)}
    async with asyncio.TaskGroup() as clients:
        for number, work in enumerate(WORK):
            client = Client(number, caller, records, seed)
            clients.create_task(client.run(work, keys[work], stopping))
        try:
            await nemesis.run(seconds)
        finally:
            stopping.set()


async def _read_all(caller: Caller, records: Records, seed: int) -> list[str]:
    """A last read of every document, so that nothing that was lost goes unseen."""
    client = Client(len(WORK), caller, records, seed)
    wrong = []
    for history, read in (
        (records.registers, client.read),
        (records.sets, client.read_set),
    ):
        for document in sorted({int(str(operation.key)) for operation in history}):
            for _ in range(FINAL_READ_TRIES):
                await read(document)
                if history[-1].outcome is Outcome.OK:
                    break
            else:
                wrong.append(f"document {document} cannot be read in the healed zone")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proof.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults come")
    parser.add_argument("--servers", type=int, nargs="+", default=[3, 5], help="sizes of the zone")
    parser.add_argument("--seed", type=int, default=None, help="of faults and clients")
    parser.add_argument(
        "--faults", default=",".join(DEFAULT_FAULTS), help=f"of {' '.join(FAULTS)}, comma separated"
    )
    parser.add_argument("--keep", type=Path, default=None, help="directory to keep all in")
    parser.add_argument("--write-table", action="store_true", help="into docs/explanation")
    given = parser.parse_args()
    faults = given.faults.split(",")
    if unknown := set(faults) - FAULTS.keys():
        parser.error(f"no such fault: {' '.join(sorted(unknown))}; there are {' '.join(FAULTS)}")
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    # The time is shared by the sizes, so that --seconds is what one waits.
    seconds = given.seconds / len(given.servers)
    commit = current_commit()
    reports = []
    for servers in given.servers:
        directory = given.keep or Path(tempfile.mkdtemp(prefix="oned-chaos-"))
        directory = directory / f"{servers}-servers-{int(time.time())}"
        directory.mkdir(parents=True)
        try:
            report = asyncio.run(
                run(directory, servers=servers, seconds=seconds, seed=seed, faults=faults)
            )
        except OnedError as error:
            print(error, file=sys.stderr)
            return 2
        for text, count in report.texts.most_common():
            say(f"{count:7d} x {text}")
        for wrong in report.wrong:
            say(wrong)
        say(report.line())
        reports.append(report)
        if report.wrong:
            say(f"histories, logs and databases: {directory}")
            say(
                f"again: python -m proof.chaos --seconds {seconds:g} --servers {servers}"
                f" --seed {seed} --faults {given.faults}"
            )
        elif given.keep is None:
            shutil.rmtree(directory.parent)
    if given.write_table:
        write_table(commit, [report.row() for report in reports])
    say(summary(reports))
    return 1 if any(report.wrong for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
